"""One step of a watch: compare, hand the changes to the sink, commit what it answers together with what was seen.

In: a batch of watch events, or a page of a list. Out: ``Change`` values to the sink, its messages and the last-seen
states in one commit to the ``ledger``. ``informer`` decides which step comes when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from hookline.errors import ApiError
from hookline.model import Change, Message, Object, Scope, Seen
from hookline.spec import Operation
from hookline.watch import wire
from hookline.watch.detect import EVENT_TYPES, Known, from_list, from_watch, is_newer, vanished
from hookline.watch.ledger import Ledger
from hookline.watch.projection import project

Sink = Callable[[Sequence[Change]], Awaitable[Sequence[Message]]]
"""What becomes of changes: match and render, supplied by the app. What it answered is committed before it is called
again; when it raises, nothing is committed and the same changes come again."""


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Whom a watch tells what. All are called in the event loop and must not block; only ``sink`` may raise.

    ``after_commit`` gets the messages that were just made durable. ``on_problem`` gets the reason why a scope can't be
    watched for now (a refusal, or a failure that lasts), and None when it is healthy again. ``on_drop`` gets the
    reason, from a fixed set (``not_decodable``, ``not_storable``), for each change that can't be told. ``on_repair``
    gets each committed change that the API server's watch should have told and did not.
    """

    sink: Sink
    after_commit: Callable[[Sequence[Message]], None] = _ignore
    on_problem: Callable[[Scope, ApiError | None], None] = _ignore
    on_drop: Callable[[Scope, str], None] = _ignore
    on_repair: Callable[[Scope, Operation], None] = _ignore


class Teller:
    """The steps of one scope, one at a time. ``full`` may be set at any time: keep whole objects from then on.

    ``lock`` is held from reading the last-seen index to the commit that rests on it; whoever holds it stops the watch.
    """

    def __init__(self, scope: Scope, ledger: Ledger, hooks: Hooks, clock: Callable[[], float], *, full: bool) -> None:
        self.full = full
        self.lock = asyncio.Lock()
        self._scope = scope
        self._ledger = ledger
        self._hooks = hooks
        self._clock = clock

    async def events(self, events: Sequence[wire.Event]) -> None:
        """Tell what a batch of the stream says, and commit it with the last event's position as the checkpoint."""
        observed = self._clock()
        told = [event for event in events if event.type in EVENT_TYPES]
        known = await self._ledger.known({event.uid for event in told})
        changes: list[Change] = []
        latest: dict[str, wire.Event] = {}
        for event in told:
            change = from_watch(event.type, event.object, known.get(event.uid), self._scope, observed)
            if change is None:
                continue
            self._admit(change, changes, damaged=event.damaged)
            latest[event.uid] = event
            if event.type == "DELETED":
                known.pop(event.uid, None)
            else:
                known[event.uid] = Known(event.resource_version, event.object, not event.damaged)
        await self._ledger.commit(
            await self._messages(changes),
            [self._project(e.object, damaged=e.damaged) for e in latest.values() if e.type != "DELETED"],
            [uid for uid, e in latest.items() if e.type == "DELETED"],
            events[-1].resource_version,
        )
        self._repaired(changes)

    async def compare(self, page: wire.Page) -> None:
        """Tell how a page of a list differs from what was seen last."""
        observed = self._clock()
        async with self.lock:
            known = await self._ledger.known(page.uids)
            changes: list[Change] = []
            seen: list[Seen] = []
            for uid, obj in page:
                change = from_list(obj, known.get(uid), self._scope, observed)
                if change is not None:
                    self._admit(change, changes, damaged=uid in page.damaged)
                    seen.append(self._project(obj, damaged=uid in page.damaged))
            await self._ledger.commit(await self._messages(changes), seen)

    async def vanished(self, uids: Sequence[str], list_version: str) -> None:
        """Tell the deletion of objects that are in no list any more."""
        observed = self._clock()
        async with self.lock:
            known = await self._ledger.known(uids)
            changes = [vanished(known[uid], self._scope, list_version, observed) for uid in uids if uid in known]
            await self._ledger.commit(await self._messages(changes), forgotten=uids)

    async def repair(
        self, pages: Iterable[wire.Page], gone: Iterable[str], list_version: str, position: str
    ) -> Sequence[Operation]:
        """Tell what the watch, now at ``position``, has passed in silence; for the ``audit``, which holds the lock.

        ``pages`` are the present states of objects, ``gone`` uids that a list at ``list_version`` lacked. Returns what
        was told.
        """
        observed = self._clock()
        present = {uid: (obj, uid in page.damaged) for page in pages for uid, obj in page}
        missing = [uid for uid in gone if uid not in present]
        known = await self._ledger.known([*missing, *present])
        lost = [uid for uid in missing if uid in known and not is_newer(known[uid].resource_version, list_version)]
        changes = [vanished(known[uid], self._scope, list_version, observed) for uid in lost]
        seen: list[Seen] = []
        for uid, (obj, damaged) in present.items():
            version, before = obj["metadata"]["resourceVersion"], known.get(uid)
            if is_newer(version, position) or (before and not is_newer(version, before.resource_version)):
                continue
            change = from_list(obj, before, self._scope, observed)
            if change is not None:
                self._admit(change, changes, damaged=damaged)
                seen.append(self._project(obj, damaged=damaged))
        await self._ledger.commit(await self._messages(changes), seen, lost)
        self._repaired(changes)
        return [change.operation for change in changes]

    async def record(self, page: wire.Page) -> None:
        """Note a page as seen, without telling anything."""
        async with self.lock:
            await self._ledger.commit(seen=[self._project(obj, damaged=uid in page.damaged) for uid, obj in page])

    async def complete(self, page: wire.Page) -> None:
        """Replace known metadata by the whole object where it is still the same; what changed comes by the watch."""
        async with self.lock:
            known = await self._ledger.known(page.uids)
            await self._ledger.commit(seen=[project(obj, full=True) for obj in _same(page, known)])

    def _admit(self, change: Change, changes: list[Change], *, damaged: bool) -> None:
        if damaged:
            self._hooks.on_drop(self._scope, "not_decodable")
        else:
            changes.append(change)

    async def _messages(self, changes: Sequence[Change]) -> Sequence[Message]:
        return await self._hooks.sink(changes) if changes else ()

    def _repaired(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.coalesced:
                self._hooks.on_repair(self._scope, change.operation)

    def _project(self, obj: Object, *, damaged: bool) -> Seen:
        return project(obj, full=self.full and not damaged)


def _same(page: wire.Page, known: dict[str, Known]) -> Iterable[Object]:
    for uid, obj in page:
        before = known.get(uid)
        if before is None or before.full or uid in page.damaged:
            continue
        if before.resource_version == obj["metadata"]["resourceVersion"]:
            yield obj
