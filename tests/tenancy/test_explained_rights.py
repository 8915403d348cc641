"""``explain`` and ``new`` where no ServiceAccount has any right but those that it was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl
from support.rights import binding, role, user
from support.terminal import CommandLine, Done

ARGUMENTS = ("--url", "https://hooks.example.com/orders", "--service-account", "watcher")


@pytest.fixture
def hookline(control_plane: ControlPlane, crds: object, namespace: str, tmp_path: Path) -> CommandLine:
    return CommandLine(control_plane, namespace, tmp_path)


def rights(hookline: Callable[..., Done], name: str, thing: str) -> Any:
    done = hookline("explain", thing, "--subscription", name, "-o", "json")
    assert done.code == 0, done.err
    [item] = json.loads(done.out)["subscriptions"]
    [check] = [check for check in item["checks"] if check["step"] == "rights"]
    assert item["inForce"] == ("True" if check["result"] == "Passed" else "False")
    assert item["verdict"] == "Match"
    return check


@pytest.mark.parametrize(
    ("watch", "options", "thing"),
    [
        ("configmaps", (), "configmap/kube-root-ca.crt"),
        ("configmaps", ("--watch-namespaces", "default,kube-system"), "configmap/kube-root-ca.crt"),
        ("namespaces", (), "namespace/default"),
    ],
)
def test_the_roles_that_new_writes_are_those_that_are_missing(
    hookline: CommandLine, kubectl: Kubectl, namespace: str, tmp_path: Path, watch: str, options: Any, thing: str
) -> None:
    arguments = ("new", "orders", "--watch", watch, *options, *ARGUMENTS)
    bare = hookline(*arguments, "--rights", "never")
    assert bare.code == 0, bare.err
    assert "kind: WebhookSubscription" in bare.out
    assert "Role" not in bare.out
    kubectl("apply", "-f", "-", input=bare.out)
    where = ("--object-namespace", "default") if "default,kube-system" in options else ()

    def within(*arguments: str) -> Done:
        return hookline(*arguments, *where)

    before = rights(within, "orders", thing)
    assert before["result"] == "Failed"
    assert "ServiceAccount 'watcher' may not get and list and watch" in before["message"]
    whole = hookline(*arguments, "--replace")
    assert "do not suffice: roles are written, too" in whole.err
    kubectl("apply", "-f", "-", input=whole.out)
    assert rights(within, "orders", thing)["result"] == "Passed"
    again = hookline(*arguments, "--replace")
    assert "Role" not in again.out, "they are there now"
    assert "Rights: ServiceAccount 'watcher' may get, list and watch" in again.err


def test_who_may_not_give_rights_is_told_and_the_yaml_is_there_all_the_same(
    hookline: CommandLine, kubectl: Kubectl, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    ours = {"apiGroups": ["hookline.dev"], "resources": ["webhooksubscriptions"], "verbs": ["*"]}
    tenant = user(f"tenant-{namespace}")
    kubectl.apply(role("tenant", namespace, **ours), binding("tenant", tenant, namespace))
    theirs = hookline.as_user(control_plane.user_kubeconfig(tenant["name"]))
    done = theirs("new", "orders", "--watch", "configmaps", *ARGUMENTS, "--apply")
    assert done.code == 1
    assert "can't be told from here: roles are written, too" in done.err
    assert "was not applied" in done.err
    assert "kind: RoleBinding" in done.out
    alone = theirs("new", "orders", "--watch", "configmaps", *ARGUMENTS, "--apply", "--rights", "never")
    assert alone.code == 0, alone.err
    assert "WebhookSubscription orders applied" in alone.err
    assert kubectl("get", "whsub", "orders", "-n", namespace, "-o", "name")
