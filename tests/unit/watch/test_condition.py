"""When a watch's trouble is told, and when it is over."""

from __future__ import annotations

from hookline.errors import ApiError, Forbidden
from hookline.watch.condition import Condition

BROKEN = ApiError(0, "no usable answer")


class Told(list[ApiError | None]):
    """What was told, and the condition that told it."""

    def __init__(self) -> None:
        super().__init__()
        self.condition = Condition(self.append, lasting=3)


def test_a_refusal_is_told_at_once_and_once() -> None:
    told = Told()
    for _ in range(5):
        told.condition.failed(Forbidden(403, "no"))
    told.condition.opened()
    assert [error and error.status for error in told] == [403, None]


def test_a_refusal_of_the_moment_and_no_answer_are_told_when_they_last() -> None:
    for error in (ApiError(429, "later"), ApiError(503, "later"), BROKEN):
        told = Told()
        told.condition.interrupted(error)
        told.condition.interrupted(error)
        assert told == []
        assert told.condition.failing
        told.condition.interrupted(error)
        assert told == [error]


def test_the_end_of_an_open_stream_is_no_failure_however_often() -> None:
    told = Told()
    for _ in range(10):
        told.condition.opened()
        told.condition.interrupted(BROKEN)
        told.condition.open = False
    assert told == []
    assert not told.condition.failing


def test_a_stream_that_opens_and_fails_at_the_same_change_again_and_again_is_told_and_not_healed_by_opening() -> None:
    told = Told()
    for _ in range(5):
        told.condition.opened()
        told.condition.failed(BROKEN)
        told.condition.open = False
    assert told == [BROKEN]
    told.condition.succeeded()
    assert told == [BROKEN, None]
