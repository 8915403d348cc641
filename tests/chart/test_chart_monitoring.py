"""Monitors, alerts and dashboards: rendered from files of the chart, and nothing where there is no file."""

from __future__ import annotations

import json
import shutil

import pytest

from chart import CHART
from docs import observed

RULES = {"monitoring": {"prometheusRule": {"enabled": True}}}


@pytest.fixture(scope="module")
def without_files(tmp_path_factory):
    chart = tmp_path_factory.mktemp("chart") / "hookline"
    shutil.copytree(CHART, chart)
    for folder in ("alerts", "dashboards"):
        shutil.rmtree(chart / "files" / folder, ignore_errors=True)
    return chart


def alerts(rendered):
    rules = [rule for group in rendered.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    return {rule.get("alert") or rule["record"]: rule for rule in rules}


def rules(**more):
    return {"monitoring": {"prometheusRule": {"enabled": True, **more}}}


@pytest.mark.parametrize(("kind", "key"), [("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")])
def test_a_monitor_scrapes_the_port_of_metrics(render, kind, key):
    name = kind[0].lower() + kind[1:]
    values = {"enabled": True, "interval": "20s", "scrapeTimeout": "5s", "labels": {"release": "prometheus"}}
    monitor = render({"monitoring": {name: values}}).one(kind)
    assert monitor["spec"][key] == [{"port": "metrics", "path": "/metrics", "interval": "20s", "scrapeTimeout": "5s"}]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_the_alerts_ask_for_the_labels_that_the_monitor_gives(render, kind):
    values = {kind[0].lower() + kind[1:]: {"enabled": True}, "prometheusRule": {"enabled": True}}
    rendered = render({"monitoring": values, "nameOverride": "hooks"}, name="second", namespace="ops")
    scraped = rendered.one("Service")["metadata"] if kind == "ServiceMonitor" else rendered.pod["metadata"]
    job = scraped["labels"][rendered.one(kind)["spec"]["jobLabel"]]
    assert job == "second"
    for rule in alerts(rendered).values():
        assert f'namespace="ops", job="{job}"' in rule["expr"]


def test_the_labels_that_the_alerts_ask_for_can_be_others(render):
    (down,) = [rule for name, rule in alerts(render(rules(selector='job=~"hook.*"'))).items() if name == "HooklineDown"]
    assert down["expr"].count('{job=~"hook.*"}') == down["expr"].count("{") == 3
    assert "namespace=" not in down["expr"]


@pytest.mark.parametrize(
    ("size", "limit"), [("8Gi", 6871947673), ("512Mi", 429496729), ("1.5G", 1200000000), ("10Ti", 8796093022208)]
)
def test_the_outbox_is_nearly_full_at_80_percent_of_the_volume(render, size, limit):
    found = alerts(render({**rules(), "persistence": {"size": size}}))
    assert found["HooklineOutboxNearlyFull"]["expr"].endswith(f"> {limit}")


def test_another_threshold_counts_while_it_is_below_the_size_that_is_named(render, refusal):
    values = rules(thresholds={"outboxBytes": 90_000_000_000})
    existing = {"existingClaim": "large", "size": "100Gi"}
    found = alerts(render({**values, "persistence": existing}))
    assert found["HooklineOutboxNearlyFull"]["expr"].endswith("> 90000000000")
    assert "persistence.size must say how large that claim is" in refusal(
        {**values, "persistence": {"existingClaim": "large"}}
    )


def test_nothing_of_the_prometheus_operator_is_rendered_by_default(render):
    assert not any(obj["apiVersion"].startswith("monitoring") for obj in render())


def test_a_missing_api_is_skipped_or_ignored_where_the_values_say_so(render):
    values = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
    skipped = render({"monitoring": {**values, "whenMissing": "SkipIfMissing"}}, apis=())
    assert not any(obj["apiVersion"].startswith("monitoring") for obj in skipped)
    assert render({"monitoring": {**values, "whenMissing": "Always"}}, apis=()).one("ServiceMonitor")


def test_without_files_there_are_no_alerts_and_no_dashboards(render, without_files):
    values = {"monitoring": {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}}
    rendered = render(values, chart=without_files)
    assert rendered.all("PrometheusRule") == []
    assert [obj["metadata"]["name"] for obj in rendered.all("ConfigMap")] == ["hookline"]


def test_alerts_are_those_of_the_files_with_prometheus_own_templates_untouched(render, with_files):
    found = alerts(render(rules(), chart=with_files))
    assert list(found) == ["hookline:attempts:rate5m", "HooklineDelayed", "HooklineDown"]
    assert found["HooklineDelayed"]["annotations"]["summary"] == "{{ $labels.instance }} is late."


def test_a_threshold_is_that_of_the_file_or_that_of_the_values(render, with_files):
    assert alerts(render(rules(), chart=with_files))["HooklineDelayed"]["expr"].endswith("> 600")
    for number in (30, 0.5, 1_000_000_000, "0.25", 0):
        changed = render(rules(thresholds={"delaySeconds": number}), chart=with_files)
        assert alerts(changed)["HooklineDelayed"]["expr"].endswith(f"> {number}")


@pytest.mark.parametrize("name", ["delaySeconds", "failureRatio", "outboxBytes", "watchStaleSeconds"])
def test_a_threshold_of_zero_counts_and_one_of_null_is_the_default(render, name):
    def compared(thresholds):
        return [rule["expr"].split()[-1] for rule in alerts(render(rules(thresholds=thresholds))).values()]

    usual, zero = compared({}), compared({name: 0})
    assert [new for old, new in zip(usual, zero, strict=True) if old != new] == ["0"]
    assert compared({name: None}) == usual


def test_every_alert_of_the_chart_can_be_left_out_alone(render):
    every = list(alerts(render(rules())))
    for name in every:
        assert list(alerts(render(rules(disabled=[name])))) == [other for other in every if other != name]


def test_the_reference_shows_the_alerts_as_they_are_rendered_by_default(render):
    own = 'namespace="hookline", job="hookline"'
    rendered = {name: rule["expr"] for name, rule in alerts(render(rules())).items()}
    shown = {rule["alert"]: rule["expr"] for rule in observed.alerts()}
    assert shown == {name: expr.replace(f", {own}", "").replace(f"{{{own}}}", "") for name, expr in rendered.items()}


def test_an_alert_can_be_left_out_and_the_others_stay(render, with_files):
    assert "HooklineDown" not in alerts(render(rules(disabled=["HooklineDown"]), chart=with_files))
    assert "HooklineDelayed" in alerts(render(rules(disabled=["HooklineDown"]), chart=with_files))


def test_every_alert_gets_a_runbook_unless_it_has_one_and_the_labels_of_the_values(render, with_files):
    values = rules(runbookUrl="https://runbooks.example/", alertLabels={"team": "platform", "severity": "page"})
    found = alerts(render(values, chart=with_files))
    assert found["HooklineDown"]["annotations"]["runbook_url"] == "https://runbooks.example/HooklineDown"
    assert found["HooklineDelayed"]["annotations"]["runbook_url"] == "https://own.example/x"
    assert found["HooklineDelayed"]["labels"] == {"severity": "page", "team": "platform"}
    assert "labels" not in found["hookline:attempts:rate5m"]


def test_a_dashboard_is_a_config_map_with_the_file_as_it_is_for_the_sidecar(render, with_files):
    values = {"monitoring": {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Hooks"}}}}
    board = render(values, chart=with_files).one("ConfigMap", "hookline-dashboard-overview")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"] == {"grafana_folder": "Hooks"}
    assert json.loads(board["data"]["overview.json"]) == {"title": "{{ instance }}"}


def test_no_dashboard_is_rendered_unless_asked_for(render, with_files):
    assert [obj["metadata"]["name"] for obj in render(chart=with_files).all("ConfigMap")] == ["hookline"]
