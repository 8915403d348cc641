"""Series of single subscriptions, with the whole operator."""

from __future__ import annotations

import pytest

from support.cluster import eventually

DELIVERED = "hookline_subscription_delivery_attempts_total"


def series(operator, name):
    """The lines of /metrics of one subscription."""
    return [line for line in operator.get("/metrics")[1].splitlines() if f'subscription="{name}"' in line]


def delivered(operator, namespace, name):
    return operator.metric(
        f'{DELIVERED}{{outcome="delivered",subscription="{name}",subscription_namespace="{namespace}"}}'
    )


def test_the_series_of_a_deleted_subscription_end_and_another_one_gets_its_place(
    make_operator, subscriptions, kubectl, config_map, namespace
):
    operator = make_operator("--subscription-metrics", "1").start()
    subscriptions.ready("first")
    subscriptions.ready("second")
    config_map("one", a="1")
    eventually(lambda: delivered(operator, namespace, "first") == 1, "the first one's delivery is counted")
    eventually(lambda: len(series(operator, "_rest")) > 5, "the second one is in the rest")
    assert series(operator, "second") == []
    kubectl("delete", "whsub", "first", "-n", namespace)
    eventually(lambda: not series(operator, "first"), "its series end")
    config_map("two", a="1")
    eventually(lambda: delivered(operator, namespace, "second") == 1, "the second one is counted from now")


def test_the_control_unasked_there_is_none(operator, subscriptions, config_map):
    subscriptions.ready("first")
    config_map("one", a="1")
    eventually(lambda: operator.metric('hookline_delivery_attempts_total{outcome="delivered"}') == 1, "it is counted")
    assert series(operator, "first") == []
    with pytest.raises(AssertionError, match="no metric"):
        operator.metric(DELIVERED)
