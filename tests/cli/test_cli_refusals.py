"""What a command says when the cluster refuses: no CRDs, no rights, nobody who knows the user. One sentence, exit 1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
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

BEFORE = ("status", "ping orders", "new orders --watch cm --url https://hooks.example.com/a")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "api-access.md"


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """A cluster without our kinds at first, in which nobody has rights but those that a test gives."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def before(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What commands say before the kinds are there."""
    bare = CommandLine(control_plane, "default", tmp_path_factory.mktemp("home"))
    return {name: bare(*name.split()) for name in BEFORE}


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(control_plane)


@pytest.fixture(scope="module")
def crds(before: object, kubectl: Kubectl) -> None:
    """Our kinds, once ``before`` has seen how it is without."""
    files = [f"--filename={path}" for path in sorted(CRDS.glob("hookline.dev_*.yaml"))]
    names = kubectl("apply", "--server-side", *files, "-o", "name").split()
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)


@pytest.mark.parametrize("name", BEFORE)
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
    assert re.search(
        r"the API server https://127\.0\.0\.1:\d+ does not know you: Unauthorized\. Log in again", done.err
    )
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
    # The operator believes a refusal for some seconds.
    given = ("deliveries", "orders", *server, "--token-file", str(tmp_path / "token"))
    eventually(lambda: hookline(*given).code == 0, "the right counts")
    assert 'cannot list resource "webhooksubscriptions"' not in hookline(*given).err


def test_the_role_of_the_page_suffices_and_without_its_second_rule_a_subscription_must_be_named(
    hookline, control_plane, make_operator, kubectl, namespace, tmp_path: Path
):
    kubectl.apply(SUBSCRIPTION, namespace=namespace)
    port = free_port()
    make_operator("--api-port", str(port)).start()
    [told] = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", PAGE.read_text(), re.DOTALL)
    whole = yaml.safe_load(told)
    whole["metadata"] = {"name": "read-deliveries"}
    half = whole | {"rules": whole["rules"][:1]}
    account = {"kind": "ServiceAccount", "namespace": namespace, "name": "default"}
    bindings = binding("read-deliveries", user("reader"), namespace), binding("read-deliveries", account, namespace)
    bindings[1]["metadata"] = {"name": "of-the-account"}
    kubectl.apply(half, *bindings, namespace=namespace)
    (tmp_path / "token").write_text(token_of(control_plane, namespace, "default", "hookline.dev"))
    reader = hookline.as_user(control_plane.user_kubeconfig("reader"))
    where = ("--server", f"http://127.0.0.1:{port}", "--token-file", str(tmp_path / "token"))
    eventually(lambda: reader("deliveries", "orders", *where).code == 0, "the right counts")
    show = reader("deliveries", "show", "msg_a", "-s", "orders", *where)
    assert 'there is no delivery "msg_a" of orders' in show.err
    for words, hint in (((), "SUBSCRIPTION"), (("show", "msg_a"), "show msg_a -s SUBSCRIPTION")):
        done = reader("deliveries", *words, *where)
        assert (done.code, done.out) == (1, "")
        assert 'cannot list resource "webhooksubscriptions"' in done.err
        assert f"name the subscription: hookline deliveries {hint} -n {namespace}\n" in done.err
    kubectl.apply(whole, namespace=namespace)
    eventually(lambda: reader("deliveries", *where).code == 0, "the whole role counts")
    assert 'there is no delivery "msg_a" in namespace' in reader("deliveries", "show", "msg_a", *where).err
