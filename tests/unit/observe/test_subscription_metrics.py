"""Series of single subscriptions: only when asked for, at most so many, and none of what is gone."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from hookline.deliver.verdict import Reason
from hookline.model import Attempt, Claimed, Counts, Message, Outcome, Verdict
from hookline.observe.failures import FAILURE_REASONS, failure_reason
from hookline.observe.metrics import Metrics
from hookline.observe.subscriptions import REST

ATTEMPTS = "hookline_subscription_delivery_attempts_total"
RESTS = (REST, REST)


def attempt(uid, outcome=Outcome.DELIVERED, reason="Delivered", code=200, *, made=True):
    message = Message("msg_a", uid, 1, "object", "type", (), b"{}", observed=100.0)
    verdict = Verdict(outcome, reason, code)
    return Attempt(Claimed(1, message, 0, 100.0), verdict, started=100.5, duration=0.25, made=made)


def samples(metrics):
    """Every sample of a single subscription: (name, namespace, subscription, other labels) to its value."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            if "subscription" in labels:
                where = labels.pop("subscription_namespace"), labels.pop("subscription")
                found[(sample.name, *where, *labels.values())] = sample.value
    return found


def names(metrics):
    return {key[1:3] for key in samples(metrics)}


def test_there_is_none_unless_asked_for():
    metrics = Metrics()
    metrics.each.known("a", "shop", "orders")
    metrics.attempt(attempt("a"))
    assert samples(metrics) == {}
    asked = Metrics(subscriptions=1)  # the control
    asked.each.known("a", "shop", "orders")
    assert names(asked) == {("shop", "orders")}


def test_attempts_failures_dead_letters_duration_and_latency_are_counted_by_subscription():
    metrics = Metrics(subscriptions=2)
    metrics.each.known("a", "shop", "orders")
    metrics.each.known("b", "shop", "bills")
    metrics.attempt(attempt("a"))
    metrics.attempt(attempt("b", Outcome.RETRY, "HTTP503", 503))
    metrics.attempt(attempt("b", Outcome.DEAD, "HTTP410", 410))
    metrics.attempt(attempt("b", Outcome.DEAD, "Expired", None, made=False))
    metrics.attempt(attempt("gone"))
    found = samples(metrics)
    assert found[(ATTEMPTS, "shop", "orders", "delivered")] == 1
    assert found[(ATTEMPTS, "shop", "bills", "retry")] == found[(ATTEMPTS, "shop", "bills", "dead")] == 1
    assert found[("hookline_subscription_delivery_attempt_duration_seconds_sum", "shop", "bills")] == 0.5
    assert found[("hookline_subscription_delivery_attempt_duration_seconds_count", "shop", "bills")] == 2
    assert found[("hookline_subscription_delivery_latency_seconds_sum", "shop", "orders")] == 0.75
    assert found[("hookline_subscription_delivery_latency_seconds_count", "shop", "bills")] == 0
    assert found[("hookline_subscription_messages_dead_lettered_total", "shop", "bills")] == 2
    assert {key[3]: value for key, value in found.items() if "failures" in key[0]} == {
        "HTTP503": 1,
        "HTTP410": 1,
        "Expired": 1,
    }


def test_all_beyond_the_limit_share_one_series_and_nothing_is_lost_of_the_sum():
    metrics = Metrics(subscriptions=2)
    for number in range(5):
        metrics.each.known(str(number), "shop", f"hook-{number}")
        metrics.attempt(attempt(str(number)))
    assert names(metrics) == {("shop", "hook-0"), ("shop", "hook-1"), RESTS}
    assert samples(metrics)[(ATTEMPTS, *RESTS, "delivered")] == 3
    counted = sum(value for key, value in samples(metrics).items() if key[0] == ATTEMPTS)
    assert counted == samples_of_all(metrics)


def samples_of_all(metrics):
    return metrics.registry.get_sample_value("hookline_delivery_attempts_total", {"outcome": "delivered"})


def test_the_rest_is_not_told_while_every_subscription_has_its_own():
    metrics = Metrics(subscriptions=2)
    metrics.each.known("a", "shop", "orders")
    assert names(metrics) == {("shop", "orders")}


def test_the_outbox_is_told_by_subscription_and_summed_for_the_rest():
    metrics = Metrics(subscriptions=1)
    for uid in ("a", "b", "c"):
        metrics.each.known(uid, "shop", uid)
    counts = {"a": Counts(1, 2, 3), "b": Counts(10, 20, 30), "c": Counts(100, 200, 300), "gone": Counts(1000, 0, 0)}
    metrics.each.outbox(counts, {"a": 50.0, "b": 70.0, "c": 60.0, "gone": 1.0})
    found = samples(metrics)
    state = "hookline_subscription_messages"
    assert [found[(state, "shop", "a", name)] for name in ("pending", "delivered", "dead")] == [1, 2, 3]
    assert [found[(state, *RESTS, name)] for name in ("pending", "delivered", "dead")] == [110, 220, 330]
    oldest = "hookline_subscription_oldest_due_timestamp_seconds"
    assert (found[(oldest, "shop", "a")], found[(oldest, *RESTS)]) == (50, 60)
    metrics.each.outbox({}, {})
    assert samples(metrics)[(oldest, *RESTS)] == samples(metrics)[(state, "shop", "a", "pending")] == 0


def test_the_series_of_a_gone_subscription_end_and_the_next_gets_its_place():
    metrics = Metrics(subscriptions=1)
    metrics.each.known("a", "shop", "orders")
    metrics.each.known("b", "shop", "bills")
    metrics.attempt(attempt("b"))
    metrics.each.gone("a")
    metrics.attempt(attempt("b"))
    found = samples(metrics)
    assert names(metrics) == {("shop", "bills"), RESTS}
    # What it did before stays where it was counted: no counter ever falls.
    assert found[(ATTEMPTS, "shop", "bills", "delivered")] == found[(ATTEMPTS, *RESTS, "delivered")] == 1


def test_one_that_comes_again_by_the_same_name_begins_anew():
    metrics = Metrics(subscriptions=1)
    metrics.each.known("a", "shop", "orders")
    metrics.attempt(attempt("a"))
    metrics.each.gone("a")
    metrics.each.known("b", "shop", "orders")
    assert samples(metrics)[(ATTEMPTS, "shop", "orders", "delivered")] == 0


def test_coming_and_going_leaves_nothing_behind():
    metrics = Metrics(subscriptions=10)
    for number in range(5000):
        metrics.each.known(str(number), "shop", f"hook-{number}")
        metrics.attempt(attempt(str(number), Outcome.RETRY, "Timeout", None))
        metrics.each.gone(str(number - 20))
    assert len(names(metrics)) == 11
    for number in range(5000):
        metrics.each.gone(str(number))
    assert names(metrics) == {RESTS}
    assert not metrics.each._series
    assert not metrics.each._waiting


def test_every_reason_of_a_verdict_has_its_label_and_every_code_one_of_a_fixed_set():
    for reason in set(Reason) - {Reason.DELIVERED}:
        assert failure_reason(Verdict(Outcome.RETRY, str(reason))) == str(reason)
    for code in range(1000):
        assert failure_reason(Verdict(Outcome.RETRY, f"HTTP{code}", code)) in FAILURE_REASONS
    assert failure_reason(Verdict(Outcome.RETRY, "HTTP503", 503)) == "HTTP503"
    assert failure_reason(Verdict(Outcome.RETRY, "HTTP418", 418)) == "HTTP4xx"
    assert failure_reason(Verdict(Outcome.RETRY, "HTTP999", 999)) == "Other"


def test_reasons_of_failures_are_there_from_the_start_and_counted():
    metrics = Metrics()

    def failures(reason):
        return metrics.registry.get_sample_value("hookline_delivery_failures_total", {"reason": reason})

    assert {failures(reason) for reason in FAILURE_REASONS} == {0}
    metrics.attempt(attempt("a"))
    metrics.attempt(attempt("a", Outcome.RETRY, "HTTP418", 418))
    assert (failures("HTTP4xx"), failures("Other")) == (1, 0)
