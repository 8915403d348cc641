"""The outbox for readers: what is asked of it, in turns, so that readers take no more than a share of its time.

In: what somebody wants to see. Out: deliveries. One read is made at a time, which takes a millisecond or two, and after
each the outbox is left alone for ``REST_SECONDS``: all readers together take about a tenth of its time at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from hookline.model import Message
from hookline.serve.limits import Clock
from hookline.stored import Delivery, DeliveryPage, DeliveryState

REST_SECONDS = 0.01
CALLS, PAGE_SECONDS = 40, 3.0
"""Reads for one page, and their time: where few of many match, it is short, and the next page goes on behind."""


class Outbox(Protocol):
    """The part of the store that is used here; see ``hookline.outbox.store``. Every method raises StoreError."""

    async def deliveries(
        self, subscription: str, states: Collection[DeliveryState], limit: int, before: int | None = None
    ) -> DeliveryPage:
        """A page, the newest first."""
        ...

    async def delivery(self, subscription: str, message_id: str) -> tuple[Delivery, Message] | None:
        """One with its content."""
        ...

    async def deliveries_of(self, subscription: str, ids: Sequence[str]) -> Mapping[str, Delivery]:
        """Some, as they are now."""
        ...

    async def follow(self, subscription: str, told: Callable[[str], None]) -> Callable[[], None]:
        """Be told the ids of those that change."""
        ...


class Reader:
    """Reads the outbox in turns. ``clock`` is monotonic seconds."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._lock = asyncio.Lock()
        self._free_at = clock()

    async def page(
        self, uid: str, states: Collection[DeliveryState], limit: int, before: int | None = None
    ) -> DeliveryPage:
        """At most ``limit`` deliveries, the newest first."""
        found: list[Delivery] = []
        end = self._clock() + PAGE_SECONDS
        for _ in range(CALLS):
            async with self._turn():
                part = await self._outbox.deliveries(uid, states, limit - len(found), before)
            found += part.items
            before = part.before
            if before is None or len(found) >= limit or self._clock() > end:
                break
        return DeliveryPage(tuple(found), before)

    async def one(self, uid: str, ident: str) -> tuple[Delivery, Message] | None:
        """One delivery with its content."""
        async with self._turn():
            return await self._outbox.delivery(uid, ident)

    async def some(self, uid: str, ids: Sequence[str]) -> Mapping[str, Delivery]:
        """These deliveries as they are now."""
        async with self._turn():
            return await self._outbox.deliveries_of(uid, ids)

    async def follow(self, uid: str, told: Callable[[str], None]) -> Callable[[], None]:
        """Be told the ids of deliveries that change, until what is returned is called."""
        return await self._outbox.follow(uid, told)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with self._lock:
            if (rest := self._free_at - self._clock()) > 0:
                await asyncio.sleep(rest)
            try:
                yield
            finally:
                self._free_at = self._clock() + REST_SECONDS
