"""A bounded queue between the event loop and a thread that sends: whatever the thread meets, the loop never waits.

In: items, by ``put``. Out: batches, to ``send``. What finds the queue full is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many items wait at most, how many are sent at once, and after how many seconds at the latest."""

    queue: int = 2048
    batch: int = 512
    delay: float = 5.0


class SendQueue(Generic[T]):
    """``send`` returns why it failed, empty when it did not; it is called in the thread. ``counted`` is told of all."""

    def __init__(
        self, send: Callable[[Sequence[T]], str], counted: Callable[[str, int], None], limits: Limits = Limits()
    ) -> None:
        self._send = send
        self._counted = counted
        self._limits = limits
        self._items: deque[T] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Take an item over, or drop it."""
        waiting = len(self._items)
        if waiting >= self._limits.queue:
            self._counted("queue_full", 1)
            return
        self._items.append(item)
        if waiting + 1 >= self._limits.batch and not self._wake.is_set():
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Send what waits and end the thread; what it can't do in that time is lost. Blocks."""
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping:
            begun = time.monotonic()
            self._wake.wait(self._limits.delay)
            self._wake.clear()
            late = time.monotonic() >= begun + self._limits.delay
            while len(self._items) >= self._limits.batch or (self._items and (late or self._stopping)):
                self._send_some()

    def _send_some(self) -> None:
        batch = [self._items.popleft() for _ in range(min(len(self._items), self._limits.batch))]
        try:
            problem = self._send(batch)
        except Exception as error:  # noqa: BLE001 (whatever it is must not end the thread)
            problem = type(error).__name__
        self._counted("export_failed" if problem else "exported", len(batch))
        if problem and not self._problem:
            log.warning("traces can't be exported, they are dropped until it works again", extra={"reason": problem})
        elif self._problem and not problem:
            log.info("traces are exported again")
        self._problem = problem
