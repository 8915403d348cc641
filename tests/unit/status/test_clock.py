"""How far an endpoint's clock is off: from several answers, for this endpoint alone, and as a condition."""

from __future__ import annotations

import time

import pytest

from hookline.model import Attempt, Claimed, Finding, Message, Outcome, Verdict
from hookline.observe.metrics import Metrics
from hookline.status.clock import ENOUGH, Clock
from hookline.status.writer import StatusWriter
from support.controlling import ScriptedApi, webhook


def after(*skews: float) -> Clock:
    clock = Clock()
    for skew in skews:
        clock.note(skew)
    return clock


@pytest.mark.parametrize(
    ("skew", "status", "reason"),
    [
        (0, "True", "ClockInStep"),
        (60, "True", "ClockInStep"),
        (61, "True", "ClockDrifting"),
        (-300, "True", "ClockDrifting"),
        (301, "False", "ClockSkewed"),
        (-600, "False", "ClockSkewed"),
    ],
)
def test_what_receivers_tolerate_decides(skew, status, reason):
    condition = after(*[skew] * ENOUGH).condition()
    assert (condition.type, condition.status, condition.reason) == ("ClockSynchronized", status, reason)


def test_until_enough_answers_came_it_is_unknown():
    assert after().condition().reason == "ClockNotMeasured"
    assert after(600, 600).condition().status == "Unknown"
    assert after(600, 600, 600).condition().status == "False"


def test_one_odd_answer_changes_nothing():
    assert not after(0, 0, 1e9, 0, 0).exceeds
    assert after(600, 600, 0, 600, 600).exceeds


def test_the_control_their_mean_would_have_been_fooled():
    assert sum([0, 0, 1e9, 0, 0]) / 5 > 300


def test_the_newest_answers_count():
    assert not after(*[600] * 10, *[0] * 5).exceeds


def test_a_restart_keeps_what_was_told_until_there_are_enough_answers_again():
    told = {"clockSkewSeconds": 600, "conditions": [{"type": "ClockSynchronized", "status": "False"}]}
    clock = Clock.of(told)
    assert clock.exceeds
    for _ in range(ENOUGH - 1):
        clock.note(0)
    assert clock.exceeds
    clock.note(0)
    assert not clock.exceeds


def test_a_first_measure_that_another_process_left_is_no_certainty():
    assert Clock.of({"clockSkewSeconds": 600}).condition().status == "Unknown"


def test_a_receiver_that_lies_about_its_time_harms_itself_alone():
    writer, metrics = StatusWriter(ScriptedApi(), 1.0, time.time), Metrics()
    for uid, skew in (("u1", 1e9), ("u2", 0.0), ("u3", 1.0)):
        writer.report(webhook(uid, uid), Finding(1, True, "Valid", ""))
        message = Message("msg_a", uid, 1, "object", "type", (), b"{}", observed=0.0)
        for _ in range(ENOUGH):
            delivered = Verdict(Outcome.DELIVERED, "Delivered", 200)
            writer.attempt(Attempt(Claimed(1, message, 0, 0.0), delivered, 1.0, 1.0, skew))
    metrics.clocks(*writer.clocks)
    text = metrics.render().decode()
    assert "hookline_clock_skewed_subscriptions 1.0" in text
    assert 'hookline_clock_skew_seconds{statistic="median"} 1.0' in text
    assert 'hookline_clock_skew_seconds{statistic="worst"} 1e+09' in text
