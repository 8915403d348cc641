"""The dashboard keeps the rules of https://github.com/grafana/dashboard-linter, and leads to the alerts."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from chart import CHART, ROOT

BOARD = json.loads((CHART / "files" / "dashboards" / "overview.json").read_text())
ALL = [panel for outer in BOARD["panels"] for panel in (outer, *outer.get("panels", ()))]
PANELS = [panel for panel in ALL if panel["type"] != "row"]
EACH = BOARD["panels"][-1]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def titled(panel):
    return panel["title"]


def test_the_dashboard_has_a_lasting_uid_and_can_not_be_edited():
    assert BOARD["uid"] == "hookline-overview"
    assert BOARD["editable"] is False
    assert "id" not in BOARD


def test_the_source_the_jobs_and_the_instances_can_be_chosen():
    source, job, instance, *_ = BOARD["templating"]["list"]
    assert (source["name"], source["label"], source["type"]) == ("datasource", "Data source", "datasource")
    assert source["query"] == "prometheus"
    for variable, label in ((job, "Job"), (instance, "Instance")):
        assert (variable["name"], variable["label"], variable["type"]) == (label.lower(), label, "query")
        assert (variable["datasource"], variable["multi"], variable["allValue"]) == (SOURCE, True, ".+")
        assert variable["refresh"] == 2


def test_one_namespace_at_a_time_can_be_chosen_and_any_of_its_subscriptions():
    namespace, subscription = BOARD["templating"]["list"][3:]
    assert (namespace["name"], namespace["multi"], namespace["includeAll"]) == ("namespace", False, False)
    assert (subscription["name"], subscription["multi"], subscription["allValue"]) == ("subscription", True, ".+")
    assert 'subscription_namespace="$namespace"' in subscription["definition"]
    for variable in (namespace, subscription):
        assert 'job=~"$job", instance=~"$instance"' in variable["definition"]
        assert variable["refresh"] == 2


def test_the_last_row_comes_once_for_each_subscription_and_asks_nothing_until_it_is_opened():
    assert (EACH["type"], EACH["repeat"], EACH["collapsed"]) == ("row", "subscription", True)
    assert "$namespace / $subscription" in EACH["title"]
    assert [panel["title"] for panel in EACH["panels"]] == [
        *("Rate", "Success", "Latency", "Backlog", "Oldest due", "Retried", "Given up", "Top reasons")
    ]
    assert [outer["panels"] for outer in BOARD["panels"][:-1] if outer["type"] == "row"] == [[]] * 5
    for panel in PANELS:
        one = panel in EACH["panels"]
        for target in panel["targets"]:
            selectors = re.findall(r"\{[^}]*\}", target["expr"])
            mine = ['subscription_namespace="$namespace", subscription="$subscription"' in text for text in selectors]
            assert all(mine) if one else not any(mine)
            assert ("hookline_subscription_" in target["expr"]) == one


def test_titles_and_ids_are_unique_and_no_panel_lies_on_another():
    assert len({panel["title"] for panel in ALL}) == len({panel["id"] for panel in ALL}) == len(ALL)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in ALL)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_the_rows_are_in_the_order_of_the_way_of_the_data():
    assert [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"] == [
        *("Now", "Changes", "Deliveries", "Outbox", "Operator", "Subscription $namespace / $subscription")
    ]


@pytest.mark.parametrize("panel", PANELS, ids=titled)
def test_a_panel_has_a_title_a_description_and_a_unit_and_asks_the_chosen_source(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE
    assert panel["targets"]


@pytest.mark.parametrize("panel", PANELS, ids=titled)
def test_a_query_asks_for_the_chosen_jobs_and_instances_in_the_interval_that_grafana_gives(panel):
    for target in panel["targets"]:
        expression = target["expr"]
        assert target["datasource"] == SOURCE
        metrics = re.findall(r"\b(?:hookline|process)_\w+(\{[^}]*\})?", expression)
        assert metrics
        assert all('job=~"$job", instance=~"$instance"' in selector for selector in metrics), expression
        # The most frequent of the chosen time are no rate: that one asks once, for all of it.
        interval = "$__range" if target["instant"] else "$__rate_interval"
        assert set(re.findall(r"\[(.*?)\]", expression)) <= {interval}
        counters = re.findall(r"(\w*\()?hookline_\w+_(?:total|bucket)\b", expression)
        assert set(counters) <= {"rate(", "increase("}, expression


def test_every_alert_that_a_panel_names_exists_and_every_alert_is_named():
    rules = yaml.safe_load((CHART / "files" / "alerts" / "hookline.yaml").read_text())["groups"][0]["rules"]
    named = {name for panel in PANELS for name in re.findall(r"Alert: (\w+)", panel["description"])}
    assert named == {rule["alert"] for rule in rules}


def test_the_documents_show_every_row_in_small_pictures():
    page = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(pictures/([\w-]+\.png)\)", page)
    rows = [outer["title"].lower() for outer in BOARD["panels"][:-1] if outer["type"] == "row"]
    assert shown[: len(rows)] == [f"{row}.png" for row in rows]
    assert any(name.startswith("subscription-") for name in shown)
    for name in shown:
        assert 10_000 < (ROOT / "docs" / "pictures" / name).stat().st_size < 300_000
