"""One list+watch: every change of one scope, once, in order, over restarts, cut streams and expired histories.

In: the API server's pages and stream. Out: steps for the ``teller``, each committed before the next line is looked at.
``manager`` owns informers.

A life: nothing stored: list silently (what existed before is no event). A checkpoint: watch from there. A gap (410):
list, compare with the last-seen index, watch from the list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from hookline.errors import ApiError, Forbidden, NotServed, ResourceGone
from hookline.kube import KubeClient
from hookline.model import Scope
from hookline.watch import bare, wire
from hookline.watch.audit import Audit
from hookline.watch.condition import Condition
from hookline.watch.detect import is_newer, went_back
from hookline.watch.ledger import RELIST, Ledger, WatchStore
from hookline.watch.pace import Pace, delay, failures_after, spread
from hookline.watch.teller import Hooks, Teller

_log = logging.getLogger(__name__)


class Informer:
    """The watch of one scope. ``run`` does the work until it is cancelled; the rest may be asked at any time.

    ``full``: keep whole objects as the last-seen state, not only metadata. ``newly_served``: with nothing stored, take
    the collection for one that was empty until now. ``clock`` gives Unix seconds, ``random`` [0, 1). ``synced`` is set
    when the first stream is open, and stays so; ``condition`` tells how the watch is now.
    """

    def __init__(
        self,
        client: KubeClient,
        scope: Scope,
        store: WatchStore,
        hooks: Hooks,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        full: bool = False,
        newly_served: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self.scope = scope
        self.synced = asyncio.Event()
        self.condition = Condition(partial(hooks.on_problem, scope), (pace or Pace()).lasting, scope.key)
        self._about = {"watch": scope.key}
        self._client = client
        self._hooks = hooks
        self._ledger = Ledger(store, scope, hooks.after_commit, random, partial(hooks.on_drop, scope))
        self._teller = Teller(scope, self._ledger, hooks, clock, full=full)
        self._clock = clock
        self._random = random
        self._pace = pace or Pace()
        self._path = scope.resource.path(scope.namespace)
        self._params = {"fieldSelector": scope.field_selector} if scope.field_selector else {}
        self._newly_served = newly_served
        self._filled = asyncio.Event()
        self._fill_wanted = asyncio.Event()
        self._rv: str | None = None
        self._head: str | None = None
        self._positioned = asyncio.Event()
        self._look_ahead = True
        self._progress = False
        self._poison = ("", 0)
        self._begun = False
        self._contact = clock()
        self._audit = Audit(
            scope,
            self._ledger,
            self._teller,
            position=lambda: self.resource_version,
            pages=self._pages,
            find=self._find,
            random=random,
            pace=self._pace,
        )

    @property
    def resource_version(self) -> str | None:
        """The checkpoint: everything up to it is committed. None before the first list and during a comparison."""
        return None if self._rv == RELIST else self._rv

    @property
    def filled(self) -> bool:
        """Whether the last-seen index is as detailed as required."""
        return self._filled.is_set()

    def staleness(self, now: float) -> float:
        """Seconds, at ``now`` of the informer's clock, since the API server last said anything (a refusal counts)."""
        return max(0.0, now - self._contact)

    def require_full(self) -> None:
        """Keep whole objects from now on; those known already are fetched once, without an event."""
        if not self._teller.full:
            self._teller.full = True
            self._filled.clear()
            self._fill_wanted.set()

    async def position(self) -> str:
        """The resourceVersion from which a new subscription listens; waits until it is known."""
        async with self.hold() as version:
            return version

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[str]:
        """The position, with the informer standing still there: no change is told within the block.

        Waits until the position is known and the last-seen index is as detailed as required.
        """
        while True:
            await self._filled.wait()
            await self._positioned.wait()
            async with self._teller.lock:
                if self._filled.is_set() and self._positioned.is_set():
                    yield self._position()
                    return

    async def run(self) -> None:
        """Watch until cancelled. Raises nothing else; whatever fails is tried again, later and later."""
        helpers = [asyncio.create_task(work) for work in (self._keep_filled(), self._audit.run())]
        try:
            await self._follow()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _follow(self) -> None:
        failures = 0
        while True:
            self._progress = False
            began = self._clock()
            bounds = await self._attempt()
            lasted = self._clock() - began
            failures = failures_after(failures, self._pace, progress=self._progress, lasted=lasted)
            await asyncio.sleep(delay(failures, bounds, self._random))

    async def _attempt(self) -> tuple[float, float]:
        """From wherever the informer is to the end of one stream. Returns between what bounds to wait afterwards."""
        try:
            await self._step()
            self.condition.succeeded()
        except ResourceGone:
            _log.warning("a watch's history from %s on is gone: listing anew", self._rv, extra=self._about)
            self._rv = RELIST if self._rv else None
        except (Forbidden, NotServed) as error:
            await self._parked(error)
            return self._pace.parked
        except wire.Undecodable as error:
            self._poisoned(error)
            self.condition.interrupted(error)
        except ApiError as error:
            self._look_ahead = True
            self.condition.interrupted(error)
        except Exception as error:  # noqa: BLE001 (a defect in one watch must not end it, nor touch another)
            _log.exception("a watch failed: it begins again at its checkpoint", extra=self._about)
            self.condition.failed(ApiError(0, f"an unexpected error ({type(error).__name__}): see the operator's log"))
        finally:
            self.condition.open = False
        return self._pace.retry

    async def _begin(self) -> None:
        self._rv = await self._ledger.checkpoint()
        await self._recall_fullness()
        if self._rv is None and self._newly_served:
            await self._begin_empty()
        self._begun = True

    async def _step(self) -> None:
        if not self._begun:
            await self._begin()
        if self._rv is None:
            await self._list_silently()
        elif self._rv == RELIST:
            async with self._audit.still:
                await self._list_and_compare()
        elif self._look_ahead:
            await self._find_head()
        if self._rv != RELIST:
            await self._watch()

    async def _find_head(self) -> None:
        """Ask how far the collection is; a checkpoint beyond that means that the cluster was restored from a backup."""
        query = {**self._params, "limit": "1"}
        accept = bare.accept_list(self.scope.resource, wire.METADATA_LIST)
        raw = await self._client.get_bytes(self._path, params=query, accept=accept)
        head = wire.decode_page(raw, self.scope.resource).resource_version
        self._contact = self._clock()
        if went_back(head, self._rv or ""):
            _log.warning("the API server's history went back: listing anew", extra=self._about)
            self._rv = RELIST
        else:
            self._look_ahead = False
            self._set_position(head)

    async def _watch(self) -> None:
        params = {
            **self._params,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._rv or "",
            "timeoutSeconds": str(int(spread(self._pace.stream, self._random))),
        }
        accept = bare.accept_watch(self.scope.resource)
        async with self._client.stream(self._path, params, self._pace.idle, accept=accept) as batches:
            self._contact = self._clock()
            self.condition.opened()
            if not self.synced.is_set():
                _log.info("a watch is started", extra=self._about)
                self.synced.set()
            async for lines in batches:
                self._contact = self._clock()
                for start in range(0, len(lines), self._pace.batch):
                    await self._take(lines[start : start + self._pace.batch])

    async def _take(self, lines: Sequence[bytes]) -> None:
        """Tell what can be decoded, then raise for the line that can't."""
        events: list[wire.Event] = []
        failure: ApiError | None = None
        for line in lines:
            try:
                events.append(wire.decode_event(line, self.scope.resource))
            except ApiError as error:
                failure = error
                break
        if events:
            async with self._teller.lock:
                await self._teller.events(events)
                self._rv = events[-1].resource_version
            self._audit.moved()
            self._progress = True
            self.condition.succeeded()
        if failure is not None:
            raise failure

    async def _list_silently(self) -> None:
        """The first list: what exists is known, and nothing of it is an event."""
        stale = set(await self._ledger.uids())  # of a first list that was interrupted
        full = self._teller.full
        version = ""
        async for page in self._pages():
            await self._teller.record(page)
            stale.difference_update(page.uids)
            version = page.resource_version
        if full:
            await self._ledger.mark_full(full=True)
            self._filled.set()
        await self._ledger.commit(forgotten=tuple(stale), resource_version=version)
        self._arrive(version)

    async def _list_and_compare(self) -> None:
        """After a gap: tell what was deleted, created and changed meanwhile, each object's last state once.

        Two readings of one snapshot, the first of metadata only, so that an object that was deleted and made anew under
        its name is told as deleted before it is told as created, without holding the creations in memory.
        """
        began = self._clock()
        await self._ledger.commit(resource_version=RELIST)
        if self._head != _NEVER_SERVED:
            self._positioned.clear()
        known = set(await self._ledger.uids())
        exact: dict[str, str] = {}
        if known:
            gone = set(known)
            async for page in self._pages(accept=wire.METADATA_LIST):
                gone.difference_update(page.uids)
                exact = {"resourceVersion": page.resource_version, "resourceVersionMatch": "Exact"}
            await self._tell_vanished(gone, exact["resourceVersion"])
            known -= gone
        version = ""
        async for page in self._pages(exact):
            await self._teller.compare(page)
            known.difference_update(page.uids)
            version = page.resource_version
        await self._tell_vanished(known, version)  # a server that ignores "Exact" gave a later snapshot
        await self._ledger.commit(resource_version=version)
        self._arrive(version)
        _log.info("a watch is listed anew", extra={**self._about, "duration": max(0.0, self._clock() - began)})

    async def _tell_vanished(self, gone: set[str], list_version: str) -> None:
        uids = sorted(gone)
        for start in range(0, len(uids), self._pace.page):
            await self._teller.vanished(uids[start : start + self._pace.page], list_version)

    async def _pages(
        self, extra: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> AsyncIterator[wire.Page]:
        params = {**self._params, **(extra or {})}
        resource, limit = self.scope.resource, self._pace.page
        async for page in wire.pages(self._client, resource, self._path, params, limit=limit, accept=accept):
            self._contact = self._clock()
            yield page

    async def _find(self, namespace: str, name: str) -> AsyncIterator[wire.Page]:
        """The object of this name as the scope shows it now: a list of one or none."""
        resource = self.scope.resource
        selector = ",".join(filter(None, (self.scope.field_selector, wire.named(name))))
        path, params = resource.path(namespace), {"fieldSelector": selector}
        async for page in wire.pages(self._client, resource, path, params, limit=self._pace.page):
            yield page

    async def _recall_fullness(self) -> None:
        marked = await self._ledger.is_full()
        if marked and not self._teller.full:
            await self._ledger.mark_full(full=False)
        if marked or not self._teller.full:
            self._filled.set()
        elif self._rv is not None:
            self._fill_wanted.set()

    async def _keep_filled(self) -> None:
        """Whenever whole objects become necessary, list once and complete what is known only by its metadata."""
        failures = 0
        while True:
            await self._fill_wanted.wait()
            await self.synced.wait()
            try:
                if not self._filled.is_set():
                    async for page in self._pages():
                        await self._teller.complete(page)
                    await self._ledger.mark_full(full=True)
                    self._filled.set()
                self._fill_wanted.clear()
                failures = 0
                continue
            except ApiError as error:
                _log.info("whole objects can't be listed now: %s", error, extra=self._about)
            except Exception:  # noqa: BLE001 (who waits for whole objects would wait for ever)
                _log.exception("listing whole objects failed: it is tried again", extra=self._about)
            failures += 1
            await asyncio.sleep(delay(failures, self._pace.retry, self._random))

    def _arrive(self, version: str) -> None:
        """A list is complete: the watch goes on from it."""
        self._rv = version
        self._audit.moved()
        self._look_ahead = False
        self._set_position(version)

    def _set_position(self, version: str) -> None:
        self._head = version
        self._positioned.set()

    def _position(self) -> str:
        """The later of the head when the informer began and what it has told since."""
        head, told = self._head or _NEVER_SERVED, self.resource_version
        return told if told is not None and is_newer(told, head) else head

    async def _parked(self, error: ApiError) -> None:
        self._contact = self._clock()
        if isinstance(error, NotServed) and self._rv is None:
            await self._begin_empty()
        self.condition.failed(error)

    async def _begin_empty(self) -> None:
        """What is not served is empty: whatever is there when it is served one day came later, and is an event."""
        await self._ledger.commit(forgotten=tuple(await self._ledger.uids()), resource_version=RELIST)
        self._rv = RELIST
        self._set_position(_NEVER_SERVED)
        if self._teller.full:
            await self._ledger.mark_full(full=True)
            self._filled.set()

    def _poisoned(self, error: ApiError) -> None:
        place = self._rv or ""
        self._poison = (place, self._poison[1] + 1 if self._poison[0] == place else 1)
        _log.warning("a watch's event can't be read: %s", error, extra={**self._about, "count": self._poison[1]})
        if self._poison[1] >= self._pace.poison and self._rv:
            self._rv = RELIST
            self._poison = ("", 0)


_NEVER_SERVED = "0"
"""The position of a collection that does not exist yet: everything in it will be later."""
