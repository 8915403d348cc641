"""Telling somebody what changes: the lines of one stream, bounded in memory, in time and in pace.

In: ids of deliveries that changed, as the outbox tells them. Out: lines. What changed is read when it is told, so that
many changes of one delivery become one line; where more change than can be told, the number of the others is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Sequence
from typing import TypeVar

from hookline.serve import shapes
from hookline.serve.browse import Reader
from hookline.serve.limits import Clock
from hookline.serve.refusals import Refused
from hookline.stored import Delivery, DeliveryState

BUFFER = 500
KNOWN = 500
PACE_SECONDS = 0.25
PART = 100
"""Deliveries that are read and told at a time: what a slow reader keeps in memory."""
CHECK_SECONDS = 5.0
RETRY_SECONDS = 1.0
GRACE_SECONDS = 10.0
"""After the last good check: so long a stream goes on while nobody can be asked whether it may."""
LOOK_SECONDS = 10.0
"""What was told is looked at again so often: not every change is announced."""
BOOKMARK_SECONDS = 15.0

T = TypeVar("T")
Check = Callable[[], Awaitable[None]]
"""Returns while the follower may go on. Raises Refused."""


class Follower:
    """One stream of the deliveries of ``uid``. ``clock`` is monotonic seconds."""

    def __init__(
        self, reader: Reader, owner: shapes.Owner, uid: str, states: Collection[DeliveryState], clock: Clock
    ) -> None:
        self._reader = reader
        self._owner = owner
        self._uid = uid
        self._states = states
        self._clock = clock
        self._changed: dict[str, None] = {}
        self._skipped = 0
        self._known: OrderedDict[str, Delivery] = OrderedDict()
        self._wake = asyncio.Event()
        self._good_at = clock()
        self._stopped = False

    def stop(self) -> None:
        """End the stream soon."""
        self._stopped = True
        self._wake.set()

    def told(self, ident: str) -> None:
        """This delivery changed."""
        if ident not in self._changed:
            if len(self._changed) < BUFFER:
                self._changed[ident] = None
            else:
                self._skipped += 1
        self._wake.set()

    async def lines(self, tail: int, seconds: float, check: Check) -> AsyncGenerator[bytes, None]:
        """The lines, for so many seconds, the last ``tail`` deliveries first. Raises StoreError, Refused."""
        end = await self._reader.follow(self._uid, self.told)
        try:
            async with contextlib.aclosing(self._lines(tail, seconds, check)) as found:
                async for lines in found:
                    yield lines
        finally:
            end()

    async def _lines(self, tail: int, seconds: float, check: Check) -> AsyncGenerator[bytes, None]:
        begun = self._good_at = self._clock()
        if tail:
            last = await self._reader.page(self._uid, self._states, tail)
            for items in _parts([*reversed(last.items)]):
                yield b"".join(self._tell(item.id, item) for item in items)
        look, check_at, told = begun + LOOK_SECONDS, begun + CHECK_SECONDS, begun
        while not self._stopped and (now := self._clock()) < begun + seconds:
            if now >= check_at:
                check_at = await self._checked(check)
            ids = [*self._changed]
            if now >= look:
                ids += [ident for ident in self._known if ident not in self._changed]
                look = now + LOOK_SECONDS
            self._changed.clear()
            for some in _parts(ids):
                if self._clock() >= check_at:
                    check_at = await self._checked(check)
                if lines := await self._look(some):
                    yield lines
                    told = now
            if self._skipped or now >= told + BOOKMARK_SECONDS:
                skipped, self._skipped = self._skipped, 0
                yield shapes.bookmark(skipped)
                told = now
            await asyncio.sleep(PACE_SECONDS)
            await self._woken(min(look, check_at, told + BOOKMARK_SECONDS, begun + seconds))

    async def _checked(self, check: Check) -> float:
        """When to check again. Raises Refused, where nobody can be asked only after a time."""
        try:
            await check()
        except Refused as refused:
            now = self._clock()
            if refused.code not in (429, 503) or now >= self._good_at + GRACE_SECONDS:
                raise
            return min(now + RETRY_SECONDS, self._good_at + GRACE_SECONDS)
        self._good_at = self._clock()
        return self._good_at + CHECK_SECONDS

    async def _look(self, ids: Sequence[str]) -> bytes:
        found = await self._reader.some(self._uid, ids)
        order = sorted(ids, key=lambda ident: found[ident].sequence if ident in found else -1)
        return b"".join(self._tell(ident, found.get(ident)) for ident in order)

    def _tell(self, ident: str, now: Delivery | None) -> bytes:
        """The line for a delivery that may have changed; empty when there is nothing to tell."""
        before = self._known.pop(ident, None)
        if now is None or now.state not in self._states:
            if before is None:
                return b""
            return shapes.event("DELETED", shapes.delivery(self._owner, now or before))
        self._known[ident] = now
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        if now == before:
            return b""
        return shapes.event("ADDED" if before is None else "MODIFIED", shapes.delivery(self._owner, now))

    async def _woken(self, until: float) -> None:
        """Wait until something changed, or until then."""
        if not self._changed and not self._stopped:
            self._wake.clear()
            try:
                async with asyncio.timeout(max(until - self._clock(), 0.0)):
                    await self._wake.wait()
            except TimeoutError:
                pass


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The same in parts of ``PART``."""
    for first in range(0, len(items), PART):
        yield items[first : first + PART]


def ending(refused: Refused) -> bytes:
    """The last line of a stream that may not go on."""
    return shapes.event("ERROR", shapes.status(refused))
