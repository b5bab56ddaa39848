"""Values of visitors in memory: their bounds, and that a dropped value is never replaced by another one."""

import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.server import gradio_patches
from demo.server.limits.held import HeldValues
from demo.server.limits.identity import SCOPE, Visitor
from demo.server.limits.settings import Limits
from gpen.errors import GPENError
from tests.clock import Clock


def put(held: HeldValues, value, visitor="me", network="home", session="tab") -> str:
    request = types.SimpleNamespace(request=types.SimpleNamespace(scope={SCOPE: Visitor(visitor, network)}), session_hash=session)
    token = gradio_patches._request.set(request)
    try:
        return held.put(value)
    finally:
        gradio_patches._request.reset(token)


def face(level: int = 0) -> np.ndarray:
    return np.full((10, 10, 3), level, np.uint8)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(1, 40)), max_size=60))
def test_bounds_hold_and_each_key_gives_its_value_or_an_error(steps):
    held, kept = HeldValues(Limits(held_per_visitor=4, held_bytes=300)), {}
    for visitor, network, size in steps:
        value = np.zeros(size, np.uint8)
        kept[put(held, value, f"{network}/{visitor}", str(network))] = value, f"{network}/{visitor}"
        owners, total = [], 0
        for key, (expected, owner) in kept.items():
            try:
                assert held.get(key) is expected
            except GPENError:
                continue
            owners.append(owner)
            total += expected.nbytes
        assert total <= 300 and max(map(owners.count, owners)) <= 4


def test_many_visitors_of_one_network_do_not_drop_the_face_of_another():
    held = HeldValues(Limits(held_bytes=50 * 300))
    mine = face(7)
    key = put(held, mine)
    for number in range(500):
        put(held, face(), f"bot {number}", "elsewhere", f"random session {number}")
    assert held.get(key) is mine and len(held) == 50


def test_dropped_value_is_an_error_that_asks_for_an_upload():
    held = HeldValues(Limits(held_per_visitor=2))
    keys = [put(held, face(k)) for k in range(3)]
    with pytest.raises(GPENError, match=r"no longer has your image.*Upload it again\."):
        held.get(keys[0])
    assert held.get(keys[2])[0, 0, 0] == 2
    for wrong in ("", "x", None, 5, [], {"a": 1}):
        with pytest.raises(GPENError, match="Upload it again"):
            held.get(wrong)


def test_values_are_dropped_when_the_page_is_closed_or_unused():
    clock = Clock()
    held = HeldValues(Limits(held_seconds=60), clock)
    first, second, third = put(held, face(), session="a"), put(held, face(), session="b"), put(held, face(), session="c")
    held.forget("a")
    held.forget(None)
    clock.now = 50
    assert held.get(second) is not None
    clock.now = 70
    held.drop_old()
    assert len(held) == 1 and held.get(second) is not None
    for key in (first, third):
        with pytest.raises(GPENError):
            held.get(key)


def test_equal_objects_have_one_key_and_samples_are_never_dropped():
    held, sample, own = HeldValues(Limits(held_per_visitor=1)), face(), face()
    pinned = held.pin(sample)
    assert put(held, sample, session="a") == put(held, sample, session="b") == pinned
    key = put(held, own)
    assert put(held, own) == key
    held.forget("a")
    put(held, face())
    assert held.get(pinned) is sample
    with pytest.raises(GPENError):
        held.get(key)
