"""Whose messages go where: who may use only a weak ServiceAccount gets nothing that a strong one recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver
from support.policies import forced, refused
from support.rights import account, binding, role, user
from support.whole import Subscriptions

OURS = {
    "apiGroups": ["hookline.dev"],
    "resources": ["webhooksubscriptions", "webhookreplays"],
    "verbs": ["get", "create", "update", "patch"],
}
WEAK = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"], "resourceNames": ["weak"]}


@pytest.fixture
def mallory(control_plane: ControlPlane, kubectl: Kubectl, crds: None, namespace: str) -> Iterator[Kubectl]:
    """May write subscriptions and replays, and use ServiceAccount ``weak`` alone, which sees as little."""
    for name in ("strong", "weak"):
        kubectl.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        )
    kubectl.apply(
        *(role("ours", namespace, **OURS), binding("ours", user("mallory"), namespace)),
        *(role("weak", namespace, **WEAK), binding("weak", user("mallory"), namespace)),
        *(role("sees", namespace), binding("sees", account(namespace, "strong"), namespace)),
        role("weak-sees", namespace, resources=["configmaps"]),
        binding("weak-sees", account(namespace, "weak"), namespace),
    )
    who = Kubectl(control_plane, control_plane.user_kubeconfig("mallory"))
    spec = {"sources": [{"apiVersion": "v1", "kind": "ConfigMap"}], "destination": {"url": "https://a.example/"}}
    probe: dict[str, Any] = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription"}
    probe |= {"metadata": {"name": "probe", "namespace": namespace}, "spec": spec}
    with forced(kubectl, who, probe):
        yield who


@pytest.mark.parametrize("allowed", [False, True], ids=["by her", "the control, by an administrator"])
def test_what_a_strong_account_recorded_goes_to_no_url_of_who_may_use_a_weak_one(
    make_operator: Callable[..., LiveOperator],
    mallory: Kubectl,
    kubectl: Kubectl,
    namespace: str,
    receiver: LiveReceiver,
    config_map: Callable[..., None],
    subscriptions: Subscriptions,
    allowed: bool,
) -> None:
    make_operator().start()
    subscriptions.ready("theirs", serviceAccountName="strong", destination={"url": receiver.url("/theirs")})
    config_map("ledger", k="of-the-bank")
    eventually(lambda: receiver.requests, "it is delivered to its owner")
    eventually(lambda: subscriptions.get("theirs")["status"].get("lastDelivery"), "and recorded as delivered")

    hers = json.dumps({"spec": {"serviceAccountName": "weak", "destination": {"url": receiver.url("/hers")}}})
    change = ("patch", "whsub", "theirs", "-n", namespace, "--type=merge", "-p", hers)
    if allowed:
        kubectl(*change)
    else:
        assert "messages of ServiceAccount 'strong'" in refused(lambda: mallory(*change))
    replay = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookReplay", "metadata": {"name": "again"}}
    spec = {"subscriptionName": "theirs", "states": ["Delivered"]}
    mallory.apply(replay | {"spec": spec}, namespace=namespace)
    where = "/hers" if allowed else "/theirs"
    eventually(
        lambda: len(sent(receiver, "/theirs")) + len(sent(receiver, "/hers")) == 2, "the replay is delivered", 60
    )
    assert sent(receiver, where)
    assert bool(sent(receiver, "/hers")) is allowed


def sent(receiver: LiveReceiver, target: str) -> list[Any]:
    """The requests at this path that tell of the ledger."""
    return [one for one in receiver.requests if one.target == target and b"of-the-bank" in one.body]
