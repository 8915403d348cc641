"""What the dispatcher needs of ``hookline.outbox.store.Store``: hand out what is due, take back what was not tried."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Protocol

from hookline.deliver.recorder import Recording
from hookline.model import Claimed


class Outbox(Recording, Protocol):
    """What the dispatcher needs of ``hookline.outbox.store.Store``."""

    async def claim(
        self,
        wanted: Mapping[str, int],
        now: float,
        *,
        ordered: Container[str],
        retries: Mapping[str, int],
        room: Mapping[str, int],
    ) -> Sequence[Claimed]:
        """Hand out due messages, at most ``wanted[subscription]`` of each."""

    async def release(self, rows: Sequence[int]) -> None:
        """Give claimed messages back untried."""

    async def next_due(self) -> Mapping[str, float]:
        """When the earliest unclaimed message of each subscription is due."""
