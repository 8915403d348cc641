"""Objects made, changed and deleted as fast as the API server takes them, from a thread of their own.

``Changes`` keeps a journal of what the API server answered: the truth that fault tests are judged by.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hookline.kube import KubeClient
from hookline.spec import Operation


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


@dataclass(frozen=True)
class Written:
    """One change that the API server committed. A deletion's own resourceVersion is not in its answer: it is empty."""

    operation: Operation
    name: str
    uid: str
    resource_version: str
    data: Mapping[str, str]
    before: Mapping[str, str]


@dataclass(frozen=True)
class Mix:
    """The shares of creations, updates and deletions; ``per_second`` 0: as fast as possible."""

    create: float = 0.4
    update: float = 0.4
    delete: float = 0.2
    per_second: float = 0.0


@dataclass
class _Live:
    name: str
    uid: str
    data: dict[str, str] = field(default_factory=dict)


class Changes:
    """Random changes of ConfigMaps in a thread: ``allow(n)`` lets n more happen, ``finish`` ends it.

    Each object belongs to one of ``workers`` writers, so that the journal has its changes in their order. An update
    changes either ``data.color``, which a filter may look at, or ``data.noise``.
    """

    def __init__(self, kubeconfig: Path, namespace: str, rng: random.Random, mix: Mix | None = None) -> None:
        self.journal: list[Written] = []
        self._kubeconfig = str(kubeconfig)
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._rng = rng
        self._mix = mix or Mix()
        self._allowed = 0
        self._begun = 0
        self._finishing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="changes")
        self._thread.start()

    def allow(self, count: int) -> None:
        """Let so many more changes happen."""
        self._allowed += count

    def finish_soon(self) -> None:
        """Nothing more will be allowed: ``working`` becomes false when all has happened."""
        self._finishing = True

    def finish(self) -> list[Written]:
        """Wait until all that was allowed has happened. Returns the journal; raises what went wrong."""
        self._finishing = True
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self.journal

    @property
    def working(self) -> bool:
        """Whether it goes on; False also when something went wrong, which ``finish`` tells."""
        return self._thread.is_alive()

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 (it belongs to who calls finish)
            self._failure = error

    async def _run(self, workers: int = 8) -> None:
        client = await KubeClient.connect(self._kubeconfig)
        run = secrets.token_hex(3)  # names of its own for each run in a namespace
        try:
            await asyncio.gather(*(self._work(client, f"{run}-{number}") for number in range(workers)))
        finally:
            await client.close()

    async def _work(self, client: KubeClient, prefix: str) -> None:
        live: list[_Live] = []
        start = time.monotonic()
        while True:
            if self._begun >= self._allowed:
                if self._finishing:
                    return
                await asyncio.sleep(0.01)  # and look again: another thread allows more
                continue
            self._begun += 1
            if self._mix.per_second:
                await asyncio.sleep(max(0.0, start + self._begun / self._mix.per_second - time.monotonic()))  # the pace
            self.journal.append(await self._change(client, live, f"{prefix}-{self._begun}"))

    async def _change(self, client: KubeClient, live: list[_Live], name: str) -> Written:
        mix, rng = self._mix, self._rng
        [kind] = rng.choices(list(Operation), (mix.create, mix.update, mix.delete))
        if kind is Operation.CREATED or not live:
            data = {"color": "0", "noise": "0"}
            made = await client.request("POST", self._path, body={"metadata": {"name": name}, "data": data})
            live.append(_Live(name, made["metadata"]["uid"], data))
            return _written(Operation.CREATED, live[-1], made, {})
        index = rng.randrange(len(live))
        one = live[index]
        if kind is Operation.DELETED:
            live[index] = live[-1]
            live.pop()
            await client.request("DELETE", f"{self._path}/{one.name}")
            return _written(kind, one, {"metadata": {"resourceVersion": ""}}, one.data)
        before = dict(one.data)
        key = rng.choice(("color", "noise"))
        one.data[key] = str(int(one.data[key]) + 1)
        made = await client.request(
            "PATCH",
            f"{self._path}/{one.name}",
            body={"data": {key: one.data[key]}},
            content_type="application/merge-patch+json",
        )
        return _written(kind, one, made, before)


def _written(
    operation: Operation, one: _Live, answer: Mapping[str, Mapping[str, str]], before: dict[str, str]
) -> Written:
    version = answer["metadata"]["resourceVersion"]
    return Written(operation, one.name, one.uid, version, dict(one.data), dict(before))
