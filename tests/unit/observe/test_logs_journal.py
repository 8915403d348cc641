"""Claims about lines for verdicts and dead letters, and that a storm of them can't flood the log."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from hookline.model import Attempt, Claimed, Message, Outcome, Verdict
from hookline.observe.journal import MAX_LINES, WINDOW_SECONDS, DeadLetters, Journal

LOGGER = "hookline.observe.journal"


def attempt(uid="uid-1", outcome=Outcome.DEAD, number=0):
    message = Message(f"msg_{number}", uid, 1, "object", "type", (), b"secret body", 0.0)
    return Attempt(Claimed(1, message, 2, 0.0), Verdict(outcome, "HTTP500", 500), 1.0, 0.25)


def named(uid):
    return None if uid == "gone" else SimpleNamespace(key=("shop", uid))


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def facts(record):
    names = ("subscription", "uid", "webhook_id", "reason", "status_code", "attempt", "outcome", "duration")
    return {name: getattr(record, name) for name in names if getattr(record, name, None) is not None}


def test_a_verdict_is_a_line_at_debug_with_all_that_is_known(caplog):
    caplog.set_level(logging.DEBUG, LOGGER)
    Journal(named).attempted(attempt(outcome=Outcome.RETRY), None)
    (record,) = caplog.records
    verdict = {"reason": "HTTP500", "status_code": 500, "attempt": 3, "outcome": "retry", "duration": 0.25}
    assert facts(record) == {"subscription": "shop/uid-1", "webhook_id": "msg_0", **verdict}
    assert "secret" not in str(vars(record))


def test_at_info_a_verdict_costs_no_line_and_no_name(caplog):
    caplog.set_level(logging.INFO, LOGGER)
    asked: list[str] = []
    journal = Journal(asked.append)
    for outcome in (Outcome.RETRY, Outcome.DELIVERED):
        journal.attempted(attempt(outcome=outcome), None)
    assert (caplog.records, asked) == ([], [])
    caplog.set_level(logging.DEBUG, LOGGER)
    journal.attempted(attempt(outcome=Outcome.RETRY), None)
    assert asked, "the control: at debug it is asked for"


def test_a_dead_letter_is_a_warning_also_when_its_subscription_is_gone(caplog):
    journal = Journal(named)
    journal.attempted(attempt(), None)
    journal.attempted(attempt("gone"), None)
    first, second = map(facts, caplog.records)
    assert first["subscription"] == "shop/uid-1"
    assert ("subscription" in second, second["uid"]) == (False, "gone")


def test_a_storm_of_dead_letters_is_one_line_for_each_subscription_and_one_sum_in_a_minute(caplog, clock):
    letters = DeadLetters(clock)
    for number in range(10_000):
        letters.note(attempt(f"uid-{number % 7}", number=number), None)
    assert len(caplog.records) == 7
    clock.now += WINDOW_SECONDS
    letters.tick()
    (total,) = caplog.records[7:]
    assert (total.count, total.subscriptions) == (10_000 - 7, 7)
    letters.tick()
    assert len(caplog.records) == 8, "said once"
    letters.note(attempt("uid-1"), None)
    assert caplog.records[-1].webhook_id == "msg_0", "and the next minute has its own"


def test_many_subscriptions_share_the_lines_of_a_minute(caplog, clock):
    letters = DeadLetters(clock)
    for number in range(1000):
        letters.note(attempt(f"uid-{number}"), None)
    assert len(caplog.records) == MAX_LINES
    clock.now += WINDOW_SECONDS
    letters.note(attempt("another"), None)
    total, last = caplog.records[MAX_LINES:]
    assert (total.count, total.subscriptions) == (1000 - MAX_LINES, 1000 - MAX_LINES)
    assert last.uid == "another"
