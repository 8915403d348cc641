"""kustomize builds from ``config`` what Helm renders from the chart, which is the one source of truth."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
import yaml

import kustomize
import prometheus
from chart import CHART

CONFIG = kustomize.CONFIG
HELMS_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")
KEEP = {
    "argocd.argoproj.io/sync-options": "Delete=false,Prune=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
_WHO = "request.userInfo.username"
IN_ANY_NAMESPACE = f"{_WHO}.startsWith('system:serviceaccount:') && {_WHO}.endsWith(':hookline')"
BY_JOB = 'job="hookline"'
MONITORING = {
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "selector": BY_JOB},
        "dashboards": {"enabled": True},
    }
}
SETTINGS = ("ConfigMap", "hookline", "hookline")
NAMESPACE = ("Namespace", None, "hookline")


@pytest.fixture(scope="module")
def by_helm(helm_program):
    """What the chart renders with values, by kind, namespace and name, but for what only Helm understands."""

    def rendered(values):
        command = [helm_program, "template", "hookline", CHART, "--namespace=hookline", "--values=-"]
        command += [f"--api-versions={kustomize.MONITORING}"]
        done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=True)
        return by_name(without_helm(obj) for obj in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if obj)

    return rendered


def without_helm(obj):
    metadata, pod = obj["metadata"], obj.get("spec", {}).get("template", {}).get("metadata", {})
    for labels in (metadata["labels"], pod.get("labels", {})):
        for label in HELMS_LABELS:
            labels.pop(label, None)
    pod.get("annotations", {}).pop("checksum/config", None)
    if metadata.get("annotations", {}).pop("helm.sh/resource-policy", None):
        metadata["annotations"] |= KEEP
    if (obj["kind"], metadata["name"]) == ("ValidatingAdmissionPolicy", "hookline-operator"):
        (condition,) = obj["spec"]["matchConditions"]
        assert condition["expression"] == "request.userInfo.username == 'system:serviceaccount:hookline:hookline'"
        condition["expression"] = IN_ANY_NAMESPACE
    return obj


def by_name(objects):
    return {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]): obj for obj in objects}


def with_plain_settings(objects):
    """The same with the ConfigMap of the settings under its plain name."""
    (settings,) = [obj for obj in objects if obj["kind"] == "ConfigMap" and "HOOKLINE_DATA_DIR" in obj["data"]]
    (deployment,) = [obj for obj in objects if obj["kind"] == "Deployment"]
    name = settings["metadata"]["name"]
    assert name.startswith("hookline-")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": name}}]
    settings["metadata"]["name"] = container["envFrom"][0]["configMapRef"]["name"] = "hookline"
    return by_name(objects)


def test_what_is_generated_is_as_the_chart_is_now_run_hack_chart_py(helm_program):
    generated = kustomize.files()
    assert {path: path.read_text("utf-8") for path in generated} == generated
    assert kustomize.stale() == []


@pytest.mark.parametrize(
    ("folder", "values"),
    [
        ("base", {}),
        ("overlays/monitoring", MONITORING),
        ("overlays/namespaced", {"namespaces": ["team-a"]}),
    ],
)
def test_kustomize_builds_what_the_chart_renders_and_a_namespace(build, by_helm, folder, values):
    built, rendered = with_plain_settings(build(CONFIG / folder)), by_helm(values)
    assert built.keys() == rendered.keys() | {NAMESPACE}
    for name in rendered.keys() - {SETTINGS}:
        assert built[name] == rendered[name], name
    assert built[SETTINGS]["data"] == rendered[SETTINGS]["data"]


def test_an_operator_of_some_namespaces_has_no_right_of_the_whole_cluster_to_secrets(build):
    """The control is the base, which has it."""

    def reads_secrets(folder):
        roles = [obj for obj in build(CONFIG / folder) if obj["kind"] == "ClusterRole"]
        return {
            role["metadata"]["name"]
            for role in roles
            for rule in role.get("rules", ())
            if "secrets" in rule["resources"]
        }

    assert reads_secrets("base") == {"hookline"}
    assert reads_secrets("overlays/namespaced") == set()


def test_our_kinds_can_be_built_alone(build):
    names = {obj["metadata"]["name"] for obj in build(CONFIG / "crds")}
    assert names == {"webhookreplays.hookline.dev", "webhooksubscriptions.hookline.dev"}


def test_what_holds_subscriptions_and_messages_is_pruned_by_nobody(build):
    kept = {
        obj["kind"]
        for obj in build(CONFIG / "base")
        if (obj["metadata"].get("annotations") or {}).items() >= KEEP.items()
    }
    # Without its namespace a claim is gone, too.
    assert kept == {"CustomResourceDefinition", "PersistentVolumeClaim", "Namespace"}


@pytest.fixture
def overlay(build, tmp_path):
    """An overlay of the base as somebody would write it, built."""

    def built(**more):
        body = {"resources": [os.path.relpath(CONFIG / "base", tmp_path)], **more}
        (tmp_path / "kustomization.yaml").write_text(json.dumps(body))
        return build(tmp_path)

    return built


@pytest.fixture(scope="module")
def promtool():
    try:
        return prometheus.provide().promtool
    except prometheus.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def moved(overlay, tmp_path):
    """The base with monitoring, in another namespace."""
    return overlay(namespace="webhooks", components=[os.path.relpath(CONFIG / "components" / "monitoring", tmp_path)])


def test_an_overlay_moves_the_operator_its_bindings_and_its_alerts_to_another_namespace(moved):
    objects = moved
    assert {obj["metadata"].get("namespace") for obj in objects} == {"webhooks", None}
    subjects = [subject for obj in objects for subject in obj.get("subjects", ())]
    assert {(subject["name"], subject["namespace"]) for subject in subjects} == {("hookline", "webhooks")}
    assert [obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"] == ["webhooks"]


def asked_for(rule):
    """Of an alert: each metric of ours that it asks for, with the selector."""
    return re.findall(r"\b(hookline_\w+)(\{[^}]*\})?", rule["expr"])


def alert_rules(objects):
    (found,) = [obj["spec"] for obj in objects if obj["kind"] == "PrometheusRule"]
    return found


def scraped(objects, name):
    """The labels that the ServiceMonitor gives to a series of this operator."""
    (monitor,) = [obj for obj in objects if obj["kind"] == "ServiceMonitor"]
    (service,) = [obj for obj in objects if obj["kind"] == "Service"]
    job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    return f'{name}{{namespace="{service["metadata"]["namespace"]}", job="{job}", instance="pod"}}'


def test_the_alerts_of_an_operator_that_was_moved_find_its_series(moved):
    asked = {
        selector for group in alert_rules(moved)["groups"] for rule in group["rules"] for selector in asked_for(rule)
    }
    assert {name for name, _ in asked} > {"hookline_leading", "hookline_store_failing"}
    for name, selector in asked:
        wanted = dict(re.findall(r'(namespace|job)="([^"]*)"', selector))
        given = dict(re.findall(r'(namespace|job)="([^"]*)"', scraped(moved, name)))
        assert wanted.items() <= given.items(), (name, selector)
        assert wanted["job"] == "hookline"


@pytest.mark.parametrize("there", [True, False], ids=["it works", "it is gone"])
def test_an_operator_that_was_moved_is_down_when_it_is_and_not_before(moved, promtool, tmp_path, there):
    rules = alert_rules(moved)
    (down,) = [rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == "HooklineDown"]
    series = [{"series": scraped(moved, name), "values": "1x60"} for name in {name for name, _ in asked_for(down)}]
    wanted = [] if there else [{"labels": 'ALERTS{alertname="HooklineDown", alertstate="firing"}', "value": 1}]
    asked = 'group by (__name__, alertname, alertstate) (ALERTS{alertname="HooklineDown"})'
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    case = {
        "interval": "1m",
        "input_series": series if there else [],
        "promql_expr_test": [{"expr": asked, "eval_time": "30m", "exp_samples": wanted}],
    }
    (tmp_path / "test.yaml").write_text(json.dumps({"rule_files": ["rules.yaml"], "tests": [case]}))
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_setting_makes_a_new_pod(overlay):
    def pod_template(objects):
        return [obj["spec"]["template"] for obj in objects if obj["kind"] == "Deployment"]

    def with_level(level):
        literals = [f"HOOKLINE_LOG_LEVEL={level}"]
        return [{"name": "hookline", "namespace": "hookline", "behavior": "merge", "literals": literals}]

    once, again, other = (overlay(configMapGenerator=with_level(level)) for level in ("info", "info", "debug"))
    assert (
        with_plain_settings(overlay(configMapGenerator=with_level("debug")))[SETTINGS]["data"].items()
        >= {
            "HOOKLINE_LOG_LEVEL": "debug",
            "HOOKLINE_LEASE_NAME": "hookline",
        }.items()
    )
    assert pod_template(once) == pod_template(again) != pod_template(other)


def test_the_sample_overlay_changes_the_image_and_settings_and_adds_what_may_be_watched(build):
    built, monitored = (
        with_plain_settings(build(CONFIG / name)) for name in ("samples/overlay", "overlays/monitoring")
    )
    assert built.keys() - monitored.keys() == {("ClusterRole", None, "hookline-watched-certificates")}
    (container,) = built["Deployment", "hookline", "hookline"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/hookline:0.1.0"
    assert built[SETTINGS]["data"].items() - monitored[SETTINGS]["data"].items() == {
        ("HOOKLINE_CLUSTER_NAME", "production"),
        ("HOOKLINE_REFUSE_CIDRS", "203.0.113.0/24"),
    }
