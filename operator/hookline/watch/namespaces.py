"""The labels of all namespaces, for sources that select namespaces by label.

In: a list and watch of Namespace metadata. Out: labels by name, which the match room asks for each change. Kept in
memory only: it tells no events, so a gap needs no comparison.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from hookline.errors import ApiError, ResourceGone
from hookline.kube import KubeClient
from hookline.model import Object, Resource
from hookline.watch import wire
from hookline.watch.pace import Pace, delay, failures_after, spread

_NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
_log = logging.getLogger(__name__)


class NamespaceIndex:
    """Labels of all namespaces, current within the watch's delay once ``synced`` is set. Idle until ``start``.

    ``version`` grows with every change of any label or of the set of namespaces.
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
        self.version = 0
        self._client = client
        self._clock = clock
        self._random = random
        self._pace = pace or Pace()
        self._labels: dict[str, Mapping[str, str]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def all(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of every namespace, by its name; a live view."""
        return MappingProxyType(self._labels)

    def labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of one namespace, None when it is not known."""
        return self._labels.get(name)

    def start(self) -> None:
        """Begin to watch, if that was not done yet."""
        if self._task is None:
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
            before, began = self.version, self._clock()
            try:
                version = version or await self._list()
                version = await self._watch(version)
            except ResourceGone:
                version = ""
            except ApiError as error:
                # Without a lease on history it is simplest, and cheap, to begin with a list again.
                version = ""
                _log.info("the watch of namespaces is interrupted: %s", error)
            progress, lasted = self.version != before, self._clock() - began
            failures = failures_after(failures, self._pace, progress=progress, lasted=lasted)
            await asyncio.sleep(delay(failures, self._pace.retry, self._random))

    async def _list(self) -> str:
        version = ""
        found: dict[str, Mapping[str, str]] = {}
        path, limit = _NAMESPACES.path(), self._pace.page
        async for page in wire.pages(self._client, _NAMESPACES, path, {}, limit=limit, accept=wire.METADATA_LIST):
            found.update(_entry(obj) for _, obj in page)
            version = page.resource_version
        if found != self._labels:
            self._labels.clear()
            self._labels.update(found)
            self.version += 1
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
            async for lines in batches:
                for line in lines:
                    event = wire.decode_event(line)
                    self._note(event)
                    version = event.resource_version
        return version

    def _note(self, event: wire.Event) -> None:
        if event.type == "BOOKMARK":
            return
        name, labels = _entry(event.object)
        if event.type == "DELETED":
            changed = self._labels.pop(name, None) is not None
        else:
            changed = self._labels.get(name) != labels
            self._labels[name] = labels
        self.version += changed


def _entry(obj: Object) -> tuple[str, Mapping[str, str]]:
    metadata = obj["metadata"]
    return metadata["name"], metadata.get("labels") or {}
