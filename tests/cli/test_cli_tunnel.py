"""The way to the operator: which pod is trusted, that it leads, TLS, and that no child process stays behind.

There are no nodes here, so ``support.forwarding`` takes the part of ``kubectl port-forward``; pods and Leases are real
objects of the API server.
"""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from hookline.cli.tunnel import LABEL
from support import forwarding
from support.cluster import eventually
from support.served import free_port


class Ground:
    """A namespace with pods that look like the operator's, and a kubectl that forwards to ports of this machine."""

    def __init__(self, whole, directory: Path) -> None:
        self.whole = whole
        self.namespace = f"test-{uuid.uuid4().hex[:12]}"
        self.bin = forwarding.install(directory)
        whole.kubectl("create", "namespace", self.namespace)
        account = ("sa", "default", "-n", self.namespace, "--ignore-not-found", "-o", "name")
        eventually(lambda: whole.kubectl("get", *account), "pods can be made")

    def pod(self, name: str, phase: str = "Running") -> None:
        """A pod that runs and is ready, as far as the API server knows."""
        labels = dict(part.split("=") for part in LABEL.split(","))
        spec = {"containers": [{"name": "hookline", "image": "hookline"}]}
        head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}
        self.whole.kubectl.apply(head | {"spec": spec}, namespace=self.namespace)
        status = {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}
        self.patch("pod", name, {"status": status}, "--subresource=status")

    def lease(self, pod: str) -> None:
        """Let this pod lead."""
        head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "hookline"}}
        self.whole.kubectl.apply(head | {"spec": {"holderIdentity": f"{pod}_1"}}, namespace=self.namespace)

    def patch(self, kind: str, name: str, body: object, *more: str) -> None:
        """A merge patch."""
        where = (kind, name, "-n", self.namespace, "--type=merge", *more)
        self.whole.kubectl("patch", *where, "-p", json.dumps(body))

    def environment(self, **ports: int) -> dict[str, str]:
        """What the command gets: the stand-in first in the PATH, and where each pod's port is."""
        path = f"{self.bin}:{self.whole.hookline.environment['PATH']}"
        return {"PATH": path, "FORWARD": json.dumps(ports), "HOOKLINE_OPERATOR_NAMESPACE": self.namespace}

    def called(self, pod: str) -> bool:
        """Whether a port to this pod was opened."""
        path = self.bin / f"{pod}.pid"
        return path.exists() and bool(path.read_text())

    def ended(self, pod: str) -> bool:
        """Whether the process that forwarded to it is gone."""
        try:
            os.kill(int((self.bin / f"{pod}.pid").read_text()), 0)
        except ProcessLookupError:
            return True
        return False


@pytest.fixture
def ground(whole, tmp_path) -> Ground:
    return Ground(whole, tmp_path / "bin")


@pytest.fixture
def token(whole) -> tuple[str, str]:
    return ("--token-file", whole.api[3])


@pytest.fixture
def standby(make_operator: Callable[..., object], kubectl, namespace) -> int:
    """The API port of an operator that never leads: somebody else has the Lease."""
    held = {"holderIdentity": "other", "leaseDurationSeconds": 3600, "renewTime": "2099-01-01T00:00:00.000000Z"}
    head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "held"}}
    kubectl.apply(head | {"spec": held}, namespace=namespace)
    port = free_port()
    lease = ("--lease-namespace", namespace, "--lease-name", "held")
    make_operator(*lease, "--api-port", str(port)).start()  # type: ignore[attr-defined]
    return port


def test_the_pod_that_leads_is_asked_and_no_process_stays(ground, whole, token):
    whole.apply("quiet")
    for name in ("a", "b", "c"):
        ground.pod(name)
    ground.lease("b")
    done = whole.hookline("deliveries", "quiet", *token, env=ground.environment(b=whole.port))
    assert (done.code, "There is no delivery" in done.err) == (0, True)
    assert [ground.called(name) for name in ("a", "b", "c")] == [False, True, False]
    assert ground.ended("b")


def test_who_leads_no_longer_is_left_for_who_does(ground, whole, token, standby):
    whole.apply("quiet")
    ground.pod("a")
    ground.pod("b")
    ground.lease("a")
    asking = whole.hookline.start("deliveries", "quiet", *token, env=ground.environment(a=standby, b=whole.port))
    eventually(lambda: ground.called("a"), "the first leader is asked")
    ground.lease("b")
    _, told = asking.communicate(timeout=60)
    assert (asking.returncode, "There is no delivery" in told) == (0, True)
    assert ground.ended("a")
    assert ground.ended("b")


def test_where_nobody_leads_that_is_said(whole, token, standby):
    server = ("--server", f"http://127.0.0.1:{standby}", "--timeout", "1")
    done = whole.hookline("deliveries", "quiet", *token, *server)
    assert done.code == 1
    assert "another pod has the outbox: ask the one that leads; that was still so after 1 s" in done.err


def test_a_pod_elsewhere_is_named_and_not_trusted(ground, whole, token):
    ground.pod("a")
    command = ("deliveries", "quiet", *token, "--operator-namespace", "nowhere")
    done = whole.hookline(*command, env=ground.environment(a=whole.port))
    assert done.code == 1
    assert f'there is no pod with the labels {LABEL} in namespace "nowhere"' in done.err
    assert "and you trust it with your token: --operator-namespace" in done.err
    assert not ground.called("a"), "no token went there"


def test_pods_that_do_not_run_are_no_operator(ground, whole, token):
    ground.pod("a", phase="Pending")
    done = whole.hookline("deliveries", "quiet", *token, env=ground.environment())
    assert done.code == 1
    assert f'no pod of the operator runs in namespace "{ground.namespace}", 1 wait to' in done.err


def test_what_kubectl_says_is_passed_on(ground, whole, token):
    ground.pod("a")
    done = whole.hookline("deliveries", "quiet", *token, env={"HOOKLINE_OPERATOR_NAMESPACE": ground.namespace})
    assert done.code == 1
    assert "kubectl port-forward to pod a failed: error: " in done.err
    assert "give its address with --server" in done.err
    done = whole.hookline("deliveries", "quiet", *token, env=ground.environment() | {"PATH": "/nonexistent"})
    assert "kubectl is not in the PATH" in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL])
def test_a_command_that_is_ended_ends_its_child(ground, whole, token, number):
    whole.apply("quiet")
    ground.pod("a")
    following = whole.hookline.start("deliveries", "quiet", "-f", *token, env=ground.environment(a=whole.port))
    eventually(lambda: ground.called("a"), "the port is open")
    following.send_signal(number)
    following.communicate(timeout=30)
    assert following.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    eventually(lambda: ground.ended("a"), "the child is gone, too")


def taken(serve, port: int):
    """A server at this port; None while it is not free."""
    try:
        return serve(b"", port)
    except OSError:
        return None


def test_who_takes_the_port_of_a_child_that_died_gets_no_token(ground, whole, token, serve):
    leader = serve(b"")  # ends each stream in order, so that the way seems good
    ground.pod("a")
    following = whole.hookline.start(
        "deliveries", "quiet", "-f", *token, env=ground.environment(a=int(leader.address.rpartition(":")[2]))
    )
    try:
        asked = lambda: sum(b"Bearer" in request for request in leader.got)  # noqa: E731
        eventually(asked, "the stream was opened")
        child, port = (int((ground.bin / f"a.{what}").read_text()) for what in ("pid", "port"))
        os.kill(child, signal.SIGKILL)
        squatter = eventually(lambda: taken(serve, port), "the port is taken")
        before = asked()
        eventually(lambda: asked() > before, "a new way was opened")
    finally:
        following.terminate()
        following.communicate(timeout=30)
    assert [request for request in squatter.got if b"Bearer" in request] == []


def test_an_operator_with_a_certificate_is_asked_by_tls(
    ground, whole, make_operator, kubectl, namespace, tmp_path, token
):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    port = free_port()
    files = ("--api-tls-cert-file", str(tmp_path / "cert.pem"), "--api-tls-key-file", str(tmp_path / "key.pem"))
    make_operator("--api-port", str(port), *files).start()

    def ask(*options: str, **env: str):
        return whole.hookline("deliveries", "quiet", "-n", namespace, *token, *options, env=env)

    answered = f'the operator serves no subscription "quiet" in the namespace "{namespace}"'
    direct = ("--server", f"https://localhost:{port}")
    assert "has a certificate that is not trusted: give its authority with --server-ca" in ask(*direct).err
    assert answered in ask(*direct, "--server-ca", str(tmp_path / "ca.pem")).err
    ground.pod("a")
    assert answered in ask(**ground.environment(a=port)).err
