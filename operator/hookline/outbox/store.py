"""What an outbox is: the Protocol that every backend keeps, checked by the conformance suite in ``tests/conformance``.

A message's states: pending -> delivered | dead, and back to pending by ``replay``. A claim is not a state: it ends with
``record`` or ``release``, or with the process. Every method raises ``StoreError`` when the backend can't do it; then
nothing of that call was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from typing import Protocol

from hookline.model import Attempt, Claimed, Counts, Message, Seen, WatchCommit
from hookline.stored import Delivery, DeliveryPage, DeliveryState, Pruned, Replay, ReplayCounts, Retention


class Store(Protocol):
    """The durable queue of messages, the watches' checkpoints and the last-seen index."""

    async def open(self) -> None:
        """Open or create the store and bring its schema up to date. Raises StoreVersionError on a newer schema."""

    async def close(self) -> None:
        """Finish what was begun and close; later calls raise StoreError."""

    async def take_over(self, epoch: int) -> None:
        """Work under this epoch from now on; whoever works under an older one can't write any more.

        Raises Fenced, with the epoch in force, when that is later. A store that was not taken over works under the
        epoch that it found when it was opened. Every method that changes something raises Fenced once another store
        handle took over; nothing of that call was kept.
        """

    async def commit(self, commit: WatchCommit) -> int:
        """Make one step of a watch durable, all or nothing, before anything of it may be sent.

        A message whose (subscription, id) is stored already is skipped. Returns how many were new.
        """

    async def checkpoint(self, scope_key: str) -> str | None:
        """The resourceVersion that the last ``commit`` of this scope carried, or None."""

    async def seen(self, scope_key: str, uids: Sequence[str]) -> Mapping[str, Seen]:
        """The last-seen entries of these objects, by uid; absent ones are left out."""

    async def seen_uids(self, scope_key: str) -> frozenset[str]:
        """The uids of all objects in the last-seen index of this scope."""

    async def attach(self, subscription: str, scope_key: str, since: str) -> str:
        """Note that a subscription listens to a scope from resourceVersion ``since`` on.

        The first note stays. Returns the one that is in force.
        """

    async def attachments(self) -> Mapping[tuple[str, str], str]:
        """All notes of ``attach``: (subscription, scope key) -> since."""

    async def detach(self, subscription: str, scope_key: str) -> None:
        """Remove one note of ``attach``."""

    async def forget_scope(self, scope_key: str) -> None:
        """Drop checkpoint and last-seen index of a scope that nobody listens to any more."""

    async def forget_subscription(self, subscription: str) -> None:
        """Drop messages and counters of a subscription that is gone. Its attachments end with ``detach``.

        Others get their turn meanwhile. When it fails or is cut off, what is gone is gone: call it again for the rest.
        """

    async def subscriptions(self) -> frozenset[str]:
        """The uids of all subscriptions that left anything here."""

    async def sequences(self) -> Mapping[str, int]:
        """The highest sequence number ever committed, by subscription, delivered and pruned messages included."""

    async def claim(
        self,
        wanted: Mapping[str, int],
        now: float,
        *,
        ordered: Container[str] = (),
        retries: Mapping[str, int] = ...,
        room: Mapping[str, int] = ...,
    ) -> Sequence[Claimed]:
        """Hand out due messages, at most ``wanted[subscription]`` of each, in order of due time and then age.

        No message is handed out twice until it is recorded or released.

        Of a subscription in ``ordered`` only the oldest pending message of each object is handed out (in the order of
        storing), and only while none of that object is; the others wait for its end, whether delivered or dead. At
        most ``retries[subscription]`` of those handed out were tried before, and none is added once their bodies hold
        ``room[subscription]`` bytes; where these have no entry there is no such bound.
        """

    async def release(self, rows: Sequence[int]) -> None:
        """Give claimed messages back untried; they are due as before."""

    async def record(self, attempts: Sequence[Attempt]) -> None:
        """Store the verdicts of attempts, all or nothing: delivered, due again at ``retry_at``, or dead."""

    async def next_due(self) -> Mapping[str, float]:
        """For each subscription with unclaimed pending messages, when the earliest is due."""

    async def counts(self) -> Mapping[str, Counts]:
        """Messages by state for each subscription."""

    async def prune(self, delivered: Retention, dead: Retention, limit: int) -> Pruned:
        """Delete at most ``limit`` finished messages: those too old, then the oldest of what takes too much room.

        Room is bounded for the whole store, as the volume is. It is taken from the subscriptions that hold most, down
        to one level, so that a noisy one can't push out what others keep. Bytes are those of headers and bodies.
        """

    async def replay(self, request: Replay) -> ReplayCounts:
        """Set the messages that ``request`` selects pending again: due now, no attempt made, the same in all else.

        Pending messages are left alone. The store remembers the replay's uid: a second call with it selects nothing,
        and tells how far the first one is.
        """

    async def grounds(self, request: Replay | None = None) -> Mapping[str, frozenset[str]]:
        """What the pending messages of each subscription rest on (``Message.ground``).

        With ``request`` what those rest on that ``replay`` would select now.
        """

    async def replay_counts(self) -> Mapping[str, ReplayCounts]:
        """How far each remembered replay is, by its uid. Each message is counted once, when it is finished again."""

    async def forget_replay(self, uid: str) -> None:
        """Drop what is remembered of a replay; its messages stay as they are."""

    async def deliveries(
        self, subscription: str, states: Collection[DeliveryState], limit: int, before: int | None = None
    ) -> DeliveryPage:
        """A page of at most ``limit`` messages in one of ``states``, the newest first: by descending sequence number.

        Those numbers are unique. ``before`` is the last page's, None for the first: what is stored meanwhile is on no
        later page, nothing else is told twice or left out. The work of one call is bounded: where few of many are in
        these states, a page is short.
        """

    async def delivery(self, subscription: str, message_id: str) -> tuple[Delivery, Message] | None:
        """One message with its content, None when it is not there."""

    async def deliveries_of(self, subscription: str, ids: Sequence[str]) -> Mapping[str, Delivery]:
        """These messages as they are now, by id; absent ones are left out."""

    async def follow(self, subscription: str, told: Callable[[str], None]) -> Callable[[], None]:
        """Have ``told`` called with the id of each message of a subscription that is stored, handed out or recorded.

        From now on until what is returned is called. It is called in the event loop, after the change can be read, and
        must be quick and not raise. An id may come though nothing changed. What happens otherwise (released, pruned,
        forgotten, selected by time for a replay) is not told: look again now and then.
        """

    async def size(self) -> int:
        """Bytes that the store takes on its volume (the log included)."""

    async def free(self) -> int:
        """How many of these bytes hold nothing: what comes next goes there before the store takes more."""
