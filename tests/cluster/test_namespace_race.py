"""An object that comes before its namespace does: two streams of the API server have no order between them."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from controlplane import ControlPlane
from hookline.flow import Flow
from hookline.kube import KubeClient
from hookline.observe.metrics import Metrics
from hookline.outbox.sqlite import SqliteStore
from hookline.settings import Settings
from hookline.spec import LabelRequirement, LabelSelector, NamespacesFrom, Source
from hookline.status.writer import StatusWriter
from hookline.watch.manager import WatchManager
from hookline.watch.namespaces import NamespaceIndex
from hookline.watch.teller import Hooks
from support.samples import subscription
from support.watching import CONFIG_MAPS, QUICK, Objects

PATIENCE = 30.0


async def test_the_first_object_of_a_namespace_is_told_however_late_the_namespace_is(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    client = await KubeClient.connect(str(control_plane.kubeconfig))
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    team = f"team-{uuid.uuid4().hex[:12]}"
    selector = LabelSelector((LabelRequirement("team", "In", frozenset({team})),))
    source = Source(
        "v1",
        "ConfigMap",
        NamespacesFrom.SELECTOR,
        namespace_selector=selector,
        names=frozenset({"first"}),
    )
    ours = subscription(sources=(source,))
    index = NamespaceIndex(client, random=random.random, pace=QUICK)
    status = StatusWriter(client, 1.0, time.time)
    told: list[Any] = []
    attached = asyncio.Event()
    flow = Flow(Settings(), store, {}, index, None, status, Metrics())  # type: ignore[arg-type]

    def attach(*args: Any) -> None:
        flow.attached(*args)
        attached.set()

    watches = WatchManager(
        client,
        store,
        Hooks(flow.sink, told.extend),
        clock=time.time,
        random=random.random,
        on_attached=attach,
        pace=QUICK,
    )
    flow.join(watches, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    try:
        await flow.activate(ours, [CONFIG_MAPS])
        await index.close()  # so that its watch is as late as can be
        await watches.start()
        await asyncio.wait_for(attached.wait(), PATIENCE)
        name = f"test-{uuid.uuid4().hex[:12]}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}}
        await client.request("POST", "/api/v1/namespaces", body=body)
        await Objects(client, name).create("first")
        async with asyncio.timeout(PATIENCE):
            while not told:  # noqa: ASYNC110 (no event stands for it)
                await asyncio.sleep(0.02)
    finally:
        await watches.close()
        await store.close()
        await client.close()
    assert [message.event_type.rpartition(".")[2] for message in told] == ["created"]
