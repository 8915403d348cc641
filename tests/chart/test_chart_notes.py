"""What is said after an installation: the next command, and each warning exactly when it is due."""

from __future__ import annotations

import pytest

from chart import CHART

OWN_IMAGE = {"image": {"repository": "registry.example.com/hookline"}}
WARNINGS = [
    ({"persistence": {"enabled": False}}, "are LOST"),
    ({"replicaCount": 0}, "nothing is watched or delivered"),
    ({"image": {"repository": "localhost/hookline"}}, "no registry is asked for it"),
    ({"crds": {"enabled": False}}, "crds.enabled is false"),
    ({"crds": {"keep": False}}, "deletes the CRDs and every subscription"),
    ({"admissionPolicy": {"enabled": False}}, "admissionPolicy.enabled is false"),
    (
        {"monitoring": {"whenMissing": "SkipIfMissing", "podMonitor": {"enabled": True}}},
        "monitors and alerts were left out",
    ),
]


@pytest.fixture(scope="module")
def notes(helm, control_plane):
    """What ``helm install`` would say; it asks a cluster even where it changes nothing."""

    def said(values):
        command = ["install", "hookline", str(CHART), "--namespace=ops", "--dry-run=client"]
        text = helm(*command, f"--kubeconfig={control_plane.kubeconfig}", values={**OWN_IMAGE, **values})
        return text.partition("\nNOTES:\n")[2]

    return said


def test_they_name_the_next_commands(notes):
    text = notes({})
    assert "kubectl --namespace ops rollout status deployment/hookline" in text
    assert "serves all namespaces" in text
    assert "serves the namespaces a, b" in notes({"namespaces": ["a", "b"]})


def test_they_name_the_ports_that_deliveries_may_go_to(notes):
    assert "443, 8443 (networkPolicy.deliveries.ports)" in notes(
        {"networkPolicy": {"deliveries": {"ports": [443, 8443]}}}
    )
    assert "deliveries.ports" not in notes({"networkPolicy": {"enabled": False}})


def test_they_say_where_the_runbooks_are_when_the_alerts_do_not(notes):
    rule = {"enabled": True}
    values = {"monitoring": {"whenMissing": "SkipIfMissing", "prometheusRule": rule}}
    assert "docs/runbooks/<alert>.md" in notes(values)
    rule["runbookUrl"] = "https://runbooks.example"
    assert "docs/runbooks" not in notes(values)
    assert "docs/runbooks" not in notes({})


@pytest.mark.parametrize(("values", "sentence"), WARNINGS)
def test_a_choice_that_costs_something_is_warned_of_in_plain_words(notes, values, sentence):
    assert sentence in " ".join(notes(values).split())


def test_without_such_a_choice_nothing_is_warned_of(notes):
    assert "WARNING" not in notes({})
