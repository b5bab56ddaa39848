"""Fixtures of the tests of methods."""

import pytest

import gpen


@pytest.fixture(scope="module")
def spandrel():
    gpen.compat.patch_torchvision()
    return pytest.importorskip("spandrel")
