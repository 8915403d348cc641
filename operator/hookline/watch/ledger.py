"""What one informer has made durable: its checkpoint and its last-seen index, in the store that the app supplies.

In: seen states and commits. Out: known objects, decoded. A store that can't do it now is asked again, the same thing,
until it can: the informer stands still meanwhile, which is the back-pressure. Nothing is read ahead of a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from hookline.errors import StoreError, ValueRefused
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
    """The store, seen from one scope, with endless patience.

    ``after_commit`` is told the messages of each commit, ``on_drop`` the reason (``not_storable``) for each piece that
    the store can never hold.
    """

    def __init__(
        self,
        store: WatchStore,
        scope: Scope,
        after_commit: Callable[[Sequence[Message]], None],
        random: Callable[[], float],
        on_drop: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._key = scope.key
        self._full_key = full_key(scope.key)
        self._after_commit = after_commit
        self._on_drop = on_drop
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
        try:
            await self._persist(lambda: self._store.commit(step))
        except ValueRefused:
            messages = await self._commit_what_can_be(step)
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

    async def versions(self, uids: Iterable[str]) -> dict[str, str]:
        """The last-seen resourceVersions of these objects; absent ones are left out."""
        wanted = list(uids)
        found = await self._persist(lambda: self._store.seen(self._key, wanted))
        return {uid: seen.resource_version for uid, seen in found.items()}

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

    async def _commit_what_can_be(self, step: WatchCommit) -> Sequence[Message]:
        """Leave out, and count, what the store can never hold, so that one poison object doesn't stop the watch.

        One piece at a time and the checkpoint last: a crash between them repeats, and loses nothing. Returns the
        messages that are durable now.
        """
        kept = [message for message in step.messages if await self._holds(WatchCommit(self._key, [message]))]
        for seen in step.seen:
            await self._holds(WatchCommit(self._key, seen=[seen]))
        rest = WatchCommit(self._key, forgotten=step.forgotten, resource_version=step.resource_version)
        await self._holds(rest)
        return kept

    async def _holds(self, piece: WatchCommit) -> bool:
        try:
            await self._persist(lambda: self._store.commit(piece))
        except ValueRefused as error:
            _log.error("left out what can't be stored: %s", error, extra={"watch": self._key})
            self._on_drop("not_storable")
            return False
        return True

    async def _persist(self, step: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                return await step()
            except ValueRefused:
                raise
            except StoreError as error:
                failures += 1
                _log.warning("a watch stands still: the store fails (%s)", error, extra={"watch": self._key})
                await asyncio.sleep(delay(failures, _PAUSES, self._random))


def full_key(scope_key: str) -> str:
    """The store key beside a scope's own under which ``mark_full`` keeps its note; forget both together."""
    return f"{scope_key}#full"
