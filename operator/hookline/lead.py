"""From "this process runs" to "this process alone may write": the Lease, then the outbox, then its epoch.

In: settings, the Kubernetes client, the closed store. Out: an open store that fences off every earlier leader. The next
step is ``hookline.app``, which starts the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from hookline.controller.lease import Lease, own_namespace, unique_identity
from hookline.errors import Fenced, StoreError, StoreInUse
from hookline.kube import KubeClient
from hookline.outbox.store import Store
from hookline.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")


def lease_of(settings: Settings, kube: KubeClient) -> Lease | None:
    """The Lease by which one of several operators is elected; None where there is no election."""
    namespace = settings.lease_namespace or own_namespace()
    if not (namespace and settings.lease_name):
        return None
    return Lease(
        kube,
        namespace,
        settings.lease_name,
        unique_identity(),
        duration=settings.lease_duration_seconds,
        deadline=settings.lease_renew_deadline_seconds,
        retry=settings.lease_retry_seconds,
    )


async def take_over(store: Store, lease: Lease, epoch: int, retry: float) -> None:
    """Open the outbox and fence off earlier leaders. Raises StoreError that can't heal, LeadershipLost, ApiError.

    A leader that was paused may hold the outbox yet; it lets go as soon as it wakes up or is killed, so wait for it.
    """
    await patiently(store.open, retry, StoreInUse)
    try:
        await patiently(partial(store.take_over, epoch), retry)
    except Fenced as error:  # the Lease is younger than the outbox: somebody deleted it
        later = await lease.raise_epoch(error.epoch + 1)
        await patiently(partial(store.take_over, later), retry)


async def patiently(work: Callable[[], Awaitable[T]], retry: float, *transient: type[StoreError]) -> T:
    """Do it until the store lets it be done, e.g. until its volume has room, every ``retry`` seconds.

    An error of a more special class can't heal by waiting and is raised, unless it is one of ``transient``. The log has
    each reason once, until there is another.
    """
    said = ""
    while True:
        try:
            return await work()
        except StoreError as error:
            if type(error) not in (StoreError, *transient):
                raise
            if str(error) != said:
                said = str(error)
                log.warning("waiting for the outbox: %s", said)
            await asyncio.sleep(retry)
