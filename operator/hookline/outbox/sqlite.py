"""The embedded outbox: ``Store`` in one SQLite file that one process owns.

In: calls from the event loop that opened it. Out: results, after what they did is on the disk. The calls of all
callers that wait at the same time share one transaction and one fsync (``sqlite_writer``). The next step is the
deliver room, which claims.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path

from hookline.errors import StoreError
from hookline.model import Attempt, Claimed, Counts, Message, Seen, WatchCommit
from hookline.outbox.followers import Followers
from hookline.outbox.sealing import Sealing
from hookline.outbox.sqlite_messages import NOTHING
from hookline.outbox.sqlite_writer import Session, Writer
from hookline.stored import Delivery, DeliveryPage, DeliveryState, Pruned, Replay, ReplayCounts, Retention

log = logging.getLogger(__name__)

Found = tuple[list[Claimed], dict[int, str]]
"""What a claim found: messages, and rows that can't be opened, with their names."""

FORGET_AT_ONCE = 2000
"""Messages deleted in one transaction: a thousand take some ten milliseconds."""


class SqliteStore:
    """An outbox in the file ``path``, which must be on a local disk. ``clock`` gives Unix seconds.

    ``sealing`` has the keys with which bodies and last-seen objects are sealed; by default there is none.

    A call that is cancelled may still take effect, except ``claim``: what it had claimed is released.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, sealing: Sealing | None = None) -> None:
        self._path = path
        self._clock = clock
        self._sealing = sealing or Sealing()
        self._current: Writer | None = None
        self._ordered: dict[str, bool] = {}  # as the file says, where it is known
        self._followers = Followers()

    @property
    def _writer(self) -> Writer:
        if self._current is None:
            raise StoreError(f"outbox {self._path}: not open")
        return self._current

    async def open(self) -> None:
        """Open or create the file and bring its schema up to date. Raises StoreVersionError on a newer schema.

        Raises StoreError when another process owns the file, or when it is no outbox, and StoreKeyMissing when it holds
        what was sealed with a key that is not configured; nothing is changed then.
        """
        if self._current is not None:
            raise StoreError(f"outbox {self._path}: open already")
        writer = Writer(self._path, self._clock, self._sealing)
        await writer.start()
        self._current = writer

    async def close(self) -> None:
        """Finish what was begun, close the file and end the thread; later calls raise StoreError."""
        writer, self._current = self._current, None
        if writer is not None:
            await writer.stop()

    async def take_over(self, epoch: int) -> None:
        """See ``Store.take_over``."""
        await self._writer.submit(lambda s: s.fence.take_over(epoch), writes=True, fenced=False)

    async def commit(self, commit: WatchCommit) -> int:
        """See ``Store.commit``."""

        def work(session: Session) -> int:
            new = session.messages.add(commit.messages)
            session.marks.advance(commit)
            return new

        new = await self._writer.submit(work, writes=True)
        self._followers.tell((message.subscription, message.id) for message in commit.messages)
        return new

    async def checkpoint(self, scope_key: str) -> str | None:
        """See ``Store.checkpoint``."""
        return await self._writer.submit(lambda s: s.marks.checkpoint(scope_key), writes=False)

    async def seen(self, scope_key: str, uids: Sequence[str]) -> Mapping[str, Seen]:
        """See ``Store.seen``."""
        return await self._writer.submit(lambda s: s.marks.seen(scope_key, uids), writes=False)

    async def seen_uids(self, scope_key: str) -> frozenset[str]:
        """See ``Store.seen_uids``."""
        return await self._writer.submit(lambda s: s.marks.seen_uids(scope_key), writes=False)

    async def attach(self, subscription: str, scope_key: str, since: str) -> str:
        """See ``Store.attach``."""
        return await self._writer.submit(lambda s: s.marks.attach(subscription, scope_key, since), writes=True)

    async def attachments(self) -> Mapping[tuple[str, str], str]:
        """See ``Store.attachments``."""
        return await self._writer.submit(lambda s: s.marks.attachments(), writes=False)

    async def detach(self, subscription: str, scope_key: str) -> None:
        """See ``Store.detach``."""
        await self._writer.submit(lambda s: s.marks.detach(subscription, scope_key), writes=True)

    async def forget_scope(self, scope_key: str) -> None:
        """See ``Store.forget_scope``."""
        await self._writer.submit(lambda s: s.marks.forget_scope(scope_key), writes=True)

    async def forget_subscription(self, subscription: str) -> None:
        """See ``Store.forget_subscription``. Piece by piece, so that nobody waits for the whole of it."""
        self._ordered.pop(subscription, None)
        while not await self._writer.submit(lambda s: s.messages.forget(subscription, FORGET_AT_ONCE), writes=True):
            pass

    async def subscriptions(self) -> frozenset[str]:
        """See ``Store.subscriptions``."""
        return await self._writer.submit(lambda s: s.marks.subscriptions(), writes=False)

    async def sequences(self) -> Mapping[str, int]:
        """See ``Store.sequences``."""
        return await self._writer.submit(lambda s: s.messages.sequences(), writes=False)

    async def claim(
        self,
        wanted: Mapping[str, int],
        now: float,
        *,
        ordered: Container[str] = (),
        retries: Mapping[str, int] = NOTHING,
        room: Mapping[str, int] = NOTHING,
    ) -> Sequence[Claimed]:
        """See ``Store.claim``. Claims live in memory: the process that could end them is the one that holds them."""
        while True:
            claimed, broken = await self._claim(wanted, now, ordered, retries, room)
            if not broken or not await self._bury(claimed, broken):
                self._followers.tell((item.message.subscription, item.message.id) for item in claimed)
                return claimed

    async def _claim(
        self,
        wanted: Mapping[str, int],
        now: float,
        ordered: Container[str],
        retries: Mapping[str, int],
        room: Mapping[str, int],
    ) -> Found:
        writer = self._writer
        switched = {uid: uid in ordered for uid in wanted if self._ordered.get(uid) != (uid in ordered)}

        def work(session: Session) -> Found:
            for uid, flag in switched.items():
                session.messages.order(uid, ordered=flag)
            return session.messages.claim(wanted, now, ordered, retries, room), session.messages.broken()

        claimed = writer.submit(work, writes=bool(switched))
        try:
            result = await asyncio.shield(claimed)
        except asyncio.CancelledError:
            claimed.add_done_callback(lambda done: None if done.exception() else _give_back(writer, *done.result()))
            raise
        self._ordered.update(switched)
        return result

    async def _bury(self, claimed: Sequence[Claimed], broken: Mapping[int, str]) -> bool:
        """Give up what can't be opened, and give back the rest, to be claimed together with what is behind.

        Returns whether that was stored; else the rest stays claimed.
        """
        writer = self._writer

        def work(session: Session) -> None:
            session.messages.bury(broken)
            session.messages.claims.drop(item.row for item in claimed)

        try:
            await asyncio.shield(writer.submit(work, writes=True))
        except StoreError as error:
            log.warning("messages that can't be opened are not given up yet: %s", error)
            writer.submit(lambda s: s.messages.claims.drop(broken), writes=False)
            return False
        except asyncio.CancelledError:
            _give_back(writer, claimed, broken)
            raise
        for name in broken.values():
            log.error("a message was given up: what is sealed of it was changed, or moved from another row: %s", name)
        return True

    async def release(self, rows: Sequence[int]) -> None:
        """See ``Store.release``."""
        await self._writer.submit(lambda s: s.messages.claims.drop(rows), writes=False)

    async def record(self, attempts: Sequence[Attempt]) -> None:
        """See ``Store.record``. A message that was pruned, forgotten or finished meanwhile stays as it is."""
        await self._writer.submit(lambda s: s.messages.record(attempts), writes=True)
        self._followers.tell((item.claimed.message.subscription, item.claimed.message.id) for item in attempts)

    async def next_due(self) -> Mapping[str, float]:
        """See ``Store.next_due``."""
        return await self._writer.submit(lambda s: s.messages.next_due(), writes=False)

    async def counts(self) -> Mapping[str, Counts]:
        """See ``Store.counts``."""
        return await self._writer.submit(lambda s: s.messages.counts(), writes=False)

    async def prune(self, delivered: Retention, dead: Retention, limit: int) -> Pruned:
        """See ``Store.prune``."""
        return await self._writer.submit(lambda s: s.keeper.prune(delivered, dead, limit), writes=True)

    async def replay(self, request: Replay) -> ReplayCounts:
        """See ``Store.replay``."""
        return await self._writer.submit(lambda s: s.replays.replay(request), writes=True)

    async def grounds(self, request: Replay | None = None) -> Mapping[str, frozenset[str]]:
        """See ``Store.grounds``."""
        if request is None:
            return await self._writer.submit(lambda s: s.messages.grounds(), writes=False)
        selected = await self._writer.submit(lambda s: s.replays.grounds(request), writes=False)
        return {request.subscription: selected}

    async def replay_counts(self) -> Mapping[str, ReplayCounts]:
        """See ``Store.replay_counts``."""
        return await self._writer.submit(lambda s: s.replays.counts(), writes=False)

    async def forget_replay(self, uid: str) -> None:
        """See ``Store.forget_replay``."""
        await self._writer.submit(lambda s: s.replays.forget(uid), writes=True)

    async def deliveries(
        self, subscription: str, states: Collection[DeliveryState], limit: int, before: int | None = None
    ) -> DeliveryPage:
        """See ``Store.deliveries``."""
        return await self._writer.submit(lambda s: s.browser.page(subscription, states, limit, before), writes=False)

    async def delivery(self, subscription: str, message_id: str) -> tuple[Delivery, Message] | None:
        """See ``Store.delivery``."""
        return await self._writer.submit(lambda s: s.browser.one(subscription, message_id), writes=False)

    async def deliveries_of(self, subscription: str, ids: Sequence[str]) -> Mapping[str, Delivery]:
        """See ``Store.deliveries_of``."""
        return await self._writer.submit(lambda s: s.browser.some(subscription, ids), writes=False)

    async def follow(self, subscription: str, told: Callable[[str], None]) -> Callable[[], None]:
        """See ``Store.follow``."""
        self._writer  # noqa: B018 (raises when it is not open)
        return self._followers.add(subscription, told)

    async def size(self) -> int:
        """See ``Store.size``."""
        return await self._writer.submit(lambda s: s.database.size(), writes=False)

    async def free(self) -> int:
        """See ``Store.free``."""
        return await self._writer.submit(lambda s: s.database.free(), writes=False)


def _give_back(writer: Writer, claimed: Sequence[Claimed], broken: Iterable[int]) -> None:
    """Release what a cancelled ``claim`` had claimed: nobody was told of it."""
    if writer.accepting:
        rows = [*(item.row for item in claimed), *broken]
        writer.submit(lambda s: s.messages.claims.drop(rows), writes=False)
