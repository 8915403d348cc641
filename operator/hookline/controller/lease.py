"""Leader election by a Lease (coordination.k8s.io/v1): of several operators one works.

In: the Kubernetes client. Out: ``acquire`` returns when this process leads, with an epoch that is higher than that of
every earlier leader; ``keep`` raises when it leads no longer. ``hookline.app`` opens the outbox in between.

Whether a leader is dead is judged by this process's own clock, as the time since its last sign of life was seen;
clocks of different machines are never compared. A leader gives up after ``deadline`` seconds without a renewal, well
before the others may take its place after ``duration``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from hookline.errors import ApiError, Conflict, HooklineError, LeadershipLost, NotServed

log = logging.getLogger(__name__)
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Api(Protocol):
    """The part of the Kubernetes client that is used here."""

    async def request(self, method: str, path: str, *, body: Any = None, timeout: float = 30.0) -> Any:  # noqa: ASYNC109
        """One request; raises ApiError."""
        ...


def own_namespace() -> str:
    """The namespace of this pod, empty outside a cluster."""
    inside = "KUBERNETES_SERVICE_HOST" in os.environ and _NAMESPACE_FILE.is_file()
    return _NAMESPACE_FILE.read_text().strip() if inside else ""


def unique_identity() -> str:
    """A name for this process that no other ever has, also not its successor in the same pod."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class Lease:
    """One process's part in the election. ``clock`` is monotonic seconds.

    ``holder`` is who was seen to lead, empty before; ``problem`` is what went wrong with the last look in ``acquire``.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration: float = 15.0,
        deadline: float = 10.0,
        retry: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._where = {"name": name, "namespace": namespace}
        self._identity = identity
        self._duration = duration
        self._deadline = deadline
        self._retry = retry
        self._clock = clock
        self._lease: Any = None  # as last written by us
        self._renewed = float("-inf")
        self._seen: tuple[Any, float] = (None, clock())
        self.holder = ""
        self.problem = "the Lease was not read yet"

    @property
    def leading(self) -> bool:
        """Whether this process may work at this very moment, a pause of the whole process included."""
        return self._lease is not None and self._clock() < self._renewed + self._deadline

    async def acquire(self) -> int:
        """Wait until this process leads. Returns its epoch. Errors of the API are waited out."""
        said = ""
        while True:
            try:
                if await self._try_to_acquire():
                    epoch: int = self._lease["spec"]["leaseTransitions"]
                    log.info("this process leads", extra={"epoch": epoch, "lease": self._where["name"]})
                    return epoch
                self.problem = ""
                state = f"standing by: {self.holder or 'another process'} leads"
            except HooklineError as error:
                self.problem = f"the Lease can't be read or written: {error}"
                state = f"standing by: {self.problem}"
            if state != said:
                log.info(state)
                said = state
            await asyncio.sleep(self._retry)

    async def keep(self) -> None:
        """Renew for ever. Raises LeadershipLost when another process leads or the deadline passed without a renewal."""
        while True:
            left = self._renewed + self._deadline - self._clock()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    await asyncio.sleep(self._retry)
                    await self._renew()
            except TimeoutError:
                raise LeadershipLost(f"the Lease was not renewed for {self._deadline:g} s") from None

    async def raise_epoch(self, least: int) -> int:
        """Let the epoch be at least that, as after somebody deleted the Lease. Raises LeadershipLost, ApiError."""
        if not self.leading:
            raise LeadershipLost("the Lease ran out: this process leads no longer")
        try:
            await self._write({"leaseTransitions": max(least, self._lease["spec"]["leaseTransitions"])})
        except Conflict:
            raise LeadershipLost("another process wrote the Lease: this process leads no longer") from None
        epoch: int = self._lease["spec"]["leaseTransitions"]
        return epoch

    async def release(self) -> None:
        """Let another process lead at once. Call it when all work is done and the outbox is closed."""
        if self.leading:
            try:
                await self._write({"holderIdentity": ""})
                log.info("this process leads no longer: the Lease is released", extra={"lease": self._where["name"]})
            except ApiError as error:
                log.info("the Lease was not released; it runs out by itself: %s", error)
        self._lease = None

    async def _try_to_acquire(self) -> bool:
        try:
            found = await self._api.request("GET", self._path, timeout=self._timeout)
        except NotServed:
            return await self._claim("POST", {"metadata": self._where, "spec": {}})
        spec = found.get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        sign = (found["metadata"]["uid"], self.holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if sign != self._seen[0]:
            self._seen = (sign, self._clock())
        patience = max(self._duration, spec.get("leaseDurationSeconds") or 0)
        if self.holder and self._clock() < self._seen[1] + patience:
            return False
        return await self._claim("PUT", found)

    async def _claim(self, method: str, lease: Any) -> bool:
        """Write the Lease as ours, with the next epoch; False when somebody else was faster."""
        spec = lease.get("spec") or {}
        changes = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "acquireTime": _now(),
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1,
        }
        try:
            await self._write(changes, lease, method)
        except Conflict:
            return False
        return True

    async def _write(self, changes: dict[str, Any], lease: Any = None, method: str = "PUT") -> None:
        """Write our Lease, renewed; the resourceVersion in it lets the API server refuse it if it was changed."""
        lease = self._lease if lease is None else lease
        body = {**lease, "spec": {**lease["spec"], "renewTime": _now(), **changes}}
        path = self._path if method == "PUT" else self._collection
        began = self._clock()  # the others may count from here, so this process must not count from later
        self._lease = await self._api.request(method, path, body=body, timeout=self._timeout)
        self._renewed = began

    async def _renew(self) -> None:
        try:
            await self._write({})
        except (Conflict, NotServed):
            await self._look_who_leads()
        except ApiError as error:
            log.warning("the Lease was not renewed, it will be tried again: %s", error)

    async def _look_who_leads(self) -> None:
        """Somebody wrote our Lease or deleted it: was it only touched, or is it another's?"""
        try:
            found = await self._api.request("GET", self._path, timeout=self._timeout)
        except NotServed:
            raise LeadershipLost("the Lease was deleted: this process leads no longer") from None
        except ApiError as error:
            log.warning("the Lease can't be read, it will be tried again: %s", error)
            return
        holder, epoch = found["spec"].get("holderIdentity"), found["spec"].get("leaseTransitions")
        if (holder, epoch) != (self._identity, self._lease["spec"]["leaseTransitions"]):
            raise LeadershipLost(f"{holder or 'another process'} holds the Lease: this process leads no longer")
        self._lease = found

    @property
    def _timeout(self) -> float:
        """Of one request: several must fit into the deadline."""
        return self._deadline / 3


def _now() -> str:
    """For people who look at the Lease, as a MicroTime; nobody decides by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
