"""Claims about the queue of one subscription."""

from __future__ import annotations

import dataclasses

import pytest

from hookline.deliver.breaker import THRESHOLD
from hookline.deliver.lane import QUICK_SECONDS, ROOM, Lane, Wish
from hookline.deliver.share import PIECE
from hookline.model import Claimed, Message, SigningKeys, Target
from hookline.spec import RateLimit, RetryPolicy

TARGET = Target("sub", "ns", "n", "https://a.example/", (), SigningKeys((), ()), (), 15, RetryPolicy((), 60), 4)
NOW = 1000.0


def claims(count: int, first: int = 1, attempts: int = 0, size: int = 0) -> list[Claimed]:
    return [
        Claimed(row, Message(f"msg_{row}", "sub", row, "obj", "t", (), bytes(size), 0), attempts, 0)
        for row in range(first, first + count)
    ]


def took(lane: Lane, count: int) -> list[int]:
    """Take so many as workers do, without ending an attempt; returns their rows."""
    return [claimed.row for _ in range(count) if (claimed := lane.take(NOW)) is not None]


def taken(lane: Lane, now: float = NOW) -> Claimed:
    claimed = lane.take(now)
    assert claimed is not None
    return claimed


def wished(lane: Lane, now: float = NOW) -> Wish:
    wish = lane.wish(now)
    assert wish is not None
    return wish


def broken(lane: Lane) -> Lane:
    for _ in range(THRESHOLD):
        lane.judge(True, NOW)
    assert lane.breaker.open
    return lane


def test_a_lane_wants_twice_its_concurrency_and_claims_again_only_when_half_of_it_is_used():
    lane = Lane(TARGET)
    assert lane.wish(NOW) == Wish(8, 6, PIECE)
    lane.accept(claims(8), NOW)
    assert lane.wish(NOW) is None
    assert took(lane, 3) == [1, 2, 3]
    assert lane.wish(NOW) is None
    assert took(lane, 1) == [4]
    assert lane.wish(NOW) == Wish(4, 4, PIECE)


def test_what_was_tried_at_a_former_target_is_told_apart_until_it_is_recorded():
    lane = Lane(TARGET)
    lane.accept(claims(3), NOW)
    assert took(lane, 2) == [1, 2]
    lane.retarget(dataclasses.replace(TARGET, url="https://b.example/"))
    assert took(lane, 1) == [3]
    assert [lane.settled(row) for row in (1, 2, 3)] == [False, False, True]
    lane.accept(claims(1), NOW)
    assert took(lane, 1) == [1]
    assert lane.settled(1), "claimed again, it is tried at the present target"


def test_a_lane_wants_nothing_when_nothing_new_is_known_or_nothing_may_be_sent():
    lane = Lane(TARGET)
    lane.fresh = False
    assert lane.wish(NOW) is None
    assert Lane(dataclasses.replace(TARGET, paused=True)).wish(NOW) is None


def test_whether_an_attempt_may_begin_is_asked_for_as_long_as_it_takes_at_the_target_in_force():
    lane = Lane(dataclasses.replace(TARGET, timeout=30), permitted=lambda _, timeout: timeout < 30)
    assert lane.accept(claims(1), NOW) == [1], "it is given back"
    lane.retarget(dataclasses.replace(TARGET, timeout=1))
    assert lane.accept(claims(1), NOW) == []
    assert took(lane, 1) == [1]


def test_it_asks_for_no_more_workers_than_messages_or_concurrency():
    lane = Lane(TARGET)
    lane.accept(claims(2), NOW)
    assert lane.idle_places == 2
    lane.workers = 2
    lane.accept(claims(8, first=3), NOW)
    assert lane.idle_places == 2


def test_no_more_are_in_flight_than_a_lowered_concurrency_allows():
    lane = Lane(TARGET)
    lane.accept(claims(8), NOW)
    held = [taken(lane) for _ in range(4)]
    assert lane.retarget(dataclasses.replace(TARGET, max_in_flight=2)) == []
    for claimed in held[:2]:
        assert lane.take(NOW) is None
        lane.ended(claimed)
    assert lane.take(NOW) is None
    lane.ended(held[2])
    assert lane.take(NOW)


@pytest.mark.parametrize(
    "end",
    [
        lambda lane: lane.retarget(dataclasses.replace(TARGET, paused=True)),
        Lane.close,
        Lane.stop_gone,
        lambda lane: lane.hold_back(NOW + 1),
        lambda lane: broken(lane).close() or [1, 2, 3],  # given back when it opened
    ],
    ids=["paused", "closed", "gone", "held back", "broken"],
)
def test_what_is_queued_is_given_back_when_nothing_may_be_sent(end):
    lane = Lane(TARGET)
    lane.accept(claims(3), NOW)
    assert end(lane) == [1, 2, 3]
    assert lane.take(NOW) is None
    assert lane.wish(NOW) is None
    assert lane.accept(claims(2, first=9), NOW) == [9, 10]


def test_another_target_opens_a_lane_that_was_gone_held_back_or_broken():
    lane = broken(Lane(TARGET))
    lane.stop_gone()
    lane.hold_back(NOW + 60)
    assert lane.wish(NOW) is None
    lane.retarget(dataclasses.replace(TARGET, url="https://b.example/"))
    assert lane.wish(NOW) == Wish(8, 6, PIECE)


def test_a_quarter_of_the_places_but_at_least_one_of_several_is_kept_for_first_attempts():
    shares = {n: Lane(dataclasses.replace(TARGET, max_in_flight=n)).retry_places for n in (1, 2, 4, 8, 64)}
    assert shares == {1: 1, 2: 1, 4: 3, 8: 6, 64: 48}


def test_a_backlog_of_retries_leaves_a_place_and_a_claim_to_new_messages():
    lane = Lane(TARGET)
    lane.accept(claims(6, attempts=1), NOW)
    assert took(lane, 4) == [1, 2, 3]  # the fourth place stays free
    assert lane.idle_places == 0  # nobody is hired to find that out
    lane.accept(claims(2, first=20, attempts=1), NOW)
    assert lane.wish(NOW) is None or wished(lane).retries <= 3
    lane.accept(claims(2, first=10), NOW)
    assert took(lane, 2) == [10]


def test_the_control_without_retries_all_places_are_taken():
    lane = Lane(TARGET)
    lane.accept(claims(6), NOW)
    assert took(lane, 6) == [1, 2, 3, 4]


def test_a_queue_that_is_full_of_retries_still_claims_first_attempts():
    lane = Lane(TARGET)
    lane.accept(claims(6, attempts=1), NOW)
    assert lane.wish(NOW) == Wish(1, 0, PIECE)


def test_the_older_message_goes_first_whether_it_was_tried_or_not():
    lane = Lane(TARGET)
    lane.accept([*claims(1, first=5, attempts=1), *claims(1, first=2), *claims(1, first=9)], NOW)
    assert took(lane, 3) == [2, 5, 9]


def test_large_messages_are_not_claimed_beyond_the_lanes_room():
    lane = Lane(TARGET)
    lane.accept(claims(3, size=ROOM // 2), NOW)
    assert took(lane, 3) == [1, 2, 3]
    assert lane.wish(NOW) is None
    lane.settled(1)
    lane.settled(1)
    assert lane.wish(NOW) is None
    lane.settled(2)
    assert lane.wish(NOW) == Wish(8, 6, PIECE)


def test_a_rate_limited_lane_says_when_it_may_go_on():
    lane = Lane(dataclasses.replace(TARGET, rate=RateLimit(2, 1)))
    lane.accept(claims(3), NOW)
    assert lane.take(NOW)
    assert lane.take(NOW) is None
    assert lane.ready_at(NOW) == NOW + 0.5
    assert lane.take(NOW + 0.5)


def test_a_broken_lane_claims_and_sends_one_at_a_time_and_only_after_a_pause():
    lane = broken(Lane(TARGET))
    assert lane.wish(NOW) is None
    later = lane.ready_at(NOW)
    assert later > NOW
    assert lane.wish(later) == Wish(1, 1, PIECE)
    assert lane.accept(claims(2), later) == [2]
    probe = taken(lane, later)
    assert lane.take(later) is None
    assert lane.wish(later) is None
    lane.ended(probe)
    assert lane.judge(False, later) == (True, [])
    assert lane.wish(later) == Wish(8, 6, PIECE)


def test_a_probe_waits_for_attempts_that_began_before_the_lane_broke():
    lane = Lane(TARGET)
    lane.accept(claims(2), NOW)
    early = [taken(lane), taken(lane)]
    broken(lane)
    later = NOW + 3600
    assert lane.wish(later) is None
    for claimed in early:
        lane.ended(claimed)
    assert lane.wish(later) is not None


def test_what_was_claimed_in_no_order_is_given_back_when_order_is_asked_for():
    lane = Lane(TARGET)
    lane.accept(claims(2), NOW)
    assert lane.retarget(dataclasses.replace(TARGET, ordered=True)) == [1, 2]


def filled(lane: Lane, now: float) -> int:
    """One full claim, all of it sent; returns how many messages it had."""
    wish = wished(lane, now)
    lane.filled(now)
    first = int(now * 1e6)
    assert lane.accept(claims(wish.messages, first), now) == []
    while (claimed := lane.take(now)) is not None:
        lane.ended(claimed)
        lane.settled(claimed.row)
    return wish.messages


def test_a_lane_that_is_quickly_through_with_full_claims_claims_more_up_to_a_limit():
    lane = Lane(TARGET)
    assert [filled(lane, NOW + step * 0.1) for step in range(8)] == [8, 8, 16, 32, 64, 128, 256, 256]


def test_a_lane_that_took_long_or_was_not_filled_goes_back_to_twice_its_concurrency():
    lane = Lane(TARGET)
    for step in range(8):
        filled(lane, NOW + step * 0.1)
    assert wished(lane, NOW + 0.8).messages > 8
    assert wished(lane, NOW + 0.7 + QUICK_SECONDS).messages == 8
    assert [filled(lane, NOW + step) for step in (10, 11, 12)] == [8, 8, 8], "a slow one never claims more"


def test_a_large_claim_leaves_the_bounds_on_retries_and_bytes_as_they_are():
    lane = Lane(TARGET)
    for step in range(8):
        filled(lane, NOW + step * 0.1)
    lane.accept(claims(1, size=ROOM // 4), NOW + 0.8)
    wish = wished(lane, NOW + 0.8)
    assert (wish.messages, wish.retries, wish.room) == (255, 6, PIECE)


def test_what_waits_for_its_endpoint_or_its_own_rate_limit_is_held_and_what_waits_for_others_is_not():
    assert not Lane(TARGET).held(NOW)
    assert broken(Lane(TARGET)).held(NOW)
    told_to_wait = Lane(TARGET)
    told_to_wait.hold_back(NOW + 60)
    assert told_to_wait.held(NOW + 59)
    assert not told_to_wait.held(NOW + 60)
    limited = Lane(dataclasses.replace(TARGET, rate=RateLimit(1, 2)))
    limited.accept(claims(3), NOW)
    assert not limited.held(NOW)
    assert took(limited, 3) == [1, 2]
    assert limited.held(NOW)
    assert not limited.held(NOW + 1)
