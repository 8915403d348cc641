"""The admission policy: only who may use a ServiceAccount may name it. Real users, against the real API server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl
from support.policies import POLICY, forced, refused
from support.rights import binding, role, user

SPACE, ELSEWHERE = "policy", "policy-elsewhere"
OURS = {
    "apiGroups": ["hookline.dev"],
    "resources": ["webhooksubscriptions", "webhooksubscriptions/status"],
    "verbs": ["get", "create", "update", "patch"],
}
IMPERSONATE = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}

RIGHTS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "nothing": ({}, SPACE, set()),
    "impersonates-all": (IMPERSONATE, SPACE, {"default", "builder"}),
    "impersonates-builder": (IMPERSONATE | {"resourceNames": ["builder"]}, SPACE, {"builder"}),
    "impersonates-default": (IMPERSONATE | {"resourceNames": ["default"]}, SPACE, {"default"}),
    "impersonates-elsewhere": (IMPERSONATE, ELSEWHERE, set()),
    "impersonates-users": (IMPERSONATE | {"resources": ["users", "groups"]}, SPACE, set()),
    "makes-pods": (PODS, SPACE, {"default", "builder"}),
    "makes-pods-elsewhere": (PODS, ELSEWHERE, set()),
    "sees-pods": (PODS | {"verbs": ["get", "list", "watch", "delete"]}, SPACE, set()),
    "makes-deployments": (PODS | {"apiGroups": ["apps"], "resources": ["deployments"]}, SPACE, set()),
    "sees-accounts": (IMPERSONATE | {"verbs": ["get", "list", "update"]}, SPACE, set()),
}
"""What a user may do beside writing subscriptions, where, and which ServiceAccounts he may therefore name."""

ACCOUNTS: dict[str, dict[str, str]] = {
    "": {},
    "default": {"serviceAccountName": "default"},
    "builder": {"serviceAccountName": "builder"},
}


def subscription(name: str, **fields: Any) -> dict[str, Any]:
    spec = {
        "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "destination": {"url": "https://hooks.example.com/x"},
    }
    metadata = {"name": name, "namespace": SPACE}
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": metadata,
        "spec": spec | fields,
    }


@pytest.fixture(scope="module")
def users(control_plane: ControlPlane, kubectl: Kubectl, crds: None) -> Iterator[dict[str, Kubectl]]:
    """Kubectl for each of ``RIGHTS``, each with a client certificate."""
    for space in (SPACE, ELSEWHERE):
        kubectl("create", "namespace", space)
    for name, (rule, where, _) in RIGHTS.items():
        objects = [role(f"{name}-ours", SPACE, **OURS), binding(f"{name}-ours", user(name), SPACE)]
        if rule:
            objects += [role(name, where, **rule), binding(name, user(name), where)]
        kubectl.apply(*objects)
    yield {name: Kubectl(control_plane, control_plane.user_kubeconfig(name)) for name in RIGHTS}
    kubectl("delete", "-f", str(POLICY), "--ignore-not-found")


@pytest.fixture
def policy(kubectl: Kubectl, users: dict[str, Kubectl]) -> Iterator[None]:
    """The policy in force."""
    with forced(kubectl, users["nothing"], subscription("probe")):
        yield


def verdicts(kubectl: Kubectl, users: dict[str, Kubectl]) -> dict[tuple[str, str, str], bool]:
    """Who may do what with which ServiceAccount: True where it was let through."""
    kubectl("delete", "whsub", "--all", "-n", SPACE)
    found = {}
    for who, what in itertools.product(RIGHTS, ACCOUNTS):
        name = f"{who}-{what or 'none'}"
        body = json.dumps(subscription(name, **ACCOUNTS[what]))
        create = refused(lambda: users[who]("create", "--dry-run=server", "-f", "-", input=body))  # noqa: B023
        kubectl("create", "-f", "-", input=body)  # by the administrator, to be changed by others

        def patch(document: Any, *options: str, who: str = who, name: str = name) -> str:
            return refused(
                lambda: users[who](
                    "patch", "whsub", name, "-n", SPACE, "--type=merge", "-p", json.dumps(document), *options
                )
            )

        found[who, what, "create"] = not create
        found[who, what, "metadata"] = not patch({"metadata": {"annotations": {"hookline.dev/requested-at": "1"}}})
        found[who, what, "status"] = not patch({"status": {"pending": 1}}, "--subresource=status")
        found[who, what, "spec"] = not patch({"spec": {"suspend": True}})
        for target in ("default", "builder"):
            moved = {"spec": {"serviceAccountName": target, "delivery": {"timeoutSeconds": 7}}}
            found[who, what, f"move to {target}"] = not patch(moved, "--dry-run=server")
    return found


def expected(who: str, what: str, how: str) -> bool:
    """A move needs both accounts: what is stored already goes along."""
    needed = {what or "default"} | ({how.removeprefix("move to ")} if how.startswith("move to ") else set())
    return how in ("metadata", "status") or needed <= RIGHTS[who][2]


def test_only_who_may_use_a_service_account_may_name_it_and_without_the_policy_everybody_may(
    kubectl: Kubectl, users: dict[str, Kubectl], request: pytest.FixtureRequest
) -> None:
    without = verdicts(kubectl, users)
    assert set(without.values()) == {True}, "the control: RBAC alone stops none of this"
    request.getfixturevalue("policy")
    found = verdicts(kubectl, users)
    assert {key: allowed for key, allowed in found.items() if allowed != expected(*key)} == {}
    assert len(found) == 198
    assert list(found.values()).count(False) == 99


def test_a_subscription_can_not_be_moved_to_another_service_account(
    kubectl: Kubectl, users: dict[str, Kubectl], policy: object
) -> None:
    kubectl("delete", "whsub", "--all", "-n", SPACE)
    users["impersonates-builder"].apply(subscription("mine", serviceAccountName="builder"))
    words = refused(
        lambda: users["impersonates-builder"](
            "patch", "whsub", "mine", "-n", SPACE, "--type=merge", "-p", '{"spec":{"serviceAccountName":"default"}}'
        )
    )
    assert "you may not use ServiceAccount 'default'" in words
    assert "impersonate" in words
    assert "`create` Pods" in words


@pytest.mark.parametrize("former", ["", "default"])
def test_who_may_not_use_the_account_that_a_subscription_has_can_not_give_it_his_own(
    kubectl: Kubectl, users: dict[str, Kubectl], policy: object, former: str
) -> None:
    kubectl("delete", "whsub", "--all", "-n", SPACE)
    kubectl.apply(subscription("theirs", **ACCOUNTS[former]))
    mine = {"serviceAccountName": "builder", "destination": {"url": "https://mine.example.com/x"}}
    words = refused(
        lambda: users["impersonates-builder"](
            "patch", "whsub", "theirs", "-n", SPACE, "--type=merge", "-p", json.dumps({"spec": mine})
        )
    )
    assert "messages of ServiceAccount 'default'" in words
    assert "make a subscription of your own" in words
    assert "`impersonate`" in words
