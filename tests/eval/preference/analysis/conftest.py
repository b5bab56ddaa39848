"""Votes of simulated raters."""

import numpy as np
import pytest

from tests.eval.preference.simulated import NAMES, TRUE, simulate, votes_of


@pytest.fixture(scope="session")
def votes():
    """60 raters who follow the model, with 30 answers each on 40 faces."""
    return votes_of(*simulate(np.random.default_rng(0), TRUE, 0.4, 60, 30), NAMES)
