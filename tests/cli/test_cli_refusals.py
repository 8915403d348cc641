"""What a command says when the cluster refuses: no CRDs, no rights, nobody who knows the user. One sentence, exit 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl
from support.rights import binding, role, user
from support.schema import CRDS
from support.served import free_port, token_of
from support.terminal import CommandLine, Done
from support.whole import make_operator, receiver

__all__ = ["make_operator", "receiver"]

SUBSCRIPTION = {
    "apiVersion": "hookline.dev/v1alpha1",
    "kind": "WebhookSubscription",
    "metadata": {"name": "orders"},
    "spec": {
        "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "destination": {"url": "https://hooks.example.com/a"},
    },
}


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """A cluster without our kinds at first, in which nobody has rights but those that a test gives."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def before(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What commands say before the kinds are there."""
    bare = CommandLine(control_plane, "default", tmp_path_factory.mktemp("home"))
    return {name: bare(*name.split()) for name in ("status", "ping orders")}


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(control_plane)


@pytest.fixture(scope="module")
def crds(before: object, kubectl: Kubectl) -> None:
    """Our kinds, once ``before`` has seen how it is without."""
    files = [f"--filename={path}" for path in sorted(CRDS.glob("hookline.dev_*.yaml"))]
    names = kubectl("apply", "--server-side", *files, "-o", "name").split()
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)


@pytest.mark.parametrize("name", ["status", "ping orders"])
def test_a_cluster_without_our_kinds_is_told(before, name):
    done = before[name]
    assert (done.code, done.out) == (1, "")
    assert "Hookline's CRDs are not installed there, or this is another cluster than you think" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_missing_right_is_named(hookline, control_plane, namespace, kubectl):
    kubectl.apply(SUBSCRIPTION, namespace=namespace)
    tenant = hookline.as_user(control_plane.user_kubeconfig("tenant"))
    done = tenant("status")
    assert (done.code, done.out) == (1, "")
    assert (
        'User "tenant" cannot list resource "webhooksubscriptions" in API group "hookline.dev" in the namespace '
        f'"{namespace}". Ask for that right' in done.err
    )
    see = role("see", namespace, apiGroups=["hookline.dev"], resources=["webhooksubscriptions"])
    kubectl.apply(see, binding("see", user("tenant"), namespace), namespace=namespace)
    assert tenant("status").code == 0
    assert 'cannot patch resource "webhooksubscriptions"' in tenant("ping", "orders").err
    assert 'cannot create resource "webhookreplays"' in tenant("replay", "orders").err
    assert 'cannot list resource "pods"' in tenant("deliveries", "orders").err
    assert 'cannot create resource "serviceaccounts/token"' in (
        tenant("deliveries", "orders", "--server", "http://127.0.0.1:1", "--service-account", "default").err
    )


def test_a_user_whom_nobody_knows_is_told(hookline, tmp_path):
    import json

    config = json.loads(hookline.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "made-up"}
    (tmp_path / "config").write_text(json.dumps(config))
    done = hookline.as_user(tmp_path / "config")("status")
    assert done.code == 1
    assert "the API server does not know you" in done.err
    assert "made-up" not in done.err


def test_what_admission_refuses_is_said_in_its_words(hookline, kubectl, namespace):
    kubectl.apply(SUBSCRIPTION, namespace=namespace)
    done = hookline("replay", "orders", "--id", "msg.with.dots")
    assert done.code == 1
    assert "must be a `webhook-id` as the receiver saw it" in done.err


def test_deliveries_without_the_right_are_refused_by_the_operator(
    hookline, control_plane, make_operator, kubectl, namespace, tmp_path: Path
):
    kubectl.apply(SUBSCRIPTION, namespace=namespace)
    port = free_port()
    make_operator("--api-port", str(port)).start()
    server = ["--server", f"http://127.0.0.1:{port}"]
    asked = hookline("deliveries", "orders", *server, "--service-account", "default")
    assert (asked.code, asked.out) == (1, "")
    assert 'cannot list resource "webhooksubscriptions/deliveries"' in asked.err
    assert "Ask for that right: a Role with get, list and watch on webhooksubscriptions/deliveries" in asked.err
    read = role("read", namespace, apiGroups=["hookline.dev"], resources=["webhooksubscriptions/deliveries"])
    account = {"kind": "ServiceAccount", "namespace": namespace, "name": "default"}
    kubectl.apply(read, binding("read", account, namespace), namespace=namespace)
    (tmp_path / "token").write_text(token_of(control_plane, namespace, "default", "hookline.dev"))
    from support.cluster import eventually

    # The operator believes a refusal for some seconds.
    given = ("deliveries", "orders", *server, "--token-file", str(tmp_path / "token"))
    eventually(lambda: hookline(*given).code == 0, "the right counts")
    assert 'cannot list resource "webhooksubscriptions"' not in hookline(*given).err
