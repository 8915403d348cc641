"""What one client, and all together, may take."""

from __future__ import annotations

import pytest

from hookline.serve.limits import Buckets, Memory, Places
from hookline.serve.refusals import Refused, too_many


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


class TestBuckets:
    def test_each_key_has_its_burst_and_then_its_rate(self, clock):
        buckets = Buckets(2.0, 3, clock)
        assert [buckets.take("a") for _ in range(4)] == [True] * 3 + [False]
        assert buckets.take("b")
        clock.now += 0.5
        assert [buckets.take("a") for _ in range(2)] == [True, False]
        clock.now += 100.0
        assert [buckets.take("a") for _ in range(4)] == [True] * 3 + [False]

    def test_what_is_given_back_can_be_taken_again(self, clock):
        buckets = Buckets(1.0, 1, clock)
        assert buckets.take("a")
        buckets.give_back("a")
        assert buckets.take("a")
        assert not buckets.take("a")
        buckets.give_back("stranger")

    def test_full_ones_are_forgotten_and_never_more_than_so_many_are_kept(self, clock):
        buckets = Buckets(1.0, 2, clock, size=10)
        for number in range(100):
            buckets.take(number)
        assert len(buckets._full_at) == 10
        clock.now += 10.0
        buckets.take("last")
        assert list(buckets._full_at) == ["last"]


class TestMemory:
    def test_it_holds_for_its_time_from_when_it_was_asked(self, clock):
        memory = Memory(10, 5.0, clock)
        memory.put("a", 1, clock.now - 2)
        clock.now += 2.9
        assert memory.get("a") == 1
        clock.now += 0.2
        assert memory.get("a") is None

    def test_the_oldest_goes_when_there_are_too_many(self, clock):
        memory = Memory(2, 5.0, clock)
        for name in "abc":
            memory.put(name, name, clock.now)
        assert [memory.get(name) for name in "abc"] == [None, "b", "c"]
        assert len(memory) == 2


def test_places_are_bounded_for_each_and_in_all_and_are_given_back():
    places = Places(3, 2, lambda: too_many("full"))
    with places.one("a"), places.one("a"):
        with pytest.raises(Refused), places.one("a"):
            pass
        with places.one("b"), pytest.raises(Refused), places.one("c"):
            pass
        assert places.taken == 2
    assert places.taken == 0
    with pytest.raises(ValueError, match="mine"), places.one("a"):
        raise ValueError("mine")
    assert places.taken == 0
