"""Claims about what an answer means for a message."""

from __future__ import annotations

import dataclasses
import email.utils
from functools import partial

import pytest

from hookline.deliver.verdict import Failure, Reason, Response, clock_skew, judge, retry_after_seconds
from hookline.model import PING_TYPE, Claimed, Message, Outcome
from hookline.outbox.schedule import next_attempt
from hookline.spec import RetryPolicy

NOW = 1_700_000_000.0
POLICY = RetryPolicy((5, 300), max_age=100_000)
verdict_of = partial(judge, rand=lambda: 0.0, next_attempt=next_attempt)


def claimed(attempts: int = 0, stored: float = NOW) -> Claimed:
    return Claimed(1, Message("msg_1", "sub", 1, "obj", "t", (), b"{}", NOW), attempts, stored)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(status):
    verdict = verdict_of(claimed(), POLICY, Response(status), NOW)
    assert (verdict.outcome, verdict.reason, verdict.status_code) == (Outcome.DELIVERED, "Delivered", status)
    assert verdict.retry_at is None


@pytest.mark.parametrize("status", [101, 301, 302, 304, 307, 308, 400, 401, 404, 408, 409, 425, 429, 500, 503, 599])
def test_every_other_status_is_retried_on_the_schedule(status):
    verdict = verdict_of(claimed(), POLICY, Response(status), NOW)
    assert (verdict.outcome, verdict.reason, verdict.retry_at) == (Outcome.RETRY, f"HTTP{status}", NOW + 5)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_failure_is_retried_on_the_schedule(reason):
    verdict = verdict_of(claimed(attempts=1), POLICY, Failure(reason), NOW)
    assert (verdict.outcome, verdict.reason, verdict.retry_at) == (Outcome.RETRY, reason.value, NOW + 300)
    assert type(verdict.reason) is str


def test_410_is_dead_at_once_and_the_endpoint_gone():
    verdict = verdict_of(claimed(), POLICY, Response(410), NOW)
    assert (verdict.outcome, verdict.reason, verdict.gone) == (Outcome.DEAD, "HTTP410", True)


def test_a_message_without_attempts_left_is_dead_for_the_reason_of_the_last_one():
    assert verdict_of(claimed(attempts=1), POLICY, Response(500), NOW).outcome is Outcome.RETRY
    verdict = verdict_of(claimed(attempts=2), POLICY, Response(500), NOW)
    assert (verdict.outcome, verdict.reason, verdict.status_code) == (Outcome.DEAD, "HTTP500", 500)
    assert not verdict.gone


@pytest.mark.parametrize("result", [Response(400), Response(503, retry_after="1"), Failure(Reason.TIMEOUT)])
def test_a_ping_has_one_attempt_and_an_event_of_its_type_has_all(result):
    ping = Message("msg_1", "sub", 1, "sub", PING_TYPE, (), b"{}", NOW)
    verdict = verdict_of(Claimed(1, ping, 0, NOW), POLICY, result, NOW)
    assert (verdict.outcome, verdict.retry_at) == (Outcome.DEAD, None)
    event = dataclasses.replace(ping, ground='["default"]')
    assert verdict_of(Claimed(1, event, 0, NOW), POLICY, result, NOW).outcome is Outcome.RETRY


def test_a_ping_that_arrives_is_delivered():
    ping = Message("msg_1", "sub", 1, "sub", PING_TYPE, (), b"{}", NOW)
    assert verdict_of(Claimed(1, ping, 0, NOW), POLICY, Response(200), NOW).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("status", [429, 503])
def test_a_429_or_503_is_retried_no_earlier_than_retry_after(status):
    assert verdict_of(claimed(), POLICY, Response(status, retry_after="60"), NOW).retry_at == NOW + 60
    assert verdict_of(claimed(), POLICY, Response(status, retry_after="1"), NOW).retry_at == NOW + 5


@pytest.mark.parametrize("status", [301, 404, 500])
def test_retry_after_of_other_statuses_is_ignored(status):
    assert verdict_of(claimed(), POLICY, Response(status, retry_after="60"), NOW).retry_at == NOW + 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("", 0),
        ("5, 10", 0),
        ("\u0661\u0662", 0),
        ("9" * 400, 0),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 - NOW),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 0),
        ("Tue, 99 Foo 2023 25:61:61 GMT", 0),
    ],
)
def test_retry_after_is_read_in_both_forms_and_garbage_is_nothing(value, seconds):
    assert retry_after_seconds(value, NOW) == seconds


def test_a_retry_after_in_the_far_future_is_capped_at_24_hours():
    verdict = verdict_of(claimed(), POLICY, Response(503, retry_after="Fri, 31 Dec 9999 23:59:59 GMT"), NOW)
    assert verdict.retry_at == NOW + 86_400


def test_clock_skew_is_the_receivers_clock_minus_ours():
    assert clock_skew(email.utils.formatdate(NOW + 42, usegmt=True), NOW - 1, NOW) == 42
    assert clock_skew(email.utils.formatdate(NOW - 42, usegmt=True), NOW, NOW + 1) == -41  # or up to a second more
    assert clock_skew("yesterday", NOW, NOW) is None
    assert clock_skew(None, NOW, NOW) is None


@pytest.mark.parametrize("date", [NOW - 1, NOW, NOW + 15, NOW + 30])
def test_what_the_time_of_an_attempt_explains_is_no_skew(date):
    assert clock_skew(email.utils.formatdate(date, usegmt=True), NOW - 0.5, NOW + 30) == 0
