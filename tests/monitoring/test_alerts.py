"""Alerts: what each says, when it fires and when it stays silent, by Prometheus' own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from chart import CHART, ROOT

FIXTURES = Path(__file__).with_name("alerts.yaml")
RUNBOOKS = ROOT / "docs" / "runbooks"
THRESHOLDS = yaml.safe_load((CHART / "files" / "alerts" / "thresholds.yaml").read_text())
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def alerts(path):
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if "alert" in rule]


NAMES = [rule["alert"] for rule in alerts(CHART / "files" / "alerts" / "hookline.yaml")]


@pytest.fixture
def promtool(programs, tmp_path):
    """``promtool(rules, fixtures)`` tests a file of rules; returns whether all went well, and what was said."""

    def run(rules, fixtures=FIXTURES):
        shutil.copy(rules, tmp_path / "rules.yaml")
        shutil.copy(fixtures, tmp_path / "alerts.yaml")
        command = [programs.promtool, "test", "rules", tmp_path / "alerts.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode == 0, done.stdout + done.stderr

    return run


def test_each_alert_fires_when_it_should_and_stays_silent_when_it_should(promtool, rules):
    passed, said = promtool(rules())
    assert passed, said


@pytest.mark.parametrize("name", THRESHOLDS)
def test_the_control_an_alert_with_a_threshold_out_of_reach_does_not_fire(promtool, rules, name):
    (alert,) = [
        rule["alert"] for rule in alerts(CHART / "files" / "alerts" / "hookline.yaml") if f"${{{name}}}" in rule["expr"]
    ]
    passed, said = promtool(rules({name: 10**15}))
    assert not passed
    failed = set(re.findall(r'expr: "(?:count\()?ALERTS\{alertname=\\?"(\w+)', said))
    assert failed == {alert}, said


def test_the_fixtures_have_a_case_of_each_alert_in_which_it_fires_and_one_in_which_it_does_not():
    fires: set[str] = set()
    silent: set[str] = set()
    for case in yaml.safe_load(FIXTURES.read_text())["tests"]:
        for asked in case["promql_expr_test"]:
            (fires if asked["exp_samples"] else silent).update(re.findall(r'alertname="(\w+)"', asked["expr"]))
    assert fires == silent == set(NAMES)


def test_the_rules_are_well_formed(programs, rules):
    command = [programs.promtool, "check", "rules", "--lint=all", "--lint-fatal", rules()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_severity_a_fixed_summary_a_description_and_a_runbook(rules):
    found = alerts(rules())
    assert [rule["alert"] for rule in found] == NAMES
    for rule in found:
        assert rule["alert"].startswith("Hookline")
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        said = rule["annotations"]
        assert said["summary"].endswith(".")
        assert "{{" not in said["summary"]
        assert said["description"].endswith(".")
        assert "${" not in said["description"] + rule["expr"]
        assert said["runbook_url"] == f"https://runbooks.example/hookline/{rule['alert']}"


def test_every_threshold_is_used_and_every_one_used_exists():
    text = (CHART / "files" / "alerts" / "hookline.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) - {"name", "selector"} == set(THRESHOLDS)


def test_every_series_that_an_alert_asks_for_is_one_of_the_release(rules):
    for rule in alerts(rules()):
        asked = re.findall(r"\bhookline_\w+(\{[^}]*\})?", rule["expr"])
        assert asked
        for selector in asked:
            assert 'namespace="hookline-system", job="hookline"' in selector, rule["expr"]


def test_every_alert_has_a_runbook_of_the_usual_sections_and_there_is_no_other():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(NAMES)
    for name in NAMES:
        text = (RUNBOOKS / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS, name
