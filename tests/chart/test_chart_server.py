"""The chart and a real API server: it takes every object, refuses a weaker pod, and lives through a release's life."""

from __future__ import annotations

import copy
import json
import re
import uuid
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from chart import CHART
from controlplane import ControlPlane
from support.cluster import Kubectl, KubectlError, eventually
from support.live import LiveOperator, LiveReceiver
from support.rights import EVERYBODY_SEES_EVERYTHING
from support.whole import Subscriptions

README = (CHART / "README.md").read_text(encoding="utf-8")
MONITORING_CRDS = Path(__file__).parent / "monitoring"
SERVICE_MONITOR = {"monitoring": {"serviceMonitor": {"enabled": True, "interval": "20s"}}}
WATCHED = "clusterrole/hookline-watched"
RELEASE_LEAVES = {
    "customresourcedefinition.apiextensions.k8s.io/webhookreplays.hookline.dev",
    "customresourcedefinition.apiextensions.k8s.io/webhooksubscriptions.hookline.dev",
    "persistentvolumeclaim/hookline",
}


@pytest.fixture(scope="module")
def kube():
    """A control plane of this module's own: what Helm installs here would be in others' way."""
    with ControlPlane() as plane:
        kube = Kubectl(plane)
        names = kube("apply", "--server-side", f"--filename={MONITORING_CRDS}", "-o", "name").split()
        kube("wait", "--for=condition=Established", "--timeout=60s", *names)
        yield kube


@pytest.fixture
def make_namespaces(kube):
    """Makes namespaces that are there for one test; ``labels`` are theirs."""
    made = []

    def make(*names, **labels):
        for name in names:
            kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
            made.append(name)

    yield make
    if made:
        kube("delete", "namespace", "--wait=false", *made)


def dry_run(kube, objects):
    """Ask the server to take these objects without keeping them; returns their names."""
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    options = ["--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server", "-o", "name"]
    return kube("apply", *options, "-f", "-", input=items).split()


def as_pod(kube, rendered, namespace):
    """The Deployment's pod, with a ServiceAccount in ``namespace``, without which no pod is let in."""
    template = copy.deepcopy(rendered.pod)
    account = {"name": template["spec"]["serviceAccountName"], "namespace": namespace}
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    metadata = {**template["metadata"], "name": "it", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize(
    ("name", "more"),
    [("default", {}), ("default", SERVICE_MONITOR), ("everything", {}), ("namespaced", {}), ("smallest", {})],
)
def test_the_server_takes_every_object_with_no_field_that_it_does_not_know(
    render, ci, kube, make_namespaces, name, more
):
    own, served = f"own-{uuid.uuid4().hex[:8]}", ci[name].get("namespaces", [])
    make_namespaces(own, *served)
    rendered = render({**ci[name], **more}, namespace=own)
    assert len(dry_run(kube, rendered)) == len(rendered) > 1


NUMBERS = {
    "namespaces": ["no", "123"],
    "fullnameOverride": "1234",
    "serviceAccount": {"name": "567"},
    "priorityClassName": "8",
    "persistence": {"storageClass": "9", "size": "8000000000"},
    "api": {"tls": {"secretName": "10"}},
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
}


def test_names_that_yaml_takes_for_numbers_and_truth_are_names_everywhere(render, kube, make_namespaces):
    make_namespaces("no", "123")
    plain = render(NUMBERS, name="0", namespace="123", cached=False)
    dry_run(kube, [obj for obj in plain if obj["kind"] != "Service"])  # whose name must begin with a letter
    odd = {path: value for path, value in texts(list(plain)) if not isinstance(value, str)}
    assert odd == {}


def texts(found, path=""):
    """Every value under a key that holds a name, a class or a size."""
    if isinstance(found, list):
        for item in found:
            yield from texts(item, path)
    if isinstance(found, dict):
        for key, value in found.items():
            here = f"{path}/{key}"
            if re.search(r"(?i)(name|namespace|class|claim|account|instance)$", key) and not isinstance(
                value, dict | list
            ):
                yield here, value
            yield from texts(value, here)


def test_the_server_takes_alerts_and_dashboards(render, with_files, kube, make_namespaces):
    make_namespaces("watched-over")
    values = {"monitoring": {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}}
    names = dry_run(kube, render(values, namespace="watched-over", chart=with_files))
    assert {"prometheusrule.monitoring.coreos.com/hookline", "configmap/hookline-dashboard-overview"} <= set(names)


def test_the_server_takes_every_object_that_the_readme_shows(kube):
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    objects = [obj for obj in shown if "kind" in obj]
    assert len(dry_run(kube, objects)) == len(objects) == 1


def test_the_server_refuses_a_field_that_it_does_not_know(render, kube, make_namespaces):
    """The control of the test above."""
    make_namespaces("misspelt")
    deployment = copy.deepcopy(render(namespace="misspelt").one("Deployment"))
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(KubectlError, match="enableServiceLink"):
        dry_run(kube, [deployment])


@pytest.mark.parametrize("name", ["default", "everything", "namespaced", "smallest"])
def test_the_pod_is_let_into_a_namespace_that_enforces_restricted(render, ci, kube, make_namespaces, name):
    namespace = f"restricted-{name}"
    make_namespaces(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    pod = as_pod(kube, render(ci[name]), namespace)
    assert dry_run(kube, [pod]) == ["pod/it"]


WEAKER = [
    ({"podSecurityContext": {"runAsNonRoot": None}}, "runAsNonRoot != true"),
    ({"podSecurityContext": {"seccompProfile": None}}, "seccompProfile"),
    ({"securityContext": {"allowPrivilegeEscalation": None}}, "allowPrivilegeEscalation != false"),
    ({"securityContext": {"capabilities": None}}, "unrestricted capabilities"),
]


@pytest.mark.parametrize(("values", "reason"), WEAKER)
def test_without_any_of_its_protections_the_pod_would_be_refused(render, kube, make_namespaces, values, reason):
    namespace = f"weaker-{uuid.uuid4().hex[:8]}"
    make_namespaces(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    pod = as_pod(kube, render(values), namespace)
    with pytest.raises(KubectlError, match=reason):
        dry_run(kube, [pod])


def test_a_release_is_installed_upgraded_and_uninstalled_and_leaves_subscriptions_and_messages(
    helm, kube, make_namespaces
):
    make_namespaces("life")
    options = ["--namespace=life", f"--kubeconfig={kube.kubeconfig}"]
    helm("install", "hookline", str(CHART), *options)
    rules = eventually(lambda: watched_rules(kube), "the control plane fills in what may be watched")
    kube("wait", "--for=condition=Established", "--timeout=30s", "crd/webhooksubscriptions.hookline.dev")
    made = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription", "metadata": {"name": "kept"}}
    source = {"apiVersion": "v1", "kind": "ConfigMap"}
    made["spec"] = {"sources": [source], "destination": {"url": "https://hooks.example.com/x"}}
    eventually(lambda: applied(kube, made), "the new kind is served")

    version = kube.json("get", WATCHED)["metadata"]["resourceVersion"]
    helm("upgrade", "hookline", str(CHART), *options, values={"settings": {"logLevel": "debug"}})
    assert kube.json("get", "--namespace=life", "configmap/hookline")["data"]["HOOKLINE_LOG_LEVEL"] == "debug"
    role = kube.json("get", WATCHED)
    assert (role["metadata"]["resourceVersion"], role["rules"]) == (version, rules)

    helm("uninstall", "hookline", *options)
    kinds = "deployments,services,configmaps,persistentvolumeclaims,serviceaccounts,roles,rolebindings,networkpolicies"
    shared = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,crds"
    ours = ["--selector=app.kubernetes.io/managed-by=Helm", "--namespace=life", "-o", "name"]
    assert set(kube("get", f"{kinds},{shared}", *ours).split()) == RELEASE_LEAVES
    assert kube("get", "--namespace=life", "webhooksubscriptions", "-o", "name").split() == [
        "webhooksubscription.hookline.dev/kept"
    ]

    kube("delete", "webhooksubscription/kept", "--namespace=life")
    helm("install", "hookline", str(CHART), *options)  # takes over what was left
    helm("uninstall", "hookline", *options)


def watched_rules(kube):
    return kube.json("get", WATCHED).get("rules")


def applied(kube, obj):
    try:
        kube.apply(obj, namespace="life")
    except KubectlError as error:
        if "no matches for kind" in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize("served", [[], ["tenant-b"]], ids=["all namespaces", "one namespace"])
def test_the_operator_delivers_with_the_rights_and_the_settings_of_a_release(
    kube, release, make_namespaces, tmp_path, monkeypatch, served
):
    (tenant,) = served or ["tenant-a"]
    system = f"system-of-{tenant}"
    make_namespaces(system, tenant)
    kube.apply(*EVERYBODY_SEES_EVERYTHING)
    release(system, {"namespaces": served, "settings": {"clusterName": "chart"}})
    for name, value in kube.json("get", f"--namespace={system}", "configmap/hookline")["data"].items():
        monkeypatch.setenv(name, value)
    account = as_account(kube, system, "hookline", tmp_path)
    with closing(LiveReceiver()) as receiver:
        operator = LiveOperator(account, tmp_path / "operator", receiver.ca_pem, "--lease-namespace", system)
        try:
            operator.start()
            Subscriptions(kube, tenant, receiver).ready()
            kube("create", "configmap", "it-happened", f"--namespace={tenant}")
            eventually(lambda: receiver.requests, "the change arrives")
            assert receiver.bodies[0]["source"].startswith("/clusters/chart/")
            assert kube.json("get", f"--namespace={system}", "lease/hookline")["spec"]["holderIdentity"]
        finally:
            operator.kill()


@pytest.fixture
def release(helm, kube):
    """Installs a release with these values, which takes over the CRDs of an earlier one; uninstalled after the test."""
    made = []

    def install(namespace, values):
        options = [f"--namespace={namespace}", f"--kubeconfig={kube.kubeconfig}"]
        helm("install", "hookline", str(CHART), *options, "--take-ownership", values=values)
        made.append(options)

    yield install
    for options in made:
        helm("uninstall", "hookline", *options)


def as_account(kube, namespace, name, directory):
    """The credentials that a pod of this ServiceAccount gets, as a kubeconfig."""
    token = kube("create", "token", name, f"--namespace={namespace}", "--duration=1h").strip()
    config = json.loads(kube.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    path = directory / "account.kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path
