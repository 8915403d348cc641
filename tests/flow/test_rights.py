"""The operator under exactly the rights that it is shipped with: all works, nothing is refused, nothing is too much."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rights
from controlplane import ControlPlane
from support.cluster import Kubectl, KubectlError, eventually
from support.live import LiveOperator, LiveReceiver
from support.rights import account, binding, role
from support.whole import Subscriptions

CRDS = Path(__file__).resolve().parents[2] / "crds"
USER = f"system:serviceaccount:{rights.OWN_NAMESPACE}:{rights.NAME}"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [USER]}],
}
ELSEWHERE = {
    ("create", "authentication.k8s.io/tokenreviews"),
    ("get", "/configmaps"),
}
"""Rights of parts that this scenario leaves alone; tests of their own use them."""


class Ground:
    """A control plane that records what the operator asks, and the objects of one installation."""

    def __init__(self, plane: ControlPlane, audit: Path) -> None:
        self.plane = plane
        self.kubectl = Kubectl(plane)
        self._audit = audit

    def install(self, objects: list[dict[str, Any]]) -> None:
        self.kubectl.apply(*objects)

    def kubeconfig(self, directory: Path) -> Path:
        """The credentials that a pod of the ServiceAccount gets, as a kubeconfig."""
        token = self.kubectl("create", "token", rights.NAME, "-n", rights.OWN_NAMESPACE, "--duration=1h").strip()
        config = json.loads(self.plane.kubeconfig.read_text(encoding="utf-8"))
        config["users"][0]["user"] = {"token": token}
        path = directory / "service-account.kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def asked(self) -> list[dict[str, Any]]:
        """What the operator asked of resources, as the API server recorded it."""
        records = map(json.loads, self._audit.read_text(encoding="utf-8").splitlines())
        return [record for record in records if "objectRef" in record]


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Ground]:
    """A fresh control plane with our kinds and a namespace for the operator."""
    policy, audit = tmp_path / "policy.json", tmp_path / "audit.log"
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    audit.touch()
    flags = [f"--audit-policy-file={policy}", f"--audit-log-path={audit}", "--audit-log-mode=blocking-strict"]
    with ControlPlane(extra_flags={"kube-apiserver": flags}) as plane:
        ground = Ground(plane, audit)
        files = [f"--filename={path}" for path in sorted(CRDS.glob("hookline.dev_*.yaml"))]
        names = ground.kubectl("apply", "--server-side", *files, "-o", "name").split()
        ground.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
        ground.kubectl("create", "namespace", rights.OWN_NAMESPACE)
        ground.kubectl("create", "namespace", "shop")
        ground.kubectl.apply(role("watch", resources=["*"]), binding("watch", account("shop", "default")))
        yield ground


def granted(objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Every verb on every resource (``group/resource``) in the rules of these objects."""
    return {
        (verb, f"{rule['apiGroups'][0]}/{resource}")
        for obj in objects
        for rule in obj.get("rules") or ()
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def name_of(record: dict[str, Any]) -> tuple[str, str]:
    ref = record["objectRef"]
    resource = ref["resource"] + (f"/{ref['subresource']}" if "subresource" in ref else "")
    return record["verb"], f"{ref.get('apiGroup', '')}/{resource}"


def config_map(ground: Ground, name: str, **data: str) -> None:
    ground.kubectl.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}, namespace="shop"
    )


def operator(ground: Ground, receiver: LiveReceiver, home: Path, *flags: str) -> LiveOperator:
    lease = ("--lease-namespace", rights.OWN_NAMESPACE)
    return LiveOperator(ground.kubeconfig(home), home / "operator", receiver.ca_pem, *lease, *flags)


def main_job(ground: Ground, receiver: LiveReceiver) -> None:
    """A subscription, a delivery, another key, a dead letter with its Event, and a replay of it."""
    kubectl, subscriptions = ground.kubectl, Subscriptions(ground.kubectl, "shop", receiver)
    subscriptions.ready()
    config_map(ground, "web", a="1")
    eventually(lambda: receiver.requests, "a request")
    eventually(lambda: subscriptions.get()["status"].get("lastDelivery"), "the delivery in the status")
    assert kubectl.json("get", "secret", "orders-signing", "-n", "shop")["data"].keys() == {"v1", "v1a", "v1a.pub"}
    kubectl("annotate", "whsub", "orders", "hookline.dev/rotate-key=1", "-n", "shop")
    eventually(lambda: len(kubectl.json("get", "secret", "orders-signing", "-n", "shop")["data"]) == 5, "another key")
    lease = kubectl.json("get", "lease", rights.NAME, "-n", rights.OWN_NAMESPACE)
    assert lease["spec"]["holderIdentity"]
    renewed = lease["spec"]["renewTime"]
    eventually(
        lambda: kubectl.json("get", "lease", rights.NAME, "-n", rights.OWN_NAMESPACE)["spec"]["renewTime"] != renewed,
        "the Lease is renewed",
    )
    receiver.do(lambda live: live.answer(410))
    config_map(ground, "web", a="2")
    subscriptions.wait("EndpointGone")
    eventually(lambda: kubectl.json("get", "events.events.k8s.io", "-n", "shop")["items"], "an Event")
    receiver.do(lambda live: live.answer(200))
    subscriptions.apply(destination={"url": receiver.url("/moved")})
    subscriptions.wait("Watching")
    replay = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookReplay", "metadata": {"name": "again"}}
    spec = {"subscriptionName": "orders", "states": ["Dead", "Delivered"]}
    kubectl.apply(replay | {"spec": spec}, namespace="shop")
    eventually(
        lambda: any(
            condition["type"] == "Complete" and condition["status"] == "True"
            for condition in kubectl.json("get", "whreplay", "again", "-n", "shop")
            .get("status", {})
            .get("conditions", ())
        ),
        "the replay is complete",
        60,
    )


def select_namespaces(ground: Ground, receiver: LiveReceiver) -> None:
    """A source that selects namespaces by their labels."""
    subscriptions = Subscriptions(ground.kubectl, "shop", receiver)
    label = uuid.uuid4().hex
    selector = {"from": "Selector", "selector": {"matchLabels": {"team": label}}}
    subscriptions.ready("team", sources=[{"apiVersion": "v1", "kind": "ConfigMap", "namespaces": selector}])
    ground.kubectl("create", "namespace", "team")
    ground.kubectl("label", "namespace", "team", f"team={label}")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
    ground.kubectl.apply(body, namespace="team")
    eventually(
        lambda: "/team" in {request.target for request in receiver.requests}, "a change in the selected namespace"
    )


def check(ground: Ground, live: LiveOperator, objects: list[dict[str, Any]], unused: set[tuple[str, str]]) -> None:
    """Nothing was refused, and what was granted is what was used."""
    live.stop()
    asked = ground.asked()
    assert [name_of(record) for record in asked if record["responseStatus"]["code"] in (401, 403)] == []
    assert "orbidden" not in live.log.read_text(encoding="utf-8")
    used = {name_of(record) for record in asked}
    watched = granted([{"rules": rights.watch_rules()}]) - {("list", "/configmaps"), ("watch", "/configmaps")}
    assert granted(objects) - used - watched <= unused


def test_all_works_under_the_rights_for_the_whole_cluster_and_each_of_them_is_used(audited, receiver, tmp_path):
    objects = rights.cluster_mode()
    audited.install(objects)
    live = operator(audited, receiver, tmp_path)
    try:
        live.start()
        main_job(audited, receiver)
        select_namespaces(audited, receiver)
        check(audited, live, objects, ELSEWHERE)
    finally:
        live.kill()


def test_all_works_under_the_rights_for_single_namespaces(audited, receiver, tmp_path):
    objects = rights.namespaced_mode(served=["shop"])
    audited.install(objects)
    live = operator(audited, receiver, tmp_path, "--namespace", "shop")
    try:
        live.start()
        main_job(audited, receiver)
        check(audited, live, objects, ELSEWHERE | {("list", "/namespaces"), ("watch", "/namespaces")})
    finally:
        live.kill()
    other = Kubectl(audited.plane, audited.kubeconfig(tmp_path))
    assert other("get", "configmaps", "-n", "shop")
    with pytest.raises(KubectlError, match="Forbidden"):
        other("get", "configmaps", "-n", "default")


def test_a_right_that_is_taken_away_is_told_and_recorded(audited, receiver, tmp_path):
    """The control: these tests see a right that is missing."""
    objects = rights.cluster_mode()
    for obj in objects:
        obj["rules"] = [rule for rule in obj.get("rules", ()) if "secrets" not in rule["resources"]]
        if not obj["kind"].endswith("Role"):
            del obj["rules"]
    audited.install(objects)
    live = operator(audited, receiver, tmp_path)
    try:
        live.start()
        subscriptions = Subscriptions(audited.kubectl, "shop", receiver)
        subscriptions.apply()
        refused = ("get", "/secrets")
        eventually(
            lambda: refused in {name_of(item) for item in audited.asked() if item["responseStatus"]["code"] == 403},
            "the API server refuses to show the Secret",
        )
        with pytest.raises(AssertionError):
            check(audited, live, objects, ELSEWHERE)
        assert subscriptions.condition("Ready")[0] != "True"
    finally:
        live.kill()
