"""Rights that come and go while the operator runs: what is queued waits, what was not permitted is not told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import ControlPlane
from controlplane.flags import API_SERVER
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver, running
from support.load import create_config_maps
from support.rights import account, binding, role
from support.schema import CRDS
from support.whole import Subscriptions

QUEUED, QUIET = 60, 6.0
OFTEN = {"retry": {"schedule": [1] * 30}}


class Rights:
    """Gives ServiceAccounts of a namespace the right to watch its ConfigMaps, and takes it."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        kubectl.apply(role("watcher", namespace))

    def give(self, name: str) -> None:
        made = binding("watcher", account(self._namespace, name), self._namespace)
        made["metadata"]["name"] = f"watcher-{name}"
        self._kubectl.apply(made)

    def take(self, name: str) -> None:
        self._kubectl("delete", "rolebinding", f"watcher-{name}", "-n", self._namespace)


@pytest.fixture
def rights(kubectl: Kubectl, namespace: str) -> Rights:
    return Rights(kubectl, namespace)


def targets(receiver: LiveReceiver) -> list[str]:
    return [request.target for request in receiver.requests]


def test_a_queued_message_is_not_sent_after_its_rights_are_revoked_and_is_when_they_come_back(
    operator: LiveOperator, subscriptions: Subscriptions, rights: Rights, receiver: LiveReceiver,
    config_map: Callable[..., None],
) -> None:  # fmt: skip
    for name in ("revoked", "kept"):
        rights.give(name)
        subscriptions.ready(name, serviceAccountName=name, delivery=OFTEN)
    assert subscriptions.condition("Authorized", "revoked")[:2] == ("True", "AccessGranted")
    receiver.do(lambda live: live.answer(503))
    config_map("queued")
    eventually(lambda: set(targets(receiver)) == {"/revoked", "/kept"}, "both were tried, and wait")

    rights.take("revoked")
    message = subscriptions.wait("AccessDenied", "revoked", "Authorized")
    assert "ServiceAccount 'revoked' may not get and list and watch configmaps in namespace" in message
    assert subscriptions.condition("Ready", "revoked")[:2] == ("False", "AccessDenied")
    assert subscriptions.condition("Stalled", "revoked") == ("", "", "")
    receiver.do(lambda live: live.requests.clear())
    receiver.do(lambda live: live.answer(200))
    eventually(lambda: subscriptions.get("kept")["status"].get("lastDelivery"), "the control: the same message is sent")
    eventually(lambda: not subscriptions.get("kept")["status"]["pending"], "all of it")
    config_map("meanwhile")
    eventually(lambda: targets(receiver).count("/kept") >= 2, "the control: a change meanwhile is told")
    assert subscriptions.get("revoked")["status"]["pending"] == 1
    assert "/revoked" not in targets(receiver)
    lost = subscriptions.get("revoked")["status"]
    assert (lost["dropped"], lost["lastDrop"]["reason"]) == (1, "Gap")

    rights.give("revoked")
    subscriptions.wait("Watching", "revoked")
    eventually(lambda: "/revoked" in targets(receiver), "what was queued is sent")
    config_map("later")
    eventually(lambda: targets(receiver).count("/revoked") == 2, "and what happens from then on")
    requests = [request for request in receiver.requests if request.target == "/revoked"]
    told = [json.loads(request.body)["data"]["object"]["metadata"]["name"] for request in requests]
    assert told == ["queued", "later"]


def test_without_rights_nothing_is_watched_and_no_secret_is_made(
    operator: LiveOperator, subscriptions: Subscriptions, rights: Rights, kubectl: Kubectl, namespace: str,
    receiver: LiveReceiver, config_map: Callable[..., None],
) -> None:  # fmt: skip
    subscriptions.apply("orders")
    subscriptions.wait("AccessDenied")
    assert operator.metric("hookline_watches") == 0
    assert "watching" not in subscriptions.get()["status"] or subscriptions.get()["status"]["watching"] == []
    assert kubectl.json("get", "secrets", "-n", namespace)["items"] == []
    config_map("before")
    rights.give("default")
    subscriptions.wait("Watching")
    config_map("after")
    eventually(lambda: receiver.requests, "a change is told")
    assert [body["data"]["object"]["metadata"]["name"] for body in receiver.bodies] == ["after"]


def test_messages_of_an_earlier_spec_need_the_rights_of_that_spec(
    operator: LiveOperator, subscriptions: Subscriptions, rights: Rights, kubectl: Kubectl, namespace: str,
    receiver: LiveReceiver, config_map: Callable[..., None],
) -> None:  # fmt: skip
    """Who loses a right can't keep what it brought by changing the spec to something harmless."""
    kubectl.apply(role("services", namespace, resources=["services"]))
    kubectl.apply(binding("services", account(namespace, "default"), namespace))
    rights.give("default")
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready(delivery=OFTEN)
    config_map("secretive")
    eventually(lambda: receiver.requests, "it was tried, and waits")
    rights.take("default")
    subscriptions.wait("AccessDenied")
    receiver.do(lambda live: live.requests.clear())
    receiver.do(lambda live: live.answer(200))
    subscriptions.apply(sources=[{"apiVersion": "v1", "kind": "Service"}], delivery=OFTEN)
    assert "earlier spec" in subscriptions.wait("MessagesHeld")
    assert subscriptions.condition("Authorized")[0] == "True", "the present spec is in force all the same"
    assert receiver.requests == []
    operator.stop()
    operator.start()
    subscriptions.apply(sources=[{"apiVersion": "v1", "kind": "Service"}], delivery=OFTEN)
    subscriptions.wait("MessagesHeld")  # a restart does not make it forget
    kubectl.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "new", "namespace": namespace},
                   "spec": {"ports": [{"port": 80}]}})  # fmt: skip
    eventually(lambda: subscriptions.get()["status"]["pending"] == 2, "what the present spec brings waits with it")
    assert receiver.requests == []
    rights.give("default")
    eventually(lambda: receiver.requests, "with the right it is sent")


@pytest.fixture
def fragile() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


def test_while_the_api_server_does_not_answer_nothing_is_sent_for_long_and_nothing_is_lost(
    control_plane: Any, fragile: ControlPlane, receiver: LiveReceiver, tmp_path: Path
) -> None:
    kubectl = Kubectl(fragile)
    kubectl("apply", "--server-side", *(f"--filename={path}" for path in sorted(CRDS.glob("hookline.dev_*.yaml"))))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    Rights(kubectl, "default").give("default")
    subscriptions = Subscriptions(kubectl, "default", receiver)
    operator = LiveOperator(fragile.kubeconfig, tmp_path / "operator", receiver.ca_pem, "--namespace", "default")
    with running(operator):
        subscriptions.ready(delivery={"rateLimit": {"perSecond": 1}})
        create_config_maps(fragile.kubeconfig, "default", [f"web-{number}" for number in range(QUEUED)])
        eventually(lambda: receiver.requests, "one after the other is sent")
        fragile.kill(API_SERVER)
        before = len(receiver.requests)
        eventually(quiet(receiver), "no attempt is made any more", QUEUED)
        assert before < len(receiver.requests) < QUEUED, "the reviews from before count for a while, not for all"
        fragile.start(API_SERVER)
        eventually(lambda: len(set(receiver.ids)) == QUEUED, "all are sent", 120)


def quiet(receiver: LiveReceiver, seconds: float = QUIET) -> Callable[[], bool]:
    """Whether nothing came for so long."""
    seen, since = len(receiver.requests), time.monotonic()

    def probe() -> bool:
        nonlocal seen, since
        if len(receiver.requests) != seen:
            seen, since = len(receiver.requests), time.monotonic()
        return time.monotonic() - since > seconds

    return probe
