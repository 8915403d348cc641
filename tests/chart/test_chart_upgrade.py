"""From the last chart to this one, on a real API server: nothing is lost, and old values still count."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import yaml

from chart import CHART, ROOT
from controlplane import ControlPlane
from support.cluster import Kubectl, KubectlError, eventually

LAST = Path(__file__).with_name("last")
(PACKED,) = LAST.glob("hookline-*.tgz")
CI = sorted(path.name for path in (LAST / "ci").glob("*-values.yaml"))
CRDS = ("webhooksubscriptions.hookline.dev", "webhookreplays.hookline.dev")
OLD = "As the last chart has it."
SUBSCRIPTION = {
    "apiVersion": "hookline.dev/v1alpha1",
    "kind": "WebhookSubscription",
    "metadata": {"name": "kept"},
    "spec": {
        "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "destination": {"url": "https://hooks.example.com/x"},
        "delivery": {"retry": {"schedule": [5, 60]}},
    },
}


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    """The last chart, unpacked; what its CRDs say of themselves is other than today, so that an upgrade shows."""
    home = tmp_path_factory.mktemp("last")
    with tarfile.open(PACKED) as archive:
        archive.extractall(home, filter="data")
    for path in (home / "hookline" / "files" / "crds").iterdir():
        crd = yaml.safe_load(path.read_text())
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = OLD
        path.write_text(yaml.safe_dump(crd))
    return home / "hookline"


@pytest.fixture(scope="module")
def kube():
    """A control plane of this module's own: what Helm installs here would be in others' way."""
    with ControlPlane() as plane:
        kube = Kubectl(plane)
        kube("create", "namespace", "ops")
        yield kube


def schemas(kube):
    return [kube.json("get", "crd", name)["spec"]["versions"][0]["schema"] for name in CRDS]


def wanted_schemas():
    paths = [ROOT / "crds" / f"hookline.dev_{name.partition('.')[0]}.yaml" for name in CRDS]
    return [yaml.safe_load(path.read_text())["spec"]["versions"][0]["schema"] for path in paths]


def applied(kube, obj):
    try:
        kube.apply(obj, namespace="ops")
    except KubectlError as error:
        if "no matches for kind" in str(error):
            return False
        raise
    return True


def test_an_upgrade_keeps_the_claim_and_the_subscriptions_and_brings_the_new_definitions(helm, kube, last):
    options = ["--namespace=ops", f"--kubeconfig={kube.kubeconfig}"]
    mine = {"settings": {"logLevel": "debug"}, "persistence": {"size": "2Gi"}, "podLabels": {"team": "ops"}}
    helm("install", "hookline", str(last), *options, values=mine)
    kube("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in CRDS))
    eventually(lambda: applied(kube, SUBSCRIPTION), "the kind is served")
    assert [schema["openAPIV3Schema"]["description"] for schema in schemas(kube)] == [OLD, OLD]
    before = {kind: kube.json("get", "-n", "ops", kind) for kind in ("pvc/hookline", "whsub/kept", "deploy/hookline")}

    with pytest.raises(AssertionError, match="missing property 'api'"):
        helm("upgrade", "hookline", str(CHART), *options, "--reuse-values")
    helm("upgrade", "hookline", str(CHART), *options, "--reset-then-reuse-values")  # as the README has it

    after = {kind: kube.json("get", "-n", "ops", kind) for kind in before}
    for kind in before:
        assert after[kind]["metadata"]["uid"] == before[kind]["metadata"]["uid"], kind
    assert after["pvc/hookline"]["spec"] == before["pvc/hookline"]["spec"]
    for what in ("generation", "creationTimestamp"):
        assert after["whsub/kept"]["metadata"][what] == before["whsub/kept"]["metadata"][what]
    assert after["whsub/kept"]["spec"] == before["whsub/kept"]["spec"]
    assert schemas(kube) == wanted_schemas()
    assert kube.json("get", "-n", "ops", "cm/hookline")["data"]["HOOKLINE_LOG_LEVEL"] == "debug"
    pod = after["deploy/hookline"]["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "ops"
    assert pod["spec"]["volumes"] == before["deploy/hookline"]["spec"]["template"]["spec"]["volumes"]

    helm("rollback", "hookline", "1", *options)
    assert kube.json("get", "-n", "ops", "whsub/kept")["spec"] == before["whsub/kept"]["spec"]
    helm("uninstall", "hookline", *options)


def test_every_value_that_the_last_chart_knew_is_still_known(render, last):
    assert render(yaml.safe_load((last / "values.yaml").read_text())).all("Deployment")


@pytest.mark.parametrize("name", CI)
def test_values_written_for_the_last_chart_still_render_every_kind_of_object(render, last, name):
    values = yaml.safe_load((LAST / "ci" / name).read_text())
    assert {(obj["kind"], obj["metadata"]["name"]) for obj in render(values, chart=last)} <= {
        (obj["kind"], obj["metadata"]["name"]) for obj in render(values)
    }


def test_there_are_values_of_the_last_chart():
    assert len(CI) == 4
