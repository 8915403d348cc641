"""Once-only for actions that no transaction covers: claimed, performed, recorded.

In: ``perform``, which does one thing and raises when it did not work. Out: an action that is not repeated when it
worked, and is tried again when it failed; after a crash in between it is repeated once the lease has run out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hookline.receiver.faults import described
from hookline.receiver.once import Claim, OnceStore
from hookline.receiver.template import Event

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leased:
    """``perform`` under a claim in ``store``."""

    store: OnceStore[Any]
    perform: Callable[[Event], Awaitable[None]]

    async def run(self, event: Event, scope: str) -> None:
        """Perform it once. Raises AlreadyProcessed, InProgress, OnceUnavailable, and what ``perform`` raises."""
        claim = await asyncio.to_thread(self.store.begin, event.id, scope)
        try:
            await self.perform(event)
        except BaseException:  # whatever it is: a claim that is kept would hold off the next attempt for the lease
            await self._release(claim, event)
            raise
        try:
            alone = await asyncio.to_thread(self.store.finish, claim)
        except Exception:  # noqa: BLE001 (it worked: to answer 503 now would surely repeat it)
            alone = False
        if not alone:
            log.warning("an action may be performed twice", extra={"endpoint": event.endpoint, "id": event.id})

    async def _release(self, claim: Claim, event: Event) -> None:
        try:
            await asyncio.to_thread(self.store.release, claim)
        except Exception as error:  # noqa: BLE001 (the one that is being raised says more)
            about = {"endpoint": event.endpoint, "id": event.id, "reason": described(error)}
            log.warning("a claim could not be given back: the message waits for the lease", extra=about)
