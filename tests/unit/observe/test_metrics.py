"""Metrics: named as Prometheus wants it, there from the start, bounded in their labels."""

import dataclasses
import json
import logging
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hookline.deliver.guard import Stage
from hookline.model import PING_TYPE, Attempt, Claimed, Counts, Message, Outcome, Verdict
from hookline.observe.logs import JsonFormatter, TextFormatter
from hookline.observe.metrics import Metrics
from hookline.reasons import DROP_REASONS
from hookline.spec import Operation


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def value(metrics, name, **labels):
    found = [
        sample.value
        for family in families(metrics).values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, f"{name} {labels}"
    return found[0]


def attempt(outcome=Outcome.DELIVERED):
    message = Message("msg_a", "uid", 1, "object", "type", (), b"{}", observed=100.0)
    verdict = Verdict(outcome, "Delivered", 200)
    return Attempt(Claimed(1, message, 0, 100.0), verdict, started=100.5, duration=0.25)


def test_every_known_series_is_there_and_zero_before_anything_happened():
    metrics = Metrics()
    for reason in DROP_REASONS:
        assert value(metrics, "hookline_events_dropped_total", reason=reason) == 0
    for outcome in ("delivered", "retry", "dead"):
        assert value(metrics, "hookline_delivery_attempts_total", outcome=outcome) == 0
    for operation in ("Created", "Updated", "Deleted"):
        assert value(metrics, "hookline_changes_received_total", operation=operation) == 0
    for cause in ("time", "memory", "silent", "crash"):
        assert value(metrics, "hookline_expression_worker_restarts_total", cause=cause) == 0
    for stage in Stage:
        assert value(metrics, "hookline_destinations_refused_total", stage=stage) == 0
    for state in ("pending", "delivered", "dead"):
        assert value(metrics, "hookline_outbox_messages", state=state) == 0


def test_restarts_of_the_controller_are_counted_not_set():
    metrics = Metrics()
    assert value(metrics, "hookline_controller_restarts_total") == 0
    for _ in range(2):
        metrics.controller_restarted(1)
    assert value(metrics, "hookline_controller_restarts_total") == 2


def test_names_follow_the_conventions():
    for name, family in families(Metrics()).items():
        assert re.fullmatch(r"(hookline|process)_[a-z_]+", name)
        assert family.documentation
        if family.type == "histogram":
            assert name.endswith("_seconds")
        if family.type == "gauge":
            assert not name.endswith("_total")


def test_no_label_can_take_an_unbounded_value():
    labels = {key for family in families(Metrics()).values() for sample in family.samples for key in sample.labels}
    assert not labels & {"name", "namespace", "uid", "url", "host", "subscription", "type", "id"}


def test_latency_is_measured_from_the_change_to_the_end_of_the_successful_attempt():
    metrics = Metrics()
    metrics.attempt(attempt())
    assert value(metrics, "hookline_delivery_latency_seconds_sum") == 0.75
    assert value(metrics, "hookline_delivery_attempt_duration_seconds_sum") == 0.25
    metrics.attempt(attempt(Outcome.DEAD))
    assert value(metrics, "hookline_delivery_latency_seconds_count") == 1
    assert value(metrics, "hookline_messages_dead_lettered_total") == 1


def test_a_message_that_ended_without_a_request_counts_as_dead_and_not_as_an_attempt():
    metrics = Metrics()
    metrics.attempt(dataclasses.replace(attempt(Outcome.DEAD), made=False))
    assert value(metrics, "hookline_messages_dead_lettered_total") == 1
    assert value(metrics, "hookline_delivery_attempts_total", outcome="dead") == 0
    assert value(metrics, "hookline_delivery_attempt_duration_seconds_count") == 0
    metrics.attempt(attempt(Outcome.DEAD))  # the control
    assert value(metrics, "hookline_delivery_attempts_total", outcome="dead") == 1


def test_a_ping_that_fails_is_an_attempt_and_no_dead_letter():
    metrics = Metrics(subscriptions=1)
    metrics.each.known("uid", "shop", "orders")
    failed = attempt(Outcome.DEAD)
    ping = dataclasses.replace(failed.claimed.message, event_type=PING_TYPE)
    metrics.attempt(dataclasses.replace(failed, claimed=dataclasses.replace(failed.claimed, message=ping)))
    of_one = {"subscription_namespace": "shop", "subscription": "orders"}
    assert value(metrics, "hookline_messages_dead_lettered_total") == 0
    assert value(metrics, "hookline_subscription_messages_dead_lettered_total", **of_one) == 0
    assert value(metrics, "hookline_delivery_attempts_total", outcome="dead") == 1
    metrics.attempt(failed)  # the control
    assert value(metrics, "hookline_messages_dead_lettered_total") == 1
    assert value(metrics, "hookline_subscription_messages_dead_lettered_total", **of_one) == 1


def test_the_outbox_is_summed_over_all_subscriptions():
    metrics = Metrics()
    metrics.outbox({"a": Counts(1, 2, 3), "b": Counts(10, 20, 30)}, 4096, 1024, 123.0)
    assert value(metrics, "hookline_outbox_messages", state="pending") == 11
    assert value(metrics, "hookline_outbox_messages", state="dead") == 33
    assert value(metrics, "hookline_outbox_bytes") == 4096
    assert value(metrics, "hookline_outbox_free_bytes") == 1024
    assert value(metrics, "hookline_outbox_oldest_due_timestamp_seconds") == 123


def test_changes_are_counted_by_operation():
    metrics = Metrics()
    metrics.received(Operation.DELETED)
    assert value(metrics, "hookline_changes_received_total", operation="Deleted") == 1


@pytest.fixture
def record():
    made = logging.makeLogRecord(
        {"name": "hookline.x", "levelno": logging.INFO, "levelname": "INFO", "msg": "a %s", "args": ("b",)}
    )
    made.subscription = 'shop/"orders"\n'
    return made


def test_a_log_line_is_one_json_object_with_its_fields(record):
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["subscription"] == 'shop/"orders"\n'
    assert json.loads(line)["message"] == "a b"


def test_a_log_line_for_people_has_the_fields_behind_the_message(record):
    record.subscription = "shop/orders"
    assert TextFormatter().format(record).endswith("INFO    a b subscription=shop/orders")
