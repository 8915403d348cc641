"""The frozen values that speak of stored messages: what is kept of them, and which are sent again.

As in ``hookline.model``: no I/O, no clock. The outbox is asked with them and answers with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hookline.model import Counts


@dataclass(frozen=True, slots=True)
class Retention:
    """How long and how much of the messages of one finished state is kept.

    Those finished before ``since`` go, and the oldest of those that hold more than ``size`` bytes together.
    """

    since: float
    size: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many finished messages were deleted, by state: for their age, and for the room that they took."""

    aged: Counts = field(default_factory=Counts)
    crowded: Counts = field(default_factory=Counts)

    @property
    def total(self) -> int:
        """All of them."""
        return self.aged.delivered + self.aged.dead + self.crowded.delivered + self.crowded.dead


class DeliveryState(StrEnum):
    """Where a stored message is on its way. One that is in flight waits, too: it is handed out for an attempt."""

    PENDING = "Pending"
    IN_FLIGHT = "InFlight"
    DELIVERED = "Delivered"
    DEAD = "Dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stored message without its content, and what became of it.

    ``id`` is its webhook-id, ``size`` the bytes of headers and body. ``attempts`` were made since it was stored or last
    replayed; ``reason`` and ``status_code`` are of the last verdict, None before the first. ``due`` is set while it
    waits, ``finished`` afterwards.
    """

    id: str
    sequence: int
    object_uid: str
    event_type: str
    size: int
    state: DeliveryState
    attempts: int
    reason: str | None
    status_code: int | None
    observed: float
    stored: float
    due: float | None
    finished: float | None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Some deliveries of one subscription, the newest first; ``before`` is where the next page begins, None at the end.

    A page may be short, or empty, and not be the last one.
    """

    items: tuple[Delivery, ...]
    before: int | None


class ReplayState(StrEnum):
    """The states of messages that a replay may ask for, as in ``spec.states``."""

    DEAD = "Dead"
    DELIVERED = "Delivered"


@dataclass(frozen=True, slots=True)
class Replay:
    """A wish to send messages of one subscription (its uid) again; ``uid`` is the wish's own.

    Selected is what is in one of ``states`` and was stored from ``begin`` on and before ``end`` (Unix seconds), or,
    when ``ids`` has any, has one of these webhook-ids.
    """

    uid: str
    subscription: str
    states: frozenset[ReplayState] = frozenset({ReplayState.DEAD})
    begin: float = float("-inf")
    end: float = float("inf")
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """How far a replay is: messages selected, delivered again, and given up again (or dropped before they were sent).

    ``started`` is when they were selected.
    """

    total: int
    replayed: int
    failed: int
    started: float

    @property
    def finished(self) -> bool:
        """Whether none of its messages waits any more."""
        return self.replayed + self.failed >= self.total


@dataclass(frozen=True, slots=True)
class ReplayFinding:
    """What the controller found out about a replay: how far it is, or (no counts) why it did not begin."""

    counts: ReplayCounts | None
    reason: str = ""
    message: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more will come of it. A spec that can't be read can't be changed either."""
        return self.reason == "InvalidSpec" if self.counts is None else self.counts.finished
