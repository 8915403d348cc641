"""Which resources the API server serves, by apiVersion and kind.

In: an apiVersion and a kind, as a user wrote them. Out: ``Resource``, from which the app makes a ``Scope``; NotServed
with a sentence for the user where there is nothing to watch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hookline.errors import ApiError, NotServed
from hookline.kube import KubeClient
from hookline.model import Resource

TTL = 10.0

# A DNS subdomain as group, a DNS label as version: nothing that could climb to another path.
_API_VERSION = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?"
)


class Discovery:
    """The served resources, each group version remembered for ``ttl`` seconds of ``clock`` (monotonic)."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float], ttl: float = TTL) -> None:
        self._client = client
        self._clock = clock
        self._ttl = ttl
        self._found: dict[str, tuple[float, Mapping[str, Resource], frozenset[str]]] = {}

    async def resource(self, api_version: str, kind: str) -> Resource:
        """One resource. Raises NotServed, saying what is missing, or ApiError."""
        watchable, others = await self._load(api_version)
        if kind in watchable:
            return watchable[kind]
        if kind in others:
            raise NotServed(404, f"{kind} of {api_version} can't be listed and watched")
        raise NotServed(404, f"the API server does not serve a kind {kind} in {api_version}")

    async def announced(self, api_version: str, kind: str) -> None:
        """Ask anew whether both the list of groups and the group itself name a kind, as they do soon after its CRD.

        Raises NotServed while one of them does not, ApiError when the API server can't be asked.
        """
        groups = (await self._client.request("GET", "/apis"))["groups"]
        if api_version not in {version["groupVersion"] for group in groups for version in group["versions"]}:
            raise NotServed(404, f"the API server does not name {api_version} yet")
        self.invalidate(api_version)
        await self.resource(api_version, kind)

    def invalidate(self, api_version: str | None = None) -> None:
        """Forget what is remembered of one group version, or all."""
        if api_version is None:
            self._found.clear()
        else:
            self._found.pop(api_version, None)

    async def _load(self, api_version: str) -> tuple[Mapping[str, Resource], frozenset[str]]:
        if not _API_VERSION.fullmatch(api_version):
            raise NotServed(404, f"{api_version[:100]!r} is no apiVersion; write e.g. v1 or apps/v1")
        remembered = self._found.get(api_version)
        if remembered and self._clock() < remembered[0]:
            return remembered[1:]
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = await self._client.request("GET", path)
        except NotServed:
            raise NotServed(404, f"the API server does not serve {api_version}") from None
        watchable, others = _sort(api_version, answer)
        self._found[api_version] = (self._clock() + self._ttl, watchable, others)
        return watchable, others


def _sort(api_version: str, answer: Any) -> tuple[Mapping[str, Resource], frozenset[str]]:
    """Kinds that can be watched, and those that are served but can't."""
    watchable: dict[str, Resource] = {}
    others: set[str] = set()
    try:
        for entry in answer["resources"]:
            if "/" in entry["name"]:
                continue
            if {"list", "watch"} <= set(entry["verbs"]):
                watchable[entry["kind"]] = Resource(
                    api_version, entry["kind"], entry["name"], namespaced=bool(entry["namespaced"])
                )
            else:
                others.add(entry["kind"])
    except (KeyError, TypeError):
        raise ApiError(0, f"the API server's description of {api_version} can't be read") from None
    return watchable, frozenset(others)
