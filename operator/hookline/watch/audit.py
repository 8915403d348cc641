"""The audit: now and then, compare what was seen with a fresh list, and tell what the watch never told.

In: a list of metadata, the last-seen index, and how far the watch is. Out: steps for the ``teller``, as after a gap,
but only for objects of which a state is missing that the watch has passed. A sound API server gives it nothing to do.

A difference between a list and the index is no loss as long as the watch is still on its way to the list's
resourceVersion. So: list; if anything differs, wait until the watch is past that list; then, with the watch standing
still, read each differing object by its name, and take only a state that the watch should have told by now. What is
newer, the watch will tell: so nothing is told twice, and nothing is told as deleted that is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hookline.errors import ApiError
from hookline.model import Object, Scope
from hookline.spec import Operation
from hookline.watch import wire
from hookline.watch.detect import is_newer
from hookline.watch.ledger import Ledger
from hookline.watch.pace import Pace, spread
from hookline.watch.teller import Teller

_log = logging.getLogger(__name__)

AT_A_TIME = 16
"""So many objects are read by name while the watch stands still, before it may go on in between."""


class Lister(Protocol):
    """How the informer lists its scope, page by page, of one snapshot."""

    def __call__(self, *, accept: str) -> AsyncIterator[wire.Page]:
        """The pages, decoded. Raises ApiError."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An object whose last-seen state is not the one in the list; ``listed`` is False when it is in no list."""

    uid: str
    namespace: str
    name: str
    listed: bool


class Audit:
    """The audits of one scope, on behalf of its informer.

    ``position`` gives the resourceVersion up to which the watch has told everything, None while that is not known.
    ``find`` gives the page of a list that holds one object, by namespace and name, and is no older than the call.
    ``still`` is held by whoever must not be overtaken by a comparison with a list. ``moved`` is called by the informer
    whenever its position changed.
    """

    def __init__(
        self,
        scope: Scope,
        ledger: Ledger,
        teller: Teller,
        *,
        position: Callable[[], str | None],
        pages: Lister,
        find: Callable[[str, str], AsyncIterator[wire.Page]],
        random: Callable[[], float],
        pace: Pace,
    ) -> None:
        self.still = asyncio.Lock()
        self._about = {"watch": scope.key}
        self._ledger = ledger
        self._teller = teller
        self._position = position
        self._pages = pages
        self._find = find
        self._random = random
        self._pace = pace
        self._moved = asyncio.Event()

    def moved(self) -> None:
        """The watch came further."""
        self._moved.set()

    async def run(self) -> None:
        """Audit until cancelled, at most ``pace.audit`` seconds after the last one. Raises nothing else."""
        if not self._pace.audit:
            return
        most = self._pace.audit
        while True:
            await asyncio.sleep(spread((most / 2, most), self._random))
            most = min(self._pace.audit, self._pace.parked[1])  # after a failure
            try:
                await self._once()
                most = self._pace.audit
            except ApiError as error:
                _log.info("a watch can't be audited now: %s", error, extra=self._about)
            except TimeoutError:
                _log.info("a watch can't be audited now: it is too far behind", extra=self._about)
            except Exception:  # noqa: BLE001 (a defect here must not end the watch)
                _log.exception("the audit of a watch failed", extra=self._about)

    async def _once(self) -> None:
        if self._position() is None:
            return  # nothing is known yet, or a comparison is under way
        version, suspects = await self._differences()
        if not suspects or not version.isdecimal():
            return
        async with asyncio.timeout(2 * self._pace.idle):
            await self._passed(version)
        told: Counter[Operation] = Counter()
        for start in range(0, len(suspects), AT_A_TIME):
            told.update(await self._repair(suspects[start : start + AT_A_TIME], version))
        if told:
            counts = ", ".join(f"{count} {operation.value}" for operation, count in sorted(told.items()))
            _log.warning("the API server never told of some changes; repaired: %s", counts, extra=self._about)

    async def _differences(self) -> tuple[str, Sequence[Suspect]]:
        """The list's resourceVersion, and whatever is not as in the list: first the vanished ones."""
        gone = set(await self._ledger.uids())
        suspects: list[Suspect] = []
        version = ""
        async for page in self._pages(accept=wire.METADATA_LIST):
            gone.difference_update(page.uids)
            versions = await self._ledger.versions(page.uids)
            for uid, obj in page:
                seen = versions.get(uid)
                if seen is None or is_newer(obj["metadata"]["resourceVersion"], seen):
                    suspects.append(_suspect(obj, listed=True))
            version = page.resource_version
        vanished: list[Suspect] = []
        uids = sorted(gone)
        for start in range(0, len(uids), self._pace.page):
            known = await self._ledger.known(uids[start : start + self._pace.page])
            vanished.extend(_suspect(before.object, listed=False) for before in known.values())
        return version, [*vanished, *suspects]

    async def _passed(self, version: str) -> None:
        """Wait until the watch has told everything up to this version."""
        while (position := self._position()) is None or is_newer(version, position):
            self._moved.clear()
            await self._moved.wait()

    async def _repair(self, suspects: Sequence[Suspect], version: str) -> Sequence[Operation]:
        async with self.still, self._teller.lock:
            position = self._position()
            if position is None:
                return ()  # a comparison has begun: it finds all of this
            found = await asyncio.gather(*(self._read(suspect) for suspect in suspects), return_exceptions=True)
            pages: list[wire.Page] = []
            for answer in found:
                if isinstance(answer, BaseException):
                    raise answer
                pages.extend(answer)
            gone = [suspect.uid for suspect in suspects if not suspect.listed]
            return await self._teller.repair(pages, gone, version, position)

    async def _read(self, suspect: Suspect) -> list[wire.Page]:
        return [page async for page in self._find(suspect.namespace, suspect.name)]


def _suspect(obj: Object, *, listed: bool) -> Suspect:
    metadata = obj["metadata"]
    return Suspect(metadata["uid"], metadata.get("namespace") or "", metadata["name"], listed)
