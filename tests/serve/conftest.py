"""The API in this process, before a real outbox and a real API server whose users have few rights."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

import rights
from controlplane import ControlPlane
from hookline.kube import KubeClient
from hookline.outbox.sealing import Sealing
from hookline.outbox.sqlite import SqliteStore
from hookline.serve.server import ApiServer, Behind
from support.cluster import Kubectl
from support.outbox import A, B
from support.rights import account, binding, group, role
from support.served import AUDIENCE, ApiClient, Stream, token_of
from support.whole import config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]

T = TypeVar("T")
BILLS = "cccccccc-0000-4000-8000-000000000003"
KNOWN = {("shop", "orders"): A, ("shop", "bills"): BILLS, ("bank", "orders"): B}
"""The subscriptions that the operator knows."""
STATIC_TOKEN = "of-somebody-in-a-file"
_READ: dict[str, Any] = {"apiGroups": ["hookline.dev"], "resources": ["webhooksubscriptions/deliveries"]}
_ROLES = (
    ("reads", {**_READ}),
    ("lists", {**_READ, "verbs": ["list"]}),
    ("one", {**_READ, "resourceNames": ["orders"]}),
    ("views", {"apiGroups": ["hookline.dev"], "resources": ["webhooksubscriptions", "webhookreplays"]}),
)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane where nobody has a right that is not named here, with a user whose token is in a file."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.csv"
    tokens.write_text(f'{STATIC_TOKEN},somebody,uid-of-somebody,"readers"\n')
    with ControlPlane(extra_flags={"kube-apiserver": [f"--token-auth-file={tokens}"]}) as started:
        kubectl = Kubectl(started)
        names = [name for name, _ in _ROLES] + ["wide", "nobody"]
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("shop", "bank")]
        users = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "shop"}}
            for name in names
        ]
        kubectl.apply(*spaces)
        kubectl.apply(*users)
        for name, rule in _ROLES:
            kubectl.apply(role(name, "shop", **rule), binding(name, account("shop", name), "shop"))
        kubectl.apply(role("wide", **_READ), binding("wide", account("shop", "wide")))
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": rights.OWN_NAMESPACE}})
        kubectl.apply(*rights.cluster_mode())
        kubectl.apply(role("readers", "bank", **_READ), binding("readers", group("readers"), "bank"))
        yield started


@pytest.fixture(scope="session")
def token(plane: ControlPlane) -> Callable[..., str]:
    """``token("reads")``: a token of this ServiceAccount for the operator, or for other audiences."""
    kept: dict[Any, str] = {}

    def give(name: str, *audiences: str) -> str:
        key = (name, audiences or (AUDIENCE,))
        if key not in kept:
            kept[key] = token_of(plane, "shop", name, *key[1])
        return kept[key]

    return give


@dataclass
class Served:
    """The API, what is behind it, and how it answered."""

    store: SqliteStore
    known: dict[tuple[str, str], str]
    answers: list[tuple[str, int]] = field(default_factory=list)
    problem: tuple[str, str] | None = None
    server: Any = None
    port: int = 0
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(64))

    async def get(self, token: str, path: str, **more: Any) -> tuple[int, Any]:
        """One request."""
        return await self.do(partial(ApiClient(self.port, token).get, path, **more))

    async def stream(self, token: str, path: str) -> Stream:
        """A stream; close it."""
        return await self.do(lambda: ApiClient(self.port, token).lines(path))

    async def do(self, work: Callable[[], T]) -> T:
        """Something that blocks, in a thread that no part of the API needs."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


@pytest.fixture
async def client(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """A client with the rights that the operator is shipped with, and no other."""
    config = json.loads(plane.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token_of(plane, rights.OWN_NAMESPACE, rights.NAME)}
    path = tmp_path / "operator.kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    made = await KubeClient.connect(str(path))
    yield made
    await made.close()


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """A client with all rights."""
    made = await KubeClient.connect(str(plane.kubeconfig))
    yield made
    await made.close()


@pytest.fixture
def sealing() -> Sealing:
    return Sealing()


@pytest.fixture
async def served(client: KubeClient, sealing: Sealing, tmp_path: Path) -> AsyncIterator[Served]:
    """The API, listening at a port of the loopback."""
    store = SqliteStore(tmp_path / "outbox.db", sealing=sealing)
    await store.open()
    made = Served(store, dict(KNOWN))
    behind = Behind(
        client,
        store,
        lambda namespace, name: made.known.get((namespace, name)),
        lambda: made.problem,
        lambda verb, code: made.answers.append((verb, code)),
    )
    made.server = ApiServer("127.0.0.1", 0, behind, 1 << 20, time.monotonic)
    made.port = await made.server.start()
    yield made
    await made.server.stop()
    await store.close()
    made.threads.shutdown()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits until a probe's answer is true, or fails with what was awaited; a probe may be asynchronous."""

    async def wait(probe: Callable[[], Any], what: str, seconds: float = 30.0, pause: float = 0.02) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            told = probe()
            if answer := await told if isinstance(told, Awaitable) else told:
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"after {seconds:g} s still not so: {what}")
            await asyncio.sleep(pause)

    return wait


@pytest.fixture(scope="session")
def kubectl_of(plane: ControlPlane) -> Kubectl:
    """Calls kubectl as the administrator of this control plane."""
    return Kubectl(plane)


@pytest.fixture
def static() -> str:
    """The token of a user who is in the group ``readers``."""
    return STATIC_TOKEN


@pytest.fixture
def reviews(admin: KubeClient) -> Callable[..., Any]:
    """Counts the TokenReviews and SubjectAccessReviews that the API server answered."""

    async def count() -> int:
        text = (await admin.get_bytes("/metrics", accept="text/plain")).decode()
        lines = [line for line in text.splitlines() if line.startswith("apiserver_request_total{")]
        wanted = [line for line in lines if "reviews" in line and 'verb="POST"' in line]
        return sum(int(float(line.rpartition(" ")[2])) for line in wanted)

    return count
