"""What tests against the API server share beyond the root's fixtures: a client, an outbox, ConfigMaps to change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane import ControlPlane
from hookline.kube import KubeClient
from hookline.outbox.sqlite import SqliteStore
from support.watching import Objects


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(str(control_plane.kubeconfig))
    yield client
    await client.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def maps(client: KubeClient, namespace: str) -> Objects:
    return Objects(client, namespace)
