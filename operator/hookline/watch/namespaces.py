"""The labels of all namespaces, for sources that select namespaces by label.

In: a list and watch of Namespace metadata. Out: labels by name, which the match room asks for each change. Kept in
memory only: it tells no events, so a gap needs no comparison.

This stream and those of the objects have no order between them. So a namespace is remembered for a while after its
end, for the deletions that come late; and one that nobody has heard of is asked for by name (``learn``), since its
first object may come before it does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping

from hookline.errors import ApiError, ResourceGone
from hookline.kube import KubeClient
from hookline.model import Object, Resource
from hookline.watch import wire
from hookline.watch.pace import Pace, delay, failures_after, spread

_NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
_log = logging.getLogger(__name__)

REMEMBERED = 1000
"""So many deleted namespaces are remembered, the latest."""

AT_A_TIME = 16
"""So many namespaces are asked for at the same time."""


class NamespaceIndex:
    """Labels of all namespaces, current within the watch's delay once ``synced`` is set. Idle until ``start``.

    ``clock`` gives seconds, ``random`` [0, 1).
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float],
        pace: Pace | None = None,
    ) -> None:
        self.synced = asyncio.Event()
        self._client = client
        self._clock = clock
        self._random = random
        self._pace = pace or Pace()
        self._labels: dict[str, Mapping[str, str]] = {}
        self._deleted: dict[str, Mapping[str, str]] = {}
        self._progress = False
        self._contact = 0.0
        self._task: asyncio.Task[None] | None = None

    def labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of one namespace, the last ones of one that was deleted, None when it is not known."""
        found = self._labels.get(name)
        return self._deleted.get(name) if found is None else found

    async def learn(self, names: Collection[str]) -> None:
        """Ask the API server for these namespaces; what ``labels`` does not know afterwards does not exist.

        Raises ApiError.
        """
        waiting = iter(names)
        asking = [asyncio.create_task(self._learn_each(waiting)) for _ in range(min(AT_A_TIME, len(names)))]
        try:
            await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()

    def staleness(self, now: float) -> float:
        """Seconds, at ``now`` of its clock, since the API server last said anything; 0 while it is idle."""
        return 0.0 if self._task is None else max(0.0, now - self._contact)

    def start(self) -> None:
        """Begin to watch, if that was not done yet."""
        if self._task is None:
            self._contact = self._clock()
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        failures = 0
        version = ""
        while True:
            self._progress, began = False, self._clock()
            try:
                version = version or await self._list()
                version = await self._watch(version)
            except ResourceGone:
                version = ""
            except ApiError as error:
                # Without a lease on history it is simplest, and cheap, to begin with a list again.
                version = ""
                if error.status:
                    self._contact = self._clock()
                _log.info("the watch of namespaces is interrupted: %s", error)
            except Exception:  # noqa: BLE001 (a defect must not leave the labels as they are for ever)
                version = ""
                _log.exception("the watch of namespaces failed; it begins again with a list")
            lasted = self._clock() - began
            failures = failures_after(failures, self._pace, progress=self._progress, lasted=lasted)
            await asyncio.sleep(delay(failures, self._pace.retry, self._random))

    async def _list(self) -> str:
        version = ""
        found: dict[str, Mapping[str, str]] = {}
        async for page in self._pages({}):
            self._contact = self._clock()
            found.update(_entry(obj) for _, obj in page)
            version = page.resource_version
        for name in self._labels.keys() - found.keys():
            self._lost(name)
        if found != self._labels:
            self._labels.update(found)
            self._progress = True
        self.synced.set()
        return version

    async def _watch(self, version: str) -> str:
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(int(spread(self._pace.stream, self._random))),
        }
        async with self._client.stream(_NAMESPACES.path(), params, self._pace.idle, accept=wire.METADATA) as batches:
            self._contact = self._clock()
            async for lines in batches:
                self._contact = self._clock()
                for line in lines:
                    event = wire.decode_event(line)
                    self._note(event)
                    version = event.resource_version
        return version

    async def _learn_each(self, names: Iterator[str]) -> None:
        for name in names:
            # A list of one or none, because it needs no other right than the watch.
            async for page in self._pages({"fieldSelector": wire.named(name)}):
                for _, obj in page:
                    # What the watch said meanwhile is no older.
                    self._labels.setdefault(*_entry(obj))

    def _pages(self, params: Mapping[str, str]) -> AsyncIterator[wire.Page]:
        path, limit = _NAMESPACES.path(), self._pace.page
        return wire.pages(self._client, _NAMESPACES, path, params, limit=limit, accept=wire.METADATA_LIST)

    def _note(self, event: wire.Event) -> None:
        if event.type == "BOOKMARK":
            return
        name, labels = _entry(event.object)
        self._labels[name] = labels
        if event.type == "DELETED":
            self._lost(name)
        self._progress = True

    def _lost(self, name: str) -> None:
        """It is deleted: remember it for the changes of its objects that come later."""
        self._deleted.pop(name, None)
        self._deleted[name] = self._labels.pop(name)
        if len(self._deleted) > REMEMBERED:
            del self._deleted[next(iter(self._deleted))]


def _entry(obj: Object) -> tuple[str, Mapping[str, str]]:
    metadata = obj["metadata"]
    return metadata["name"], metadata.get("labels") or {}
