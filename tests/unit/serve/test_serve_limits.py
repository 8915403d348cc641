"""What one client, and all together, may take."""

from __future__ import annotations

import pytest

from hookline.serve.limits import (
    EACH_AT_ONCE,
    REVIEWS_AT_ONCE,
    TRUSTED_EACH,
    TRUSTED_SECONDS,
    Buckets,
    Memory,
    Places,
    Reviews,
)
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
        memory: Memory[int] = Memory(10, 5.0, clock)
        memory.put("a", 1, clock.now - 2)
        clock.now += 2.9
        assert memory.get("a") == 1
        clock.now += 0.2
        assert memory.get("a") is None

    def test_the_oldest_goes_when_there_are_too_many(self, clock):
        memory: Memory[str] = Memory(2, 5.0, clock)
        for name in "abc":
            memory.put(name, name, clock.now)
        assert [memory.get(name) for name in "abc"] == [None, "b", "c"]
        assert len(memory) == 2

    def test_one_owner_has_so_many_of_them_and_displaces_none_of_anybody_else(self, clock):
        memory: Memory[int] = Memory(10, 5.0, clock, each=2)
        memory.put("mine", 1, clock.now, "me")
        for number in range(100):
            memory.put(number, number, clock.now, "you")
        assert [memory.get(key) for key in ("mine", 97, 98, 99)] == [1, None, 98, 99]
        for number in range(20):
            memory.put(f"of {number}", number, clock.now, number)
        assert len(memory) == 10
        assert len(memory._of) == 10


class TestReviews:
    def flooded(self, clock, good=()):
        """After so many strangers that all that strangers may have is taken."""
        reviews = Reviews(clock)
        for key, owner in good:
            reviews.good(key, owner, clock.now)
        taken = [reviews.take(f"t{number}", f"stranger {number % 50}") for number in range(500)]
        assert taken.count(True) == REVIEWS_AT_ONCE
        return reviews

    def test_who_was_good_lately_is_not_held_up_by_strangers(self, clock):
        reviews = self.flooded(clock, [("mine", "me")])
        assert not reviews.take("unknown", "me"), "the control: strangers are held up"
        assert reviews.take("mine", "me")
        clock.now += TRUSTED_SECONDS + 1
        assert not reviews.knows("mine")

    def test_of_strangers_and_of_those_who_were_good_nobody_takes_more_than_a_share(self, clock):
        reviews = Reviews(clock)
        for number in range(TRUSTED_EACH):
            reviews.good(number, "you", clock.now)
        assert [reviews.take(number % TRUSTED_EACH, "you") for number in range(500)].count(True) == EACH_AT_ONCE
        assert [reviews.take(f"new {number}", "you") for number in range(500)].count(True) == EACH_AT_ONCE
        reviews.good("mine", "me", clock.now)
        assert reviews.take("mine", "me")
        assert reviews.take("new", "me")

    def test_what_all_together_may_not_have_is_not_taken_of_the_share(self, clock):
        reviews = self.flooded(clock)
        for _ in range(2 * EACH_AT_ONCE):
            reviews.take("x", "me")
        clock.now += 10.0
        assert [reviews.take("x", "me") for _ in range(EACH_AT_ONCE)] == [True] * EACH_AT_ONCE


def test_places_are_bounded_in_all_and_for_each_of_each_kind_and_are_given_back():
    places = Places(4, lambda: too_many("full"), user=2, namespace=3)
    with places.one(user="a", namespace="n"), places.one(user="a", namespace="n"):
        with pytest.raises(Refused), places.one(user="a", namespace="m"):
            pass
        with places.one(user="b", namespace="n"):
            with pytest.raises(Refused), places.one(user="c", namespace="n"):
                pass
            with places.one(user="c", namespace="m"), pytest.raises(Refused), places.one(user="d", namespace="m"):
                pass
        assert places.taken == 2
    assert places.taken == 0
    with pytest.raises(ValueError, match="mine"), places.one(user="a", namespace="n"):
        raise ValueError("mine")
    assert places.taken == 0
    assert not places._taken
