"""Claims about when a message is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.outbox.schedule import next_attempt
from hookline.spec import DEFAULT_SCHEDULE, RetryPolicy

POLICY = RetryPolicy(DEFAULT_SCHEDULE, max_age=400_000)
T0 = 1_700_000_000.0


def test_the_default_schedule_makes_ten_attempts_in_75_hours_35_minutes_5_seconds():
    assert len(DEFAULT_SCHEDULE) + 1 == 10
    assert sum(DEFAULT_SCHEDULE) == 75 * 3600 + 35 * 60 + 5


def test_attempts_follow_the_schedule_one_by_one_and_then_end():
    waits = []
    for made in range(1, 11):
        at = next_attempt(POLICY, made, T0, T0, 0, 0.0)
        waits.append(None if at is None else at - T0)
    assert waits == [*DEFAULT_SCHEDULE, None]


@given(made=st.integers(1, 9), floor=st.floats(0, 200_000), rand=st.floats(0, 1, exclude_max=True))
def test_jitter_only_adds_and_at_most_a_tenth(made, floor, rand):
    base = max(DEFAULT_SCHEDULE[made - 1], min(floor, 86_400))
    at = next_attempt(POLICY, made, T0, T0, floor, rand)
    assert at is not None
    assert T0 + base <= at <= T0 + base * 1.1 + 1e-3


def test_a_wait_of_nothing_gets_no_jitter():
    assert next_attempt(RetryPolicy((0,), 10), 1, T0, T0, 0, 0.99) == T0


def test_retry_after_is_a_floor_that_never_shortens_the_schedule():
    assert next_attempt(POLICY, 1, T0, T0, 3600, 0.0) == T0 + 3600
    assert next_attempt(POLICY, 9, T0, T0, 3600, 0.0) == T0 + 86_400


def test_retry_after_is_capped_at_24_hours():
    assert next_attempt(POLICY, 1, T0, T0, 1e12, 0.0) == T0 + 86_400


@pytest.mark.parametrize(("age", "left"), [(995.0, True), (995.1, False)])
def test_no_attempt_is_made_after_the_greatest_age(age, left):
    at = next_attempt(RetryPolicy((5, 5), max_age=1000), 1, T0, T0 + age, 0, 0.0)
    assert (at is not None) is left


def test_jitter_alone_never_ends_a_message():
    assert next_attempt(RetryPolicy((100,), max_age=105), 1, T0, T0, 0, 0.99) == T0 + 105
