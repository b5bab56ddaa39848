"""Token buckets: what they grant, how long they let wait, and what they forget."""

from hypothesis import given
from hypothesis import strategies as st

from demo.server.limits import buckets
from demo.server.limits.buckets import TokenBuckets
from demo.server.limits.settings import Rate
from tests.clock import Clock


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 20), st.floats(0.1, 9)), max_size=100), st.floats(10, 40))
def test_no_key_gets_more_than_burst_and_rate_and_the_stated_wait_suffices(asked, burst):
    clock, granted = Clock(), {}
    rate = Rate(burst, 0.5)
    limit = TokenBuckets(rate, clock)
    for key, pause, count in asked:
        clock.now += pause
        wait = limit.take(key, count)
        if wait:
            clock.now += wait + 1e-6
            assert limit.take(key, count) == 0
        granted[key] = granted.get(key, 0) + count
        assert granted[key] <= rate.burst + rate.per_second * clock.now + 1e-3


def test_a_larger_count_than_the_burst_is_a_debt():
    clock = Clock()
    limit = TokenBuckets(Rate(10, 1), clock)
    assert limit.take("a", 30) == 0
    assert limit.take("a", 1) == 21
    clock.now = 21
    assert limit.take("a", 1) == 0


def test_full_and_surplus_buckets_are_forgotten(monkeypatch):
    clock = Clock()
    limit = TokenBuckets(Rate(3, 1), clock)
    for key in range(1000):
        limit.take(key)
    assert len(limit) == 1000
    clock.now = 2
    limit.take(-1)
    assert len(limit) == 1
    monkeypatch.setattr(buckets, "MAX_KEYS", 5)
    for key in range(100):
        limit.take(key)
    assert len(limit) == 5
