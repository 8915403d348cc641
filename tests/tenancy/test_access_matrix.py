"""Subject x verb x resource x scope: what is granted is what the API server itself lets the ServiceAccount do.

The oracle is no second model of RBAC: each ServiceAccount gets, lists and watches with a token of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import ControlPlane
from hookline.controller.access import Access
from hookline.controller.cases import VERBS
from hookline.controller.reviews import Reviews
from hookline.errors import Forbidden, NotServed
from hookline.kube import KubeClient
from hookline.model import Resource
from hookline.scopes import scopes_of
from hookline.spec import LabelRequirement, LabelSelector, NamespacesFrom, Source
from support.cluster import Kubectl
from support.rights import account, binding, group, role
from support.samples import CONFIG_MAPS, DEPLOYMENTS, subscription
from support.scale import note

CLUSTER_ROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
RESOURCES = (CONFIG_MAPS, DEPLOYMENTS, CLUSTER_ROLES)
EVERYTHING: dict[str, Any] = {"apiGroups": [r.group for r in RESOURCES], "resources": [r.plural for r in RESOURCES]}
LACKING = [tuple(verb for verb in VERBS if verb != lacked) for lacked in VERBS]


def home(name: str) -> str:
    return f"{name}-home"


def other(name: str) -> str:
    return f"{name}-other"


def watcher(name: str) -> dict[str, Any]:
    return account(home(name), "watcher")


def in_namespace(name: str, where: str, subject: Any = None, **rule: Any) -> list[Any]:
    rule = EVERYTHING | rule
    return [role(name, where, **rule), binding(name, subject or watcher(name), where)]


def everywhere(name: str, subject: Any = None, **rule: Any) -> list[Any]:
    rule = EVERYTHING | rule
    return [role(name, **rule), binding(name, subject or watcher(name))]


def grants() -> dict[str, list[Any]]:
    """Each gives its objects to the ServiceAccount ``watcher`` of a namespace of its own."""
    found: dict[str, list[Any]] = {
        "nothing": [],
        "here": in_namespace("here", home("here")),
        "there": in_namespace("there", other("there")),
        "both": in_namespace("both", home("both")) + in_namespace("both", other("both")),
        "all": everywhere("all"),
        "star-here": in_namespace("star-here", home("star-here"), verbs=["*"]),
        "star-all": everywhere("star-all", verbs=["*"], resources=["*"], apiGroups=["*"]),
        "names-here": in_namespace("names-here", home("names-here"), resourceNames=["only"]),
        "names-all": everywhere("names-all", resourceNames=["only"]),
        "core-all": everywhere("core-all", apiGroups=[""]),
        "apps-here": in_namespace("apps-here", home("apps-here"), apiGroups=["apps"]),
        "status-only": everywhere("status-only", resources=["deployments/status", "configmaps/status"]),
        "namesake": in_namespace("namesake", home("namesake"), account(other("namesake"), "watcher")),
        "another": in_namespace("another", home("another"), account(home("another"), "default")),
        "cluster-role-here": [
            role("cluster-role-here", **EVERYTHING),
            binding(
                "cluster-role-here",
                account(home("cluster-role-here"), "watcher"),
                home("cluster-role-here"),
                "ClusterRole",
            ),
        ],
        "group-all": in_namespace("group-all", home("group-all"), group("system:serviceaccounts")),
        "group-own": everywhere("group-own", group(f"system:serviceaccounts:{home('group-own')}")),
        "group-authenticated": in_namespace(
            "group-authenticated", home("group-authenticated"), group("system:authenticated")
        ),
        "group-foreign": everywhere("group-foreign", group(f"system:serviceaccounts:{other('group-foreign')}")),
        "group-unauthenticated": everywhere("group-unauthenticated", group("system:unauthenticated")),
    }
    for verbs in LACKING:
        (lacked,) = set(VERBS) - set(verbs)
        found[f"no-{lacked}-here"] = in_namespace(f"no-{lacked}-here", home(f"no-{lacked}-here"), verbs=list(verbs))
        found[f"no-{lacked}-all"] = everywhere(f"no-{lacked}-all", verbs=list(verbs))
    return found


GRANTS = grants()


@pytest.fixture(scope="module")
def granted(kubectl: Kubectl) -> None:
    for name, objects in GRANTS.items():
        for space in (home(name), other(name)):
            kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        made = {"name": "watcher", "namespace": home(name)}
        kubectl.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": made}, *objects)


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(str(control_plane.kubeconfig))
    yield client
    await client.close()


async def as_watcher(control_plane: ControlPlane, admin: KubeClient, name: str, directory: Path) -> KubeClient:
    """A client with the ServiceAccount's own token."""
    path = f"/api/v1/namespaces/{home(name)}/serviceaccounts/watcher/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await admin.request("POST", path, body=body))["status"]["token"]
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = directory / f"{name}.kubeconfig"
    file.write_text(json.dumps(config))
    return await KubeClient.connect(str(file))


async def can(client: KubeClient, verb: str, resource: Resource, namespace: str) -> bool:
    """Do it, and see."""
    path = resource.path(namespace)
    if verb == "get":
        if resource.namespaced and not namespace:  # an object has a namespace: any one will do
            path = resource.path("kube-system")
        path += "/whatever"
    params = {"list": {"limit": "1"}, "watch": {"watch": "1", "timeoutSeconds": "1", "resourceVersion": "1000000"}}
    try:
        if verb == "watch":
            async with client.stream(path, params["watch"], 5.0):
                return True
        await client.request("GET", path, params=params.get(verb))
    except Forbidden:
        return False
    except NotServed:
        return True
    return True


def scopes(name: str) -> dict[str, Any]:
    """The ways to name namespaces, with those that they come down to (empty: all)."""
    one, two = home(name), other(name)
    selector = LabelSelector((LabelRequirement("team", "Exists"),))
    return {
        "Same": ({"namespaces_from": NamespacesFrom.SAME}, [one]),
        "Names": ({"namespaces_from": NamespacesFrom.NAMES, "namespaces": frozenset({one, two})}, [one, two]),
        "All": ({"namespaces_from": NamespacesFrom.ALL}, [""]),
        "Selector": ({"namespaces_from": NamespacesFrom.SELECTOR, "namespace_selector": selector}, [""]),
    }


async def test_a_subscription_is_granted_exactly_what_its_service_account_can_do(
    control_plane: ControlPlane, granted: None, admin: KubeClient, tmp_path: Path
) -> None:
    access = Access(Reviews(admin, 10_000, time.monotonic), scopes_of, time.monotonic)
    compared, seen = 0, {True: 0, False: 0}
    wrong = []
    for name in GRANTS:
        client = await as_watcher(control_plane, admin, name, tmp_path)
        places = [
            (resource, where) for resource in (CONFIG_MAPS, DEPLOYMENTS) for where in (home(name), other(name), "")
        ]
        cells = list(itertools.product(VERBS, [*places, (CLUSTER_ROLES, "")]))
        answers = await asyncio.gather(*(can(client, verb, *place) for verb, place in cells))
        truth = dict(zip(cells, answers, strict=True))
        await client.close()
        for resource, (how, (fields, where)) in itertools.product(RESOURCES, scopes(name).items()):
            if not resource.namespaced:
                if how != "Same":
                    continue
                where = [""]
            spec = subscription(
                uid=f"{name}-{resource.plural}-{how}",
                namespace=home(name),
                service_account="watcher",
                sources=(Source(resource.api_version, resource.kind, **fields),),
            )
            grant = await access.admit(spec, [resource])
            expected = all(truth[verb, (resource, place)] for verb in VERBS for place in where)
            compared += 1
            seen[expected] += 1
            if grant.granted is not expected:
                wrong.append((name, resource.plural, how, grant))
    assert wrong == []
    assert min(seen.values()) > 30, "both answers occur"
    note(f"{compared} subscriptions compared with real requests: {seen[True]} granted, {seen[False]} refused")


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("no-watch-here", "Same", "may not watch configmaps in namespace 'no-watch-here-home'"),
        ("here", "All", "may not get and list and watch configmaps in the whole cluster"),
        ("names-here", "Same", "may not get and list and watch configmaps in namespace"),
        ("here", "Names", "may not get and list and watch configmaps in namespace 'here-other'"),
    ],
)
async def test_a_refusal_names_account_verb_resource_and_scope_and_its_commands_help(
    control_plane: ControlPlane, granted: None, admin: KubeClient, kubectl: Kubectl, name: str, how: str, words: str
) -> None:
    access = Access(Reviews(admin, 10_000, time.monotonic), scopes_of, time.monotonic)
    fields, _ = scopes(name)[how]
    spec = subscription(namespace=home(name), service_account="watcher", sources=(Source("v1", "ConfigMap", **fields),))
    grant = await access.admit(spec, [CONFIG_MAPS])
    assert grant.granted is False
    assert "ServiceAccount 'watcher'" in grant.message
    assert words in grant.message
    commands = grant.message.partition("Allow it: kubectl ")[2].split("; kubectl ")
    for command in commands:
        kubectl(*command.split())
    try:
        again = Access(Reviews(admin, 10_000, time.monotonic), scopes_of, time.monotonic)
        assert (await again.admit(spec, [CONFIG_MAPS])).granted is True
    finally:
        for command in commands:
            _, kind, made, *options = command.split()
            kubectl("delete", kind, made, *options[options.index("-n") :] if "-n" in options else ())


async def test_a_namespace_that_is_absent_and_one_that_is_forbidden_look_alike(
    control_plane: ControlPlane, granted: None, admin: KubeClient
) -> None:
    access = Access(Reviews(admin, 10_000, time.monotonic), scopes_of, time.monotonic)
    messages = []
    for where in ("kube-system", "no-such-namespace"):
        source = Source("v1", "ConfigMap", NamespacesFrom.NAMES, frozenset({where}))
        spec = subscription(uid=where, namespace=home("here"), service_account="watcher", sources=(source,))
        messages.append((await access.admit(spec, [CONFIG_MAPS])).message.replace(where, "X"))
    assert messages[0] == messages[1]
