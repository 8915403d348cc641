"""What was really written to the API server, and what is wrong with what a watcher told of it.

In: objects to write. Out: facts as the API server answered them, and ``judge``, which compares.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hookline.errors import ApiError, Conflict
from hookline.model import Change
from hookline.spec import Operation
from support.watching import Objects

UNCERTAIN = {0, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Fact:
    """One change: of the journal, or as told. ``version`` is the object's; a deletion's is empty."""

    operation: Operation
    uid: str
    version: str
    coalesced: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, change: Change) -> Fact:
        """What a watcher told."""
        deleted = change.operation is Operation.DELETED
        version = "" if deleted else change.object["metadata"]["resourceVersion"]
        return cls(change.operation, change.uid, version, change.coalesced)


class Writer:
    """Writes objects and keeps the journal. What fails with an uncertain outcome is asked again until it is certain."""

    def __init__(self, objects: Objects) -> None:
        self.facts: list[Fact] = []
        self.uids: dict[str, str] = {}
        self._objects = objects
        self._counts: dict[str, int] = {}
        self._live: dict[int, list[str]] = {}

    async def create(self, name: str) -> None:
        try:
            made = await self._insist(lambda: self._objects.create(name, data={"n": "0"}))
        except Conflict:  # an attempt of uncertain outcome had succeeded
            made = await self._insist(lambda: self._objects.client.request("GET", f"{self._objects.path}/{name}"))
        self.uids[name], self._counts[name] = made["metadata"]["uid"], 0
        self._note(Operation.CREATED, name, made)

    async def update(self, name: str) -> None:
        self._counts[name] += 1
        made = await self._insist(lambda: self._objects.patch(name, data={"n": str(self._counts[name])}))
        self._note(Operation.UPDATED, name, made)

    async def delete(self, name: str) -> None:
        try:
            await self._insist(lambda: self._objects.delete(name))
        except ApiError as error:
            if error.status != 404:
                raise
        self.facts.append(Fact(Operation.DELETED, self.uids.pop(name), ""))

    async def all(self, work: Callable[[str], Awaitable[None]], names: Iterable[str], workers: int = 16) -> None:
        """Do the same with many, several at a time."""
        waiting = iter(names)

        async def one() -> None:
            for name in waiting:
                await work(name)

        await asyncio.gather(*(one() for _ in range(workers)))

    async def churn(self, label: str, count: int, workers: int = 8) -> None:
        """So many changes of every kind, also of the objects of earlier calls; the same ones in every run."""
        await asyncio.gather(*(self._churn(label, number, count // workers) for number in range(workers)))

    async def _churn(self, label: str, worker: int, count: int) -> None:
        label = f"{label}-{worker}"
        rng = random.Random(label)
        live = self._live.setdefault(worker, [])
        for number in range(count):
            dice = rng.random()
            if dice < 0.45 or not live:
                live.append(f"{label}-{number}")
                await self.create(live[-1])
            elif dice < 0.75:
                await self.update(rng.choice(live))
            else:
                await self.delete(live.pop(rng.randrange(len(live))))

    async def _insist(self, work: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await work()
            except ApiError as error:
                if error.status not in UNCERTAIN:
                    raise
                await asyncio.sleep(0.1)  # and try again

    def _note(self, operation: Operation, name: str, made: Any) -> None:
        fact = Fact(operation, self.uids[name], made["metadata"]["resourceVersion"])
        self.facts.append(fact)


@dataclass(frozen=True)
class Findings:
    """All that is wrong; each is empty when all is well.

    ``untold``: facts of the journal that were not told as they are. The rest judges only the end, as must be right even
    where a gap may have merged changes: ``missed_deletes`` of objects that were told before, ``false_deletes``,
    ``stale``: existing objects of which the last state was not told last, ``uncreated``: existing objects never told as
    created, ``doubled``: told more than once.
    """

    untold: Sequence[Fact]
    missed_deletes: frozenset[str]
    false_deletes: frozenset[str]
    stale: frozenset[str]
    uncreated: frozenset[str]
    doubled: Sequence[Fact]

    @property
    def end(self) -> dict[str, int]:
        """How much is wrong with the end."""
        return {name: len(found) for name, found in vars(self).items() if found and name != "untold"}


def judge(journal: Sequence[Fact], told: Sequence[Fact]) -> Findings:
    """Compare; objects that the journal doesn't know are left out of account."""
    uids = {fact.uid for fact in journal}
    told = [fact for fact in told if fact.uid in uids]
    deleted = {fact.uid for fact in journal if fact.operation is Operation.DELETED}
    told_deleted = {fact.uid for fact in told if fact.operation is Operation.DELETED}
    last = {fact.uid: fact.version for fact in journal}
    last_told = {fact.uid: fact.version for fact in told}
    created = {fact.uid for fact in told if fact.operation is Operation.CREATED}
    here = uids - deleted
    known = set(told)
    return Findings(
        untold=[fact for fact in journal if fact not in known],
        missed_deletes=frozenset(deleted & last_told.keys() - told_deleted),
        false_deletes=frozenset(told_deleted - deleted),
        stale=frozenset(uid for uid in here if last_told.get(uid) != last[uid]),
        uncreated=frozenset(here - created),
        doubled=[fact for fact, count in Counter(told).items() if count > 1],
    )
