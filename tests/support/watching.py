"""What the tests of the watch share: a client, a recorder of changes, and a proxy that misbehaves on command."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from hookline.errors import ApiError
from hookline.kube import Access, KubeClient
from hookline.model import Change, Message, Resource, Scope
from hookline.spec import Operation
from hookline.watch.informer import Informer
from hookline.watch.ledger import WatchStore
from hookline.watch.pace import Pace
from hookline.watch.teller import Hooks

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps", namespaced=True)
QUICK = Pace(retry=(0.02, 0.2), parked=(0.02, 0.2))
PATIENCE = 30.0


class Recorder:
    """A sink that remembers the changes and makes one message of each; ``committed`` are those that became durable."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.committed: list[str] = []
        self.problems: list[ApiError | None] = []
        self.drops: list[str] = []
        self.repairs: list[Operation] = []
        self.before: Callable[[], object] = lambda: None
        self.hooks = Hooks(self._sink, self._after_commit, self._on_problem, self._on_drop, self._on_repair)

    async def _sink(self, changes: Sequence[Change]) -> Sequence[Message]:
        self.before()
        self.changes.extend(changes)
        return [_message(change) for change in changes]

    def _after_commit(self, messages: Sequence[Message]) -> None:
        self.committed.extend(message.event_type for message in messages)

    def _on_problem(self, scope: Scope, error: ApiError | None) -> None:
        self.problems.append(error)

    def _on_drop(self, scope: Scope, reason: str) -> None:
        self.drops.append(reason)

    def _on_repair(self, scope: Scope, operation: Operation) -> None:
        self.repairs.append(operation)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 (conditions over anything, which no event stands for)
                await asyncio.sleep(0.01)

    async def until_changes(self, number: int) -> None:
        """Wait until exactly so many arrived."""
        await self.until(lambda: len(self.changes) == number)

    async def until_named(self, name: str) -> None:
        """Wait until a change of an object of this name arrived: all changes before it arrived too."""
        await self.until(lambda: any(change.object["metadata"]["name"] == name for change in self.changes))

    @property
    def told(self) -> list[tuple[Operation, str]]:
        """Operation and name of each change."""
        return [(change.operation, change.object["metadata"]["name"]) for change in self.changes]


def _message(change: Change) -> Message:
    metadata = change.object["metadata"]
    text = f"{change.operation}/{metadata['name']}/{change.uid}/{metadata['resourceVersion']}"
    return Message(text, "subscription", 0, change.uid, text, (), b"{}", change.observed)


@asynccontextmanager
async def watching(
    client: KubeClient,
    scope: Scope,
    store: WatchStore,
    recorder: Recorder,
    *,
    full: bool = True,
    pace: Pace = QUICK,
    synced: bool = True,
) -> AsyncIterator[Informer]:
    """A running informer, by default one whose stream is open."""
    informer = Informer(
        client, scope, store, recorder.hooks, clock=time.time, random=random.random, full=full, pace=pace
    )
    task = asyncio.create_task(informer.run())
    try:
        if synced:
            async with asyncio.timeout(PATIENCE):
                await informer.synced.wait()
        yield informer
        assert not task.done(), "run() must never end by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Objects:
    """ConfigMaps, or what else, of one namespace, written through the API."""

    def __init__(self, client: KubeClient, namespace: str, resource: Resource = CONFIG_MAPS) -> None:
        self.client, self.path = client, resource.path(namespace)
        self.kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        # The controller manager puts a ConfigMap of its own into each namespace, when it comes to it.
        self.scope = Scope(resource, namespace, "metadata.name!=kube-root-ca.crt")

    async def create(self, name: str, **content: Any) -> Any:
        return await self.client.request("POST", self.path, body={**self.kind, "metadata": {"name": name}, **content})

    async def patch(self, name: str, **content: Any) -> Any:
        return await self.client.request(
            "PATCH", f"{self.path}/{name}", body=content, content_type="application/merge-patch+json"
        )

    async def delete(self, name: str) -> None:
        await self.client.request("DELETE", f"{self.path}/{name}")


CRD_GROUP = "watch.hookline.test"


def a_crd(plural: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{CRD_GROUP}"},
        "spec": {
            "group": CRD_GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural[:-1], "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


async def install(client: KubeClient) -> Resource:
    """A new custom resource, served."""
    resource = a_resource()
    await define(client, resource)
    for _ in range(1000):
        try:
            await client.request("GET", resource.path())
        except ApiError:  # not served yet, or "storage is initializing"
            await asyncio.sleep(0.02)  # and ask again
        else:
            return resource
    raise AssertionError("the resource is never served")


def a_resource() -> Resource:
    word = "t" + secrets.token_hex(4)
    return Resource(f"{CRD_GROUP}/v1", word.capitalize(), f"{word}s", namespaced=True)


async def define(client: KubeClient, resource: Resource) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await client.request("POST", path, body=a_crd(resource.plural, resource.kind))


class Proxy:
    """Between a client and the API server: plain HTTP in front, the API server's TLS behind.

    ``watches`` counts the watch requests. ``stall`` silences the connections that are open now. ``cut_at``: the next
    stream that carries these bytes ends in the middle of them. ``rewrite`` may change what comes back.
    """

    def __init__(self, upstream: Access) -> None:
        self.watches = 0
        self.cut_at: bytes | None = None
        self.cuts = 0
        self.rewrite: Callable[[bytes], bytes] = lambda data: data
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self._stalled: set[asyncio.Task[None]] = set()

    def stall(self) -> None:
        """From now on nothing comes out of the connections that are open."""
        self._stalled |= self._tasks

    @asynccontextmanager
    async def client(self) -> AsyncIterator[KubeClient]:
        """A client of the API server by way of this proxy."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        access = replace(
            self._upstream,
            server=f"http://127.0.0.1:{port}",
            ca_path=None,
            certificate_path=None,
            private_key_path=None,
        )
        client = KubeClient(access)
        try:
            yield client
        finally:
            await client.close()
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(self._upstream.server)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection(
                target.hostname, target.port, ssl=self._upstream.tls(), server_hostname=self._upstream.tls_server_name
            )
            ends.append(back)
            forth = asyncio.create_task(self._forth(reader, back))
            try:
                await self._back(there, writer, task)
            finally:
                forth.cancel()
                await asyncio.gather(forth, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._stalled.discard(task)
            for end in ends:
                end.close()
            for end in ends:
                with suppress(OSError, asyncio.CancelledError):
                    await end.wait_closed()

    async def _forth(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            self.watches += data.count(b"watch=1")
            target.write(data)
            await target.drain()

    async def _back(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        while data := await source.read(1 << 16):
            if task in self._stalled:
                continue
            if self.cut_at is not None and (found := data.find(self.cut_at)) >= 0:
                target.write(data[: found + len(self.cut_at) // 2])
                await target.drain()
                self.cut_at, self.cuts = None, self.cuts + 1
                return
            target.write(self.rewrite(data))
            await target.drain()
