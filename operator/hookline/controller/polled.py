"""Secrets and ConfigMaps that subscriptions refer to: read by name, and looked at again by polling.

In: names, by those who resolve references (``secrets``, ``credentials``). Out: what the API server has under them, and
``on_change`` when that became another. Polling by ``get`` keeps the operator's rights at that verb: a watch would need
``list`` on a namespace's Secrets, which shows all of them. See docs/decisions/0003-secrets-are-polled.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, Protocol

from hookline.controller.queue import in_turn
from hookline.errors import ApiError, HooklineError

log = logging.getLogger(__name__)
Name = tuple[str, str, str]
"""``secrets`` or ``configmaps``, namespace, name."""


class Api(Protocol):
    """The part of the Kubernetes client that is used here."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """One request; raises ApiError."""
        ...


class Polled:
    """Reads objects by name, and tells ``on_change`` the names of those that became other than last read."""

    def __init__(self, api: Api, on_change: Callable[[Iterable[Name]], None]) -> None:
        self._api = api
        self._on_change = on_change
        self._versions: dict[Name, str] = {}  # the empty version: it was absent

    async def read(self, name: Name) -> Any:
        """One object as the API server has it. None: it is absent or forbidden, which look alike. Raises ApiError."""
        raw = await self._get(name)
        self._versions[name] = _version(raw)
        return raw

    def forget(self, names: Iterable[Name]) -> None:
        """Stop looking at what nobody refers to any more."""
        for name in names:
            self._versions.pop(name, None)

    async def poll(self) -> None:
        """Look once at everything read so far, and tell ``on_change`` what is no longer as it was read.

        In turn from each namespace: a change in one that has few is not seen later for all that another has.
        """
        for name in in_turn(self._versions, itemgetter(1)):
            version = self._versions.get(name)
            if version is None:
                continue
            try:
                now = _version(await self._get(name))
            except HooklineError:
                plural, namespace, _ = name
                log.debug("a reference can't be looked at", extra={"namespace": namespace, "resource": plural})
                continue
            if now != version:
                self._on_change([name])
            await asyncio.sleep(0)

    async def _get(self, name: Name) -> Any:
        plural, namespace, own = name
        try:
            return await self._api.request("GET", f"/api/v1/namespaces/{namespace}/{plural}/{own}")
        except ApiError as error:
            if error.status not in (401, 403, 404):
                raise
            return None


def _version(raw: Any) -> str:
    return "" if raw is None else str(raw["metadata"]["resourceVersion"])
