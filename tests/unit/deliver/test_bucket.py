"""Claims about the token bucket; the clock is ours."""

from __future__ import annotations

import pytest

from hookline.deliver.bucket import Bucket
from hookline.spec import RateLimit

NOW = 1_700_000_000.0


def run(bucket: Bucket, begin: float, end: float) -> list[float]:
    """Take as soon as allowed from ``begin`` until ``end``; returns the times."""
    times, now = [], begin
    while (ready := bucket.ready_at(now)) < end:
        now = max(now, ready)
        bucket.take(now)
        times.append(now)
    return times


@pytest.mark.parametrize(("rate", "burst"), [(1, 1), (10, 1), (10, 5), (1000, 1000), (3, 7)])
def test_a_burst_goes_at_once_and_the_rest_evenly(rate, burst):
    times = run(Bucket(RateLimit(rate, burst)), NOW, NOW + 10)
    assert times[:burst] == [NOW] * burst
    assert abs(len(times) - (burst - 1 + 10 * rate)) <= 1
    gaps = [after - before for before, after in zip(times[burst:], times[burst + 1 :], strict=False)]
    assert gaps == pytest.approx([1 / rate] * len(gaps), abs=1e-5)


def test_in_no_second_more_than_burst_and_rate_begin():
    times = run(Bucket(RateLimit(20, 5)), NOW, NOW + 30)
    assert max(sum(begin <= time < begin + 1 for time in times) for begin in times) <= 25


def test_a_pause_gives_the_burst_back_and_not_more():
    bucket = Bucket(RateLimit(10, 5))
    run(bucket, NOW, NOW + 1)
    later = run(bucket, NOW + 3600, NOW + 3600.05)
    assert later == [NOW + 3600] * 5


def test_ready_at_is_exactly_when_it_may_be_taken():
    bucket = Bucket(RateLimit(7, 1))
    now = NOW
    for _ in range(1000):
        bucket.take(now)
        now = bucket.ready_at(now)
        assert bucket.ready_at(now) <= now


def test_a_clock_set_back_by_a_day_can_not_stop_it():
    bucket = Bucket(RateLimit(2, 1))
    bucket.take(NOW)
    past = NOW - 86_400
    assert bucket.ready_at(past) <= past + 0.5
