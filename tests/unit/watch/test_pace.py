"""How long an informer waits."""

from __future__ import annotations

from hookline.watch.pace import Pace, delay, failures_after, spread


def test_the_delay_doubles_from_the_first_bound_to_the_second() -> None:
    longest = [delay(failures, (0.2, 30.0), lambda: 1.0) for failures in range(1, 12)]
    assert longest[:3] == [0.2, 0.4, 0.8]
    assert longest[-1] == 30.0
    assert longest == sorted(longest)


def test_jitter_takes_off_at_most_half_and_a_thousand_failures_do_not_overflow() -> None:
    assert delay(3, (0.2, 30.0), lambda: 0.0) == 0.4
    assert delay(100_000, (5.0, 60.0), lambda: 0.0) == 30.0


def test_a_stream_that_brought_something_or_lasted_starts_the_count_anew() -> None:
    pace = Pace()
    assert failures_after(7, pace, progress=True, lasted=0.0) == 1
    assert failures_after(7, pace, progress=False, lasted=31.0) == 1
    assert failures_after(7, pace, progress=False, lasted=0.1) == 8


def test_streams_end_between_their_bounds() -> None:
    assert spread((290.0, 580.0), lambda: 0.0) == 290.0
    assert spread((290.0, 580.0), lambda: 0.5) == 435.0
