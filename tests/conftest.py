"""Repeatable tests: random numbers are seeded, codes of raters are fixed, and hypothesis tries the same examples in every run.

`pytest --hypothesis-profile=default` tries new examples.
"""

import base64
import hashlib
import itertools
import random
import secrets

import hypothesis
import numpy as np
import pytest
import torch

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("repeatable")


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup():
    """Seed each fixture, so that it is the same whichever tests have run before."""
    _seed()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    _seed()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Derive each token, such as the code of a rater, from the name of the test and the number of earlier tokens in it."""
    numbers = itertools.count()

    def token(size: int = 32) -> str:
        data = hashlib.shake_128(f"{item.nodeid} {next(numbers)}".encode()).digest(size)
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "token_urlsafe", token)
        return (yield)
