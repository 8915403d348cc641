"""The memory of the operator while every endpoint of one namespace takes connections and requests, and never answers.

In full: 150 subscriptions with a backlog of 70 objects of 60 kB each, 10,500 messages, over TLS. The short form has 20.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from controlplane import ControlPlane
from hookline.deliver.share import ATTEMPTS
from support.cluster import Kubectl, eventually
from support.live import LiveOperator
from support.scale import note, scale

SUBSCRIPTIONS = scale(short=20, full=150)
OBJECTS = scale(short=10, full=70)
MOST_MIB = 600
"""Above what is in use with nothing to send, at most."""


SILENCE = """
import asyncio, ssl, sys

async def serve(reader, _):
    while await reader.read(1 << 16):
        pass

async def main(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def silence(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The port of a TLS server that takes requests and never answers, and its authority."""
    authority, certificate = trustme.CA(), tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    command = [sys.executable, "-c", SILENCE, str(certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline()), authority.cert_pem.bytes().decode()
        server.kill()


def resident(operator: LiveOperator) -> int:
    """The operator's memory now, in MiB."""
    assert operator.process is not None
    lines = Path(f"/proc/{operator.process.pid}/status").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kib // 1024


@pytest.mark.timeout(400)
def test_a_namespace_whose_endpoints_never_answer_takes_a_bounded_part_of_the_memory(
    control_plane: ControlPlane,
    crds: object,
    kubectl: Kubectl,
    namespace: str,
    silence: tuple[int, str],
    tmp_path: Path,
) -> None:
    port, authority = silence
    operator = LiveOperator(control_plane.kubeconfig, tmp_path / "operator", authority, "--namespace", namespace)
    try:
        operator.start()
        for number in range(SUBSCRIPTIONS):
            control_plane.request(
                "POST",
                f"/apis/hookline.dev/v1alpha1/namespaces/{namespace}/webhooksubscriptions",
                _subscription(f"s{number}", f"https://localhost:{port}/{number}"),
            )
        kubectl("wait", "--for=condition=Ready", "whsub", "--all", "-n", namespace, "--timeout=120s")
        before = most = resident(operator)
        for number in range(OBJECTS):
            body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}}
            body["data"] = {"k": os.urandom(30_000).hex()}
            control_plane.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
        under_way = lambda: operator.metric("hookline_delivery_attempts_in_flight")  # noqa: E731
        eventually(lambda: under_way() >= min(ATTEMPTS, SUBSCRIPTIONS * OBJECTS) // 2, "many attempts hang", 120)
        end = time.monotonic() + scale(short=3, full=40)
        in_flight = 0.0
        while time.monotonic() < end:  # a sample of what it takes, second by second
            most = max(most, resident(operator))
            in_flight = max(in_flight, under_way())
            time.sleep(1)
        assert in_flight <= ATTEMPTS
        assert most - before <= MOST_MIB
        note(
            f"{SUBSCRIPTIONS} subscriptions of a namespace, {OBJECTS} objects of 60 kB, nobody answers: {before} MiB "
            f"before, {most} MiB at most, {in_flight:.0f} attempts under way",
        )
    finally:
        operator.kill()


def _subscription(name: str, url: str) -> dict[str, Any]:
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": name},
        "spec": {
            "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "destination": {"url": url},
            "delivery": {"timeoutSeconds": 30, "maxInFlight": 64},
        },
    }
