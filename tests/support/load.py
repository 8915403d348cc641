"""Objects made as fast as the API server takes them, from a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from hookline.kube import KubeClient


def in_thread(work: Callable[[], None]) -> threading.Thread:
    """Start ``work`` in a thread; join it before the test ends."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def create_config_maps(kubeconfig: Path, namespace: str, names: list[str], workers: int = 32) -> None:
    """Create ConfigMaps with ``workers`` requests at a time; returns when all are made."""

    async def run() -> None:
        client = await KubeClient.connect(str(kubeconfig))
        waiting = iter(names)

        async def work() -> None:
            for name in waiting:
                body = {"metadata": {"name": name}, "data": {"name": name}}
                await client.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)

        try:
            await asyncio.gather(*(work() for _ in range(workers)))
        finally:
            await client.close()

    asyncio.run(run())
