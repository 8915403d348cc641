"""What is said after an installation: the next command, and each warning exactly when it is due."""

from __future__ import annotations

import pytest

from chart import CHART
from hookline.cli.remote import NAMESPACE

OWN_IMAGE = {"image": {"repository": "registry.example.com/hookline"}}
OTHER_PORT = {"ports": [{"port": 4318, "protocol": "TCP"}]}
PROXY, TRACING = {"settings": {"egressProxy": "http://proxy.example:3128"}}, {"settings": {"tracing": True}}
FINE = [
    {},
    {"service": {"enabled": False}},
    {"api": {"tls": {"secretName": "x"}}},
    PROXY | {"networkPolicy": {"deliveries": {"ports": [443, 3128]}}},
    PROXY | {"networkPolicy": {"extraEgress": [OTHER_PORT, {"ports": [{"port": 3128, "protocol": "TCP"}]}]}},
    PROXY | {"networkPolicy": {"extraEgress": [{"to": [{"podSelector": {}}]}]}},
    PROXY | {"networkPolicy": {"enabled": False}},
    TRACING | {"networkPolicy": {"extraEgress": [OTHER_PORT]}},
    TRACING | {"networkPolicy": {"deliveries": {"ports": [443, 4318]}}},
    TRACING | {"networkPolicy": {"enabled": False}},
    {"settings": {"tracing": "false"}},
]
WARNINGS = [
    ({"persistence": {"enabled": False}}, "are LOST"),
    ({"replicaCount": 0}, "nothing is watched or delivered"),
    ({"image": {"repository": "localhost/hookline"}}, "no registry is asked for it"),
    ({"crds": {"enabled": False}}, "crds.enabled is false"),
    ({"crds": {"keep": False}}, "deletes the CRDs and every subscription"),
    ({"admissionPolicy": {"enabled": False}}, "admissionPolicy.enabled is false"),
    ({"rbac": {"bounds": {"enabled": False}}}, "rbac.bounds.enabled is false"),
    ({"service": {"enabled": False}, "api": {"tls": {"secretName": "x"}}}, "no Service leads to it"),
    ({"settings": {"egressProxy": "http://proxy.example:3128"}}, "does not let deliveries out to port 3128"),
    (
        {"settings": {"egressProxy": "http://[fd00::1]:3128/"}, "networkPolicy": {"extraEgress": [OTHER_PORT]}},
        "does not let deliveries out to port 3128",
    ),
    ({"settings": {"tracing": True}}, "lets nothing out to a collector"),
    ({"settings": {"tracing": "true"}}, "lets nothing out to a collector"),
    (
        {"monitoring": {"whenMissing": "SkipIfMissing", "podMonitor": {"enabled": True}}},
        "monitors and alerts were left out",
    ),
]


@pytest.fixture(scope="module")
def notes(helm, control_plane):
    """What ``helm install`` would say; it asks a cluster even where it changes nothing."""

    def said(values, namespace="ops"):
        options = [f"--namespace={namespace}", "--dry-run=client", "--take-ownership"]  # others install the CRDs, too
        command = ["install", "hookline", str(CHART), *options]
        text = helm(*command, f"--kubeconfig={control_plane.kubeconfig}", values={**OWN_IMAGE, **values})
        return text.partition("\nNOTES:\n")[2]

    return said


def test_they_name_the_next_commands(notes):
    text = notes({})
    assert "kubectl --namespace ops rollout status deployment/hookline" in text
    assert "kubectl hookline status -A" in text
    assert "kubectl hookline deliveries NAME -n NAMESPACE --operator-namespace ops" in text
    assert "serves all namespaces" in text
    assert "serves the namespaces a, b" in notes({"namespaces": ["a", "b"]})


def test_in_the_documented_namespace_the_command_needs_no_word_of_it(notes):
    assert "deliveries NAME -n NAMESPACE\n" in notes({}, namespace=NAMESPACE)


def test_they_name_the_ports_that_deliveries_may_go_to(notes):
    assert "443, 8443 (networkPolicy.deliveries.ports)" in notes(
        {"networkPolicy": {"deliveries": {"ports": [443, 8443]}}}
    )
    assert "deliveries.ports" not in notes({"networkPolicy": {"enabled": False}})


def test_they_say_where_the_runbooks_are_when_the_alerts_do_not(notes):
    rule: dict[str, object] = {"enabled": True}
    values = {"monitoring": {"whenMissing": "SkipIfMissing", "prometheusRule": rule}}
    assert "docs/runbooks/<alert>.md" in notes(values)
    assert "the site that `make docs` builds" in notes(
        values
    )  # of a folder of Markdown no address ends with the name alone
    rule["runbookUrl"] = "https://runbooks.example"
    assert "docs/runbooks" not in notes(values)
    assert "docs/runbooks" not in notes({})


@pytest.mark.parametrize(("values", "sentence"), WARNINGS)
def test_a_choice_that_costs_something_is_warned_of_in_plain_words(notes, values, sentence):
    assert sentence in " ".join(notes(values).split())


@pytest.mark.parametrize("values", FINE)
def test_without_such_a_choice_nothing_is_warned_of(notes, values):
    assert "WARNING" not in notes(values)
