"""What one informer has made durable: its checkpoint and its last-seen index, in the store that the app supplies.

In: seen states and commits. Out: known objects, decoded. A store that can't do it now is asked again, the same thing,
until it can: the informer stands still meanwhile, which is the back-pressure. Nothing is read ahead of a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from hookline.errors import StoreError
from hookline.model import Message, Scope, Seen, WatchCommit
from hookline.watch.detect import Known
from hookline.watch.pace import delay
from hookline.watch.projection import restore

RELIST = "relist"
"""A checkpoint that stands for "list and compare": in force from the start of a comparison until it is complete."""

_PAUSES = (0.1, 5.0)
_log = logging.getLogger(__name__)
T = TypeVar("T")


class WatchStore(Protocol):
    """The part of the outbox's Store that a watch needs; each method raises StoreError when it can't be done now."""

    async def commit(self, commit: WatchCommit) -> int:
        """Make one step durable, all or nothing."""

    async def checkpoint(self, scope_key: str) -> str | None:
        """The resourceVersion of the last commit that carried one."""

    async def seen(self, scope_key: str, uids: Sequence[str]) -> Mapping[str, Seen]:
        """Last-seen entries by uid."""

    async def seen_uids(self, scope_key: str) -> frozenset[str]:
        """All uids of the last-seen index."""

    async def forget_scope(self, scope_key: str) -> None:
        """Drop checkpoint and index."""


class Ledger:
    """The store, seen from one scope, with endless patience. ``after_commit`` is told the messages of each commit."""

    def __init__(
        self,
        store: WatchStore,
        scope: Scope,
        after_commit: Callable[[Sequence[Message]], None],
        random: Callable[[], float],
    ) -> None:
        self._store = store
        self._key = scope.key
        self._full_key = full_key(scope.key)
        self._after_commit = after_commit
        self._random = random

    async def commit(
        self,
        messages: Sequence[Message] = (),
        seen: Sequence[Seen] = (),
        forgotten: Sequence[str] = (),
        resource_version: str | None = None,
    ) -> None:
        """Make one step durable; returns when it is."""
        if not (messages or seen or forgotten or resource_version):
            return
        step = WatchCommit(self._key, messages, seen, forgotten, resource_version)
        await self._persist(lambda: self._store.commit(step))
        if messages:
            self._after_commit(messages)

    async def checkpoint(self) -> str | None:
        """Where to resume; ``RELIST`` after an interrupted comparison; None when nothing was listed ever."""
        return await self._persist(lambda: self._store.checkpoint(self._key))

    async def known(self, uids: Iterable[str]) -> dict[str, Known]:
        """The last-seen states of these objects; absent ones are left out."""
        wanted = list(uids)
        if not wanted:
            return {}
        found = await self._persist(lambda: self._store.seen(self._key, wanted))
        return {uid: Known(seen.resource_version, restore(seen), seen.full) for uid, seen in found.items()}

    async def uids(self) -> frozenset[str]:
        """The uids of all known objects."""
        return await self._persist(lambda: self._store.seen_uids(self._key))

    async def is_full(self) -> bool:
        """Whether every known object was kept whole."""
        return await self._persist(lambda: self._store.checkpoint(self._full_key)) is not None

    async def mark_full(self, *, full: bool) -> None:
        """Note durably that every known object is kept whole, or no longer."""
        if full:
            await self._persist(lambda: self._store.commit(WatchCommit(self._full_key, resource_version="full")))
        else:
            await self._persist(lambda: self._store.forget_scope(self._full_key))

    async def _persist(self, step: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                return await step()
            except StoreError as error:
                failures += 1
                _log.warning("watch %s stands still: the store fails (%s)", self._key, error)
                await asyncio.sleep(delay(failures, _PAUSES, self._random))


def full_key(scope_key: str) -> str:
    """The store key beside a scope's own under which ``mark_full`` keeps its note; forget both together."""
    return f"{scope_key}#full"
