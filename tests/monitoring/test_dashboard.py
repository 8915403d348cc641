"""The dashboard keeps the rules of https://github.com/grafana/dashboard-linter, and leads to the alerts."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from chart import CHART

BOARD = json.loads((CHART / "files" / "dashboards" / "overview.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def titled(panel):
    return panel["title"]


def test_the_dashboard_has_a_lasting_uid_and_can_not_be_edited():
    assert BOARD["uid"] == "hookline-overview"
    assert BOARD["editable"] is False
    assert "id" not in BOARD


def test_the_source_the_jobs_and_the_instances_can_be_chosen():
    source, job, instance = BOARD["templating"]["list"]
    assert (source["name"], source["label"], source["type"]) == ("datasource", "Data source", "datasource")
    assert source["query"] == "prometheus"
    for variable, label in ((job, "Job"), (instance, "Instance")):
        assert (variable["name"], variable["label"], variable["type"]) == (label.lower(), label, "query")
        assert (variable["datasource"], variable["multi"], variable["allValue"]) == (SOURCE, True, ".+")
        assert variable["refresh"] == 2


def test_titles_and_ids_are_unique_and_no_panel_lies_on_another():
    assert len({panel["title"] for panel in BOARD["panels"]}) == len({panel["id"] for panel in BOARD["panels"]})
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in BOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_the_rows_are_in_the_order_of_the_way_of_the_data():
    assert [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"] == [
        *("Now", "Changes", "Deliveries", "Outbox", "Operator")
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
