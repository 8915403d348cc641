"""Changes on a real node whose outcome is known.

In: a ``Node`` and a namespace. Out: a ``Journal`` of what the API server answered to each write, to compare with what a
receiver got.
"""

from __future__ import annotations

import threading
from typing import Self

from node import Node
from support.cluster import eventually
from support.on_node import Event, Tenant


def held_back(tenant: Tenant, journal: Journal) -> None:
    """Make a subscription, and changes that wait in the outbox until it is applied again without ``suspend``."""
    tenant.subscribe()
    tenant.subscribe(reason="Suspended", suspend=True)
    for _ in range(6):
        journal.object()
    eventually(lambda: tenant.status().get("pending") == len(journal.events), "all changes wait", seconds=60)


class Journal:
    """Changes ConfigMaps of a namespace until told to end, and keeps what the API server said of each change."""

    def __init__(self, node: Node, namespace: str) -> None:
        self.events: list[Event] = []
        self._node = node
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"
        self._count = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write, name="journal")
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def object(self) -> None:
        """One object: made, changed, and of three one deleted."""
        self._count += 1
        name = f"object-{self._count}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"told": "yes"}}}
        made = self._node.request("POST", self._collection, body)
        self.events.append(("Created", name, made["metadata"]["resourceVersion"]))
        changed = self._node.request("PUT", f"{self._collection}/{name}", {**body, "data": {"n": "1"}})
        self.events.append(("Updated", name, changed["metadata"]["resourceVersion"]))
        if self._count % 3 == 0:
            self._node.request("DELETE", f"{self._collection}/{name}")
            self.events.append(("Deleted", name, ""))

    def reaches(self, more: int) -> None:
        """Wait until ``more`` further changes are made."""
        goal = len(self.events) + more
        eventually(lambda: self._failure or len(self.events) >= goal, f"{more} changes are made", seconds=120)

    def _write(self) -> None:
        try:
            while not self._end.is_set():
                self.object()
                self._end.wait(0.02)
        except BaseException as error:  # noqa: BLE001  (raised where the journal ends)
            self._failure = error
