"""Claims about the queue of one subscription."""

from __future__ import annotations

import dataclasses

from hookline.deliver.lane import Lane
from hookline.model import Claimed, Message, RetryPolicy, SigningKeys, Target

TARGET = Target("sub", "ns", "n", "https://a.example/", (), SigningKeys((), ()), (), 15, RetryPolicy((), 60), 4)


def claims(count: int, first: int = 1) -> list[Claimed]:
    return [
        Claimed(row, Message(f"msg_{row}", "sub", row, "obj", "t", (), b"", 0), 0, 0)
        for row in range(first, first + count)
    ]


def test_a_lane_wants_twice_its_concurrency_and_claims_again_only_when_half_of_it_is_used():
    lane = Lane(TARGET)
    assert lane.wanted == 8
    lane.accept(claims(8))
    assert lane.wanted == 0
    for _ in range(3):
        assert lane.take()
    assert lane.wanted == 0
    assert lane.take()
    assert lane.wanted == 4


def test_a_lane_wants_nothing_when_nothing_new_is_known_or_nothing_may_be_sent():
    lane = Lane(TARGET)
    lane.fresh = False
    assert lane.wanted == 0
    assert Lane(dataclasses.replace(TARGET, paused=True)).wanted == 0


def test_it_asks_for_no_more_workers_than_messages_or_concurrency():
    lane = Lane(TARGET)
    assert lane.accept(claims(2)) == 2
    lane.workers = 2
    assert lane.accept(claims(8, first=3)) == 2


def test_workers_beyond_a_lowered_concurrency_end():
    lane = Lane(TARGET)
    lane.workers = 4
    lane.accept(claims(4))
    assert lane.retarget(dataclasses.replace(TARGET, max_in_flight=2)) == []
    assert lane.take() is None
    lane.workers = 2
    assert lane.take()


def test_pausing_closing_and_a_410_give_back_what_is_queued():
    for end in (
        lambda lane: lane.retarget(dataclasses.replace(TARGET, paused=True)),
        Lane.close,
        Lane.stop_gone,
    ):
        lane = Lane(TARGET)
        lane.workers = 1
        lane.accept(claims(3))
        assert end(lane) == [1, 2, 3]
        assert lane.take() is None


def test_another_target_opens_a_lane_that_was_gone():
    lane = Lane(TARGET)
    lane.stop_gone()
    assert lane.wanted == 0
    lane.retarget(dataclasses.replace(TARGET, url="https://b.example/"))
    assert lane.wanted == 8
