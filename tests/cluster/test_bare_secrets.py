"""Secrets against a real API server: their data does not come over the wire, by no way in which a watch reads."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from hookline.kube import KubeClient
from hookline.model import Resource, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import Operation
from hookline.watch.ledger import RELIST
from support.leaks import leaks
from support.watching import CONFIG_MAPS, QUICK, Objects, Recorder, watching

SECRETS = Resource("v1", "Secret", "secrets", namespaced=True)
CANARY = "canary-in-the-data-of-an-object"
COPY = "kubectl.kubernetes.io/last-applied-configuration"


class Tapped:
    """A client that keeps every byte that a watch read."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.heard = b""
        self.accepted: set[str] = set()

    async def get_bytes(self, path: str, *, params: Mapping[str, str], accept: str = "application/json") -> bytes:
        self.accepted.add(accept)
        raw = await self.client.get_bytes(path, params=params, accept=accept)
        self.heard += raw
        return raw

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], idle: float, *, accept: str = "application/json"
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        self.accepted.add(accept)
        async with self.client.stream(path, params, idle, accept=accept) as batches:
            yield self._tap(batches)

    async def _tap(self, batches: AsyncIterator[list[bytes]]) -> AsyncIterator[list[bytes]]:
        async for lines in batches:
            self.heard += b"".join(lines)
            yield lines


def content(resource: Resource, text: str) -> dict[str, dict[str, str]]:
    return {"data": {"hidden": base64.b64encode(text.encode()).decode() if resource is SECRETS else text}}


def read(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.rglob("*") if file.is_file()}


@pytest.mark.parametrize("resource", [SECRETS, CONFIG_MAPS], ids=["secrets", "the control"])
async def test_no_way_of_reading_brings_the_data_of_a_secret(
    client: KubeClient, store: SqliteStore, namespace: str, resource: Resource, tmp_path: Path
) -> None:
    """First list, stream, whole objects on demand, find, audit, comparison after a gap, look ahead after a restart."""
    objects = Objects(client, namespace, resource)
    tapped: Any = Tapped(client)  # and nothing else of a client: any other way of reading would fail
    recorder = Recorder()
    copy = {"annotations": {COPY: f"a copy of {CANARY}", "kept": "yes"}}
    await objects.create("before", metadata={"name": "before", **copy}, **content(resource, CANARY))
    pace = replace(QUICK, audit=0.2)
    async with watching(tapped, objects.scope, store, recorder, full=False, pace=pace) as informer:
        await objects.create("a", **content(resource, CANARY))
        await objects.patch("a", metadata=copy, **content(resource, f"{CANARY}2"))
        await recorder.until(lambda: len(recorder.changes) >= 2)
        informer.require_full()
        await informer.position()
        async for _ in informer._find(namespace, "before"):
            pass
        audits = tapped.heard.count(b"List")
        await recorder.until(lambda: tapped.heard.count(b"List") > audits + 1)
        await objects.delete("a")
        await recorder.until(lambda: len(recorder.changes) >= 3)
    async with watching(tapped, objects.scope, store, recorder):
        await objects.create("b", **content(resource, CANARY))
        await recorder.until_named("b")
    await store.commit(WatchCommit(objects.scope.key, resource_version=RELIST))
    await objects.patch("before", **content(resource, f"{CANARY}3"))
    async with watching(tapped, objects.scope, store, recorder):
        await recorder.until_named("before")
    told = orjson.dumps([[change.object, change.old] for change in recorder.changes])
    files = read(tmp_path)
    found = leaks({"data": CANARY.encode()}, {"changes": told, **files})
    if resource is not SECRETS:
        assert any("changes" in line for line in found)
        assert COPY.encode() in told
        return
    assert recorder.told[:4] == [
        (Operation.CREATED, "a"),
        (Operation.UPDATED, "a"),
        (Operation.DELETED, "a"),
        (Operation.CREATED, "b"),
    ]
    assert found == []
    assert COPY.encode() not in told
    assert b"managedFields" not in told
    assert {(change.object["apiVersion"], change.object["kind"]) for change in recorder.changes} == {("v1", "Secret")}
    assert recorder.changes[1].object["metadata"]["annotations"] == {"kept": "yes"}
    encoded = base64.b64encode(CANARY.encode())[:-4]
    assert encoded not in tapped.heard, "not even this process heard of it"
    assert all("as=PartialObjectMetadata" in part for accept in tapped.accepted for part in accept.split(","))
