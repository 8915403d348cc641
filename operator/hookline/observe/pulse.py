"""Whether the event loop turns: how late a task wakes that only sleeps.

In: time. Out: the worst lateness since somebody asked, for ``/metrics`` and ``/healthz``. A loop that is stuck for good
answers no probe at all, which the kubelet counts as a failure.
"""

from __future__ import annotations

import asyncio

BEAT_SECONDS = 0.25


class Pulse:
    """The heartbeat of the loop that runs it."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._last = 0.0

    @property
    def lag(self) -> float:
        """Seconds that the latest beat came too late."""
        return self._last

    def worst(self) -> float:
        """The longest lag since the last call of this, in seconds."""
        worst, self._worst = max(self._worst, self._last), 0.0
        return worst

    async def run(self) -> None:
        """Beat for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self._last = max(0.0, loop.time() - due)
            self._worst = max(self._worst, self._last)
