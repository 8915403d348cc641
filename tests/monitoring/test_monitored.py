"""A real Prometheus that scrapes a real operator: every query of the dashboard and of the alerts brings data."""

from __future__ import annotations

import asyncio
import json
import math
import re
import uuid
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import yaml

from chart import CHART
from support.cluster import eventually
from support.live import LiveOperator, LiveReceiver
from support.prometheus_live import JOB, NAMESPACE, LivePrometheus, QueryError
from support.receiver import Answer, Receiver
from support.whole import Subscriptions

BOARD = json.loads((CHART / "files" / "dashboards" / "overview.json").read_text())
TARGETS = [
    pytest.param(panel["title"], target["expr"], id=f"{panel['title']}-{target['refId']}")
    for outer in BOARD["panels"]
    for panel in (outer, *outer.get("panels", ()))
    for target in panel.get("targets", ())
]
RULES = yaml.safe_load((CHART / "files" / "alerts" / "hookline.yaml").read_text())["groups"][0]["rules"]
SELECTOR = f'job="{JOB}", namespace="{NAMESPACE}"'
THRESHOLDS = yaml.safe_load((CHART / "files" / "alerts" / "thresholds.yaml").read_text())

# Whose panel each one of the row of a subscription is here: of one that has what it shows.
SUBSCRIPTIONS = {"Backlog": "holding", "Oldest due": "holding", "Retried": "failing", "Top reasons": "failing"}
SUBSCRIPTIONS |= {"Given up": "gone", "Rate": "good", "Success": "good", "Latency": "good"}

# What is nothing but 0 unless there is trouble that this test does not make.
NOTHING_WITHOUT_TROUBLE = {
    "Destinations refused-A",
    "Finished messages deleted-A",
    "Failures of the outbox-A",
    "Parts started anew-A",
    "Parts started anew-B",
    "Endpoints with a wrong clock-A",
    "Watches-B",
    "Watches-C",
    "Clock skew-A",
    "Status patches-B",
}
# Alerts without a threshold, silent while the operator works.
SILENT = {"HooklineDown", "HooklineOutboxFailing"}
VARIABLES = {"$job": JOB, "$instance": ".+", "$__rate_interval": "2m", "$__range": "5m"}


@pytest.fixture(scope="module")
def receivers() -> Iterator[SimpleNamespace]:
    """Four endpoints of one authority: one accepts, one fails, one is gone, one does not answer."""
    good = LiveReceiver()
    authority = good.do(lambda receiver: receiver.authority)
    failing, gone, holding = (LiveReceiver(Receiver(authority=authority)) for _ in range(3))
    failing.do(lambda receiver: receiver.answer(503))
    gone.do(lambda receiver: receiver.answer(410))
    hold = asyncio.Event()
    holding.do(lambda receiver: receiver.answer_with(Answer(hold=hold)))
    yield SimpleNamespace(good=good, failing=failing, gone=gone, holding=holding)
    holding.do(lambda _: hold.set())
    for receiver in (good, failing, gone, holding):
        receiver.close()


@pytest.fixture(scope="module")
def monitored(control_plane, kubectl, crds, programs, rules, receivers, tmp_path_factory) -> Iterator[LivePrometheus]:
    """Prometheus, which saw the operator before and under a little load; every threshold is far below what is."""
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    kubectl("create", "namespace", namespace)
    home = tmp_path_factory.mktemp("monitored")
    flags = ("--namespace", namespace, "--max-body-bytes", "8192", "--subscription-metrics", "4")
    operator = LiveOperator(control_plane.kubeconfig, home / "operator", receivers.good.ca_pem, *flags)
    prometheus = None
    try:
        operator.start()
        low = rules(dict.fromkeys(THRESHOLDS, -1_000_000))
        prometheus = LivePrometheus(programs.prometheus, home / "prometheus", operator.port, low)
        _load(kubectl, namespace, receivers, prometheus)
        yield prometheus
    finally:
        if prometheus is not None:
            prometheus.close()
        operator.kill()
        kubectl("delete", "namespace", namespace, "--wait=false")


def _load(kubectl, namespace, receivers, prometheus):
    """Deliveries, retries, dead letters, endpoints in trouble, slow or gone, an event too large, and what waits."""
    made = Subscriptions(kubectl, namespace, receivers.good)
    delivery = {"failing": {"retry": {"schedule": [1] * 5}}, "holding": {"maxInFlight": 1}}

    for name, receiver in vars(receivers).items():
        made.ready(name, destination={"url": receiver.url("/")}, delivery=delivery.get(name, {}))
    made.ready("one-more")
    made.apply("waits", suspend=True)
    made.apply("lacks", destination={"urlFrom": {"secretKeyRef": {"name": "none", "key": "url"}}})
    made.wait("Suspended", "waits")
    known = f'hookline_subscription_delivery_attempts_total{{subscription_namespace="{namespace}"}}'
    eventually(lambda: len(prometheus.query(known)) == 3 * len(vars(receivers)), "Prometheus knows all of them")
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"map-{number}"}, "data": {"key": "x" * size}}
        for number, size in enumerate([10] * 20 + [20_000])
    ]
    kubectl.apply(*maps, namespace=namespace)
    kubectl("delete", "configmap", "map-0", "-n", namespace)
    eventually(lambda: len(receivers.good.requests) >= 21, "what is not too large is delivered")
    eventually(lambda: receivers.holding.requests, "a request is held")


def filled(prometheus, title, expression):
    """The query as Grafana asks it, with values of the variables that Prometheus has."""
    values = dict(VARIABLES)
    if subscription := SUBSCRIPTIONS.get(title):
        ((labels, _),) = prometheus.query(
            f'hookline_subscription_messages{{state="dead", subscription="{subscription}"}}'
        )
        values |= {"$namespace": labels["subscription_namespace"], "$subscription": labels["subscription"]}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def numbers(prometheus, expression):
    return [value for _, value in prometheus.query(expression) if not math.isnan(value)]


def shown(prometheus, title, expression):
    """What a panel shows."""
    return numbers(prometheus, filled(prometheus, title, expression))


@pytest.mark.parametrize(("title", "expression"), TARGETS)
def test_a_query_of_the_dashboard_brings_data(monitored, request, title, expression):
    known = request.node.callspec.id
    if known in NOTHING_WITHOUT_TROUBLE:
        eventually(lambda: shown(monitored, title, expression), f"{title} has a series")
    else:
        eventually(lambda: any(shown(monitored, title, expression)), f"{title} has a number that is not 0")


def test_the_control_a_metric_that_does_not_exist_brings_none_and_a_broken_query_is_an_error(monitored):
    assert monitored.query("hookline_changes_recieved_total") == []
    with pytest.raises(QueryError, match="parse error"):
        monitored.query("sum(rate(hookline_changes_received_total[2m])")


def test_what_has_no_series_of_its_own_is_in_one_together_and_the_sum_is_that_of_all(monitored):
    attempts = "hookline_subscription_delivery_attempts_total"
    rest = f'sum({attempts}{{subscription_namespace="_rest", subscription="_rest", outcome="delivered"}})'
    eventually(lambda: any(numbers(monitored, rest)), "the fifth subscription is in the rest")
    assert monitored.query(f'{attempts}{{subscription="one-more"}}') == []
    of_all = f"sum({attempts}) - sum(hookline_delivery_attempts_total)"
    eventually(lambda: numbers(monitored, of_all) == [0], "both sums are equal")


def test_the_pod_s_own_namespace_is_kept_beside_that_of_the_subscription(monitored):
    for labels, _ in monitored.query("hookline_subscription_messages"):
        assert labels["namespace"] == NAMESPACE
        assert "exported_namespace" not in labels


def test_the_success_ratio_is_that_of_what_was_sent(monitored):
    title = "Success ratio"
    (expression,) = [case.values[1] for case in TARGETS if case.values[0] == title]
    eventually(
        lambda: any(0 < value < 1 for value in shown(monitored, title, expression)),
        "a part was delivered",
    )


def test_the_variables_of_the_dashboard_find_the_job_and_the_instance(monitored):
    ((labels, _),) = monitored.query("hookline_build_info")
    assert labels["job"] == JOB
    assert labels["instance"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_the_query_of_an_alert_brings_data_when_its_threshold_is_passed(monitored, rule):
    name, expression = rule["alert"], rule["expr"].replace("${selector}", SELECTOR)
    for metric in set(re.findall(r"\bhookline_\w+", expression)):
        assert numbers(monitored, f"count({metric})"), f"{name} asks for {metric}, which is not there"
    for threshold in THRESHOLDS:
        expression = expression.replace(f"${{{threshold}}}", "-1000000")
    if name in SILENT:
        assert monitored.query(expression) == []
    else:
        assert "${" in rule["expr"]
        eventually(lambda: numbers(monitored, expression), f"{name} has data")


def test_what_an_alert_says_is_whole(monitored):
    wanted = {rule["alert"] for rule in RULES} - SILENT
    eventually(lambda: wanted == {alert["labels"]["alertname"] for alert in monitored.alerts()}, "all alerts are told")
    for alert in monitored.alerts():
        for text in alert["annotations"].values():
            assert not re.search(r"\{\{|<no value>|error expanding|  | \.|%!", text), text
