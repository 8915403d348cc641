"""ConfigMaps made, changed and deleted, by one caller in a loop of its own.

In: a cluster and a namespace. Out: calls that return at once and are made in order; ``rest`` waits for them.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hookline.kube import KubeClient

MERGE = "application/merge-patch+json"


class Load:
    """A context manager."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._numbers = count(1)
        self._there: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._client: KubeClient = self._wait(KubeClient.connect(str(self._kubeconfig)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def create(self, data: dict[str, str]) -> None:
        """Make one that stays."""
        name = f"object-{next(self._numbers)}"
        self._request("POST", self._path, {"metadata": {"name": name}, "data": data})

    def change(self, dice: random.Random) -> None:
        """Make one, change one, or delete one."""
        number = next(self._numbers)
        turn = dice.random()
        if turn < 0.4 or not self._there:
            self._there.append(f"thing-{number}")
            body = {"metadata": {"name": self._there[-1]}, "data": {"number": str(number)}}
            self._request("POST", self._path, body)
        elif turn < 0.8:
            body = {"data": {"number": str(number)}}
            self._request("PATCH", f"{self._path}/{dice.choice(self._there)}", body)
        else:
            self._request("DELETE", f"{self._path}/{self._there.pop(dice.randrange(len(self._there)))}", None)

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def _request(self, method: str, path: str, body: Any) -> None:
        kind = MERGE if method == "PATCH" else "application/json"
        self._wait(self._client.request(method, path, body=body, content_type=kind))

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
