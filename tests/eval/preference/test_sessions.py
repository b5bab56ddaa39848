"""Limits of sessions by network, and cached reads."""

import threading

import pytest

from eval.preference import sessions
from eval.preference.sessions import Networks, ReadCache, TooManySessionsError
from tests.clock import Clock


def test_network_starts_a_limited_number_of_sessions_a_day(monkeypatch):
    """Failure sequence: one computer consented without a limit, under a new code each time."""
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    clock = Clock()
    networks = Networks(clock)
    for k in range(3):
        networks.enter(f"r{k}", f"203.0.113.{k}")
    networks.enter("r0", "203.0.113.9")  # the same rater agrees again
    with pytest.raises(TooManySessionsError):
        networks.enter("r3", "203.0.113.200")
    networks.enter("other", "198.51.100.1")
    for k in range(9):
        networks.enter(f"local{k}", "127.0.0.1")
        networks.enter(f"none{k}", None)
    clock.now = sessions.PERIOD + 1
    networks.enter("r3", "203.0.113.200")
    assert sorted(map(len, networks.groups().values())) == [1, 4]
    assert not any("203.0" in name for name in networks.groups())


def test_networks_of_ipv6_have_48_bits_and_other_names_are_networks_of_their_own():
    networks = Networks()
    for rater, address in {"a": "2001:db8:1:2::3", "b": "2001:db8:1:ffff::1", "c": "2001:db8:2::1", "d": "nonsense"}.items():
        networks.enter(rater, address)
    assert sorted(networks.groups().values()) == [["a", "b"], ["c"], ["d"]]


def test_memory_of_networks_is_bounded(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_RATERS", 5)
    networks = Networks()
    for k in range(20):
        networks.enter(f"r{k}", f"198.51.{k}.1")
    assert len(networks.groups()) == 5 and len(networks._starts) <= 6


def test_cached_read_is_computed_once_and_does_not_block(monkeypatch):
    clock, calls = Clock(), []
    cache = ReadCache(clock)
    assert [cache.read("x", lambda: calls.append(1) or len(calls), 10) for _ in range(3)] == [1, 1, 1]
    clock.now = 11
    entered, release, seen = threading.Event(), threading.Event(), []

    def slow():
        entered.set()
        release.wait()
        return 2

    thread = threading.Thread(target=lambda: seen.append(cache.read("x", slow, 10)))
    thread.start()
    entered.wait()
    assert cache.read("x", slow, 10) == 1  # the previous result, while another thread computes
    release.set()
    thread.join()
    assert seen == [2] and cache.read("x", slow, 10) == 2
    cache.clear()
    assert cache.read("x", lambda: 3, 10) == 3


def test_error_of_a_cached_read_is_not_cached():
    cache = ReadCache()

    def fail():
        raise ValueError

    with pytest.raises(ValueError):
        cache.read("x", fail, 10)
    assert cache.read("x", lambda: 1, 10) == 1
