"""The way to the operator where no address is given: ``kubectl port-forward`` to the pod that leads.

In: the cluster, and the namespace of the operator. Out: a port on this machine's loopback, as long as the context
lasts. The child process is ended by its id, and by the kernel where this process is killed. Whoever calls sends a
token through it, so a pod is trusted only in the namespace that was named: anybody could make one with the same label
elsewhere. And the port is trusted only while the child lives: then anybody on this machine could take it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hookline.cli.cluster import Cluster, CommandError, Missing
from hookline.cli.output import Output

LABEL = "app.kubernetes.io/part-of=hookline,app.kubernetes.io/component=operator"
"""Labels that every pod of the operator has, whatever its release or the chart's `nameOverride` is called."""
PORT, PORT_NAME = 8443, "api"
START_SECONDS = 20.0
END_SECONDS = 5.0
_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ")
Object = dict[str, Any]


# Becomes the program in its arguments, which gets SIGTERM when its parent is gone (1: PR_SET_PDEATHSIG, prctl(2)).
_BOUND = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """An open way: its base URL, and the child process that holds the port."""

    base: str
    process: asyncio.subprocess.Process

    def check(self) -> None:
        """Raise ConnectionError when the child is gone, and the port may be anybody's."""
        if not _lives(self.process):
            raise ConnectionError("kubectl port-forward has ended")


@contextlib.asynccontextmanager
async def tunnel(cluster: Cluster, namespace: str, out: Output) -> AsyncIterator[Tunnel]:
    """A way that ends in the pod of the operator that leads. Raises CommandError."""
    out.progress.update("looking for the operator")
    pod, port = await leader(cluster, namespace)
    out.progress.update(f"opening a port to pod {pod}")
    async with _forwarded(cluster, namespace, pod, port) as (local, process):
        scheme = "https" if await _speaks_tls(local) else "http"
        out.progress.clear()
        yield Tunnel(f"{scheme}://127.0.0.1:{local}", process)


async def leader(cluster: Cluster, namespace: str) -> tuple[str, int]:
    """Name and API port of the pod that leads: the holder of a Lease, else one that is Ready. Raises CommandError."""
    base = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
    pods: Sequence[Object] = (await cluster.ask("GET", base, params={"labelSelector": LABEL}))["items"]
    running = {pod["metadata"]["name"]: pod for pod in pods if pod.get("status", {}).get("phase") == "Running"}
    if not running:
        raise CommandError(await _nowhere(cluster, namespace, len(pods)))
    holders = await _holders(cluster, namespace) if len(running) > 1 else set()
    chosen = next((pod for name, pod in running.items() if name in holders), None)
    if chosen is None:
        chosen = next((pod for pod in running.values() if _ready(pod)), None) or next(iter(running.values()))
    return chosen["metadata"]["name"], _port(chosen)


async def _holders(cluster: Cluster, namespace: str) -> set[str]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
    try:
        leases = (await cluster.ask("GET", path))["items"]
    except CommandError:  # without that right, the pod that is Ready is the one that leads
        return set()
    # A holder is the pod's name, "_" and what makes it unique.
    return {str((lease.get("spec") or {}).get("holderIdentity", "")).rpartition("_")[0] for lease in leases}


async def _nowhere(cluster: Cluster, namespace: str, waiting: int) -> str:
    if waiting:
        return (
            f'no pod of the operator runs in namespace "{namespace}", {waiting} wait to: '
            f"kubectl describe pod -n {namespace} -l {LABEL}"
        )
    text = f'there is no pod with the labels {LABEL} in namespace "{namespace}"'
    try:
        found = (await cluster.ask("GET", "/api/v1/pods", params={"labelSelector": LABEL, "limit": "20"}))["items"]
    except (CommandError, Missing):
        found = []
    if places := sorted({pod["metadata"]["namespace"] for pod in found}):
        return (
            f"{text}, but in: {', '.join(places)}. If the operator is there, and you trust it with your token: "
            f"--operator-namespace {places[0]}"
        )
    return f"{text}: where is the operator? Name its namespace with --operator-namespace, or its API with --server"


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _port(pod: Object) -> int:
    containers = pod.get("spec", {}).get("containers") or ()
    ports = [port for container in containers for port in container.get("ports") or ()]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == PORT_NAME), PORT)


@contextlib.asynccontextmanager
async def _forwarded(
    cluster: Cluster, namespace: str, pod: str, port: int
) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    program = shutil.which("kubectl")
    if program is None:
        raise CommandError("kubectl is not in the PATH, which opens the way to the operator; or give --server URL")
    place = cluster.place
    command = [
        *([f"--kubeconfig={place.kubeconfig}"] if place.kubeconfig else []),
        *([f"--context={place.context}"] if place.context else []),
        *("--namespace", namespace, "port-forward", "--address=127.0.0.1", f"pod/{pod}", f":{port}"),
    ]
    process = await asyncio.create_subprocess_exec(
        *_bound(program),
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    drains: list[asyncio.Task[bytes]] = []
    try:
        local = await _local_port(process, pod)
        # It says a line for each connection: unread, they would fill the pipe and stop it.
        drains = [asyncio.create_task(stream.read()) for stream in (process.stdout, process.stderr) if stream]
        yield local, process
    finally:
        await _end(process)
        for task in drains:
            task.cancel()
        await asyncio.gather(*drains, return_exceptions=True)


def _bound(program: str) -> list[str]:
    """The command of a program that does not outlive this process, however it ends; where the kernel can do it."""
    if sys.platform != "linux" or not sys.executable:
        return [program]
    return [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid()), str(Path(program).absolute())]


def _lives(process: asyncio.subprocess.Process) -> bool:
    if process.returncode is not None:
        return False
    if not hasattr(os, "waitid"):
        return True
    try:  # the event loop may not have looked yet
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


async def _local_port(process: asyncio.subprocess.Process, pod: str) -> int:
    assert process.stdout is not None  # noqa: S101 (they are pipes)
    assert process.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := await process.stdout.readline():
                if found := _FORWARDING.match(line):
                    return int(found[1])
            said = (await process.stderr.read()).decode(errors="replace").strip()
    except TimeoutError:
        raise CommandError(f"kubectl port-forward to pod {pod} did not begin within {START_SECONDS:g} s") from None
    why = said.splitlines()[-1] if said else "it said nothing"
    raise CommandError(
        f"kubectl port-forward to pod {pod} failed: {why}. It needs the right to create pods/portforward there; where "
        "the operator's API is published, give its address with --server"
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def unverified() -> ssl.SSLContext:
    """TLS without a look at the certificate, for the end of a tunnel alone: the API server vouches for the pod."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _speaks_tls(port: int) -> bool:
    """Whether the API at the end has a certificate; nothing is sent but a greeting."""
    try:
        async with asyncio.timeout(START_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=unverified())
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
