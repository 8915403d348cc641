"""Sharing the event loop during work of some length."""

from __future__ import annotations

import asyncio
import time

TURN_SECONDS = 0.02
"""The event loop gets its turn after so long, between two expressions that are not of one change's matching."""


class Turn:
    """A turn of the event loop that begins now."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def share(self) -> None:
        """Let others run, if the turn has lasted long enough; then another one begins."""
        if time.monotonic() > self._began + TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = time.monotonic()
