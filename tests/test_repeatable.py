"""Tests are repeatable: codes, random numbers and the examples of hypothesis do not change from run to run."""

import random

import hypothesis
import numpy as np
import pytest
import torch

from eval.preference.survey import new_code

CODES = ["5mfkXMIcgIxBefoMchDdeA", "tdP7lKLyRRI_mLYug1x3MQ"]  # of the test of codes; they change with its name


def numbers():
    return random.random(), np.random.random(), torch.rand(()).item()


@pytest.fixture
def fixture_numbers():
    return numbers()


@pytest.fixture
def another_fixture():
    return numbers()


def test_random_numbers_do_not_depend_on_earlier_tests_or_fixtures(fixture_numbers, another_fixture):
    assert numbers() == fixture_numbers == another_fixture
    assert numbers() != fixture_numbers


def test_codes_follow_from_the_name_of_the_test_and_differ():
    assert [new_code(), new_code()] == CODES


def test_hypothesis_tries_the_same_examples_in_every_run():
    assert hypothesis.settings().derandomize and hypothesis.settings().deadline is None
