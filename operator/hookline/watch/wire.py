"""What the API server's list and watch say: bytes in, objects out, decoded once.

In: raw pages and lines. Out: ``Page`` and ``Event``. An object that can't be decoded comes back as its metadata and is
marked ``damaged``; only when not even that can be read is the whole line or page refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from hookline.errors import ApiError, Forbidden, NotServed, ResourceGone
from hookline.kube import KubeClient
from hookline.model import Object, Resource
from hookline.watch import bare, skim

METADATA_LIST = f"{bare.LIST},application/json"
METADATA = f"{bare.WATCH},application/json"
_IDENTITY = frozenset({"name", "namespace", "uid", "resourceVersion"})
_STREAM_ERRORS: Mapping[int, type[ApiError]] = {401: Forbidden, 403: Forbidden, 404: NotServed, 410: ResourceGone}


class Undecodable(ApiError):
    """A line or page that is no usable JSON: whatever comes after it in the stream can't be trusted either."""

    def __init__(self, what: str) -> None:
        super().__init__(0, f"{what} can't be decoded")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a watch: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK`` with its object."""

    type: str
    object: Object
    damaged: bool = False

    @property
    def resource_version(self) -> str:
        """The position in the stream after this event."""
        version: str = self.object["metadata"]["resourceVersion"]
        return version

    @property
    def uid(self) -> str:
        """The object's uid (a bookmark has none)."""
        uid: str = self.object["metadata"]["uid"]
        return uid


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: objects by uid. ``damaged`` are uids of objects of which only metadata could be read."""

    items: Mapping[str, Object]
    resource_version: str
    token: str
    damaged: frozenset[str] = frozenset()

    @property
    def uids(self) -> Collection[str]:
        """The uids of the objects."""
        return self.items.keys()

    def __iter__(self) -> Iterator[tuple[str, Object]]:
        return iter(self.items.items())


def named(name: str) -> str:
    """The field selector of the one object of this name.

    Names may hold what separates the terms of a selector (RBAC kinds allow it), escaped as the API server's own
    ``fields.EscapeValue`` does.
    """
    return "metadata.name=" + name.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def decode_event(line: bytes, resource: Resource | None = None) -> Event:
    """Decode one line of a watch, of this resource where it matters (see ``bare``).

    Raises ResourceGone, Forbidden, NotServed or ApiError for an ERROR event, Undecodable for what is none at all.
    """
    try:
        raw = orjson.loads(line)
        event = Event(raw["type"], raw["object"])
    except orjson.JSONDecodeError:
        event = _skim_event(line)
    except (KeyError, TypeError):
        raise Undecodable("a line of the watch") from None
    if event.type == "ERROR":
        raise _stream_error(event.object)
    try:
        metadata = event.object["metadata"]
        placed = isinstance(metadata["resourceVersion"], str)
        if not placed or (event.type != "BOOKMARK" and not _is_uid(metadata["uid"])):
            raise Undecodable("the metadata of a watched object")
    except (KeyError, TypeError):
        raise Undecodable("a line of the watch") from None
    if resource is None or not bare.is_bare(resource):
        return event
    return replace(event, object=bare.bare(event.object, resource))


def decode_page(raw: bytes, resource: Resource) -> Page:
    """Decode one page of a list; its items get the apiVersion and kind that they lack. Raises Undecodable."""
    damaged: set[str] = set()
    try:
        page = orjson.loads(raw)
        items = page["items"] or []
    except orjson.JSONDecodeError:
        page, items, damaged = _skim_page(raw)
    except (KeyError, TypeError):
        raise Undecodable("a list") from None
    try:
        token = page["metadata"].get("continue") or ""
        filled = {
            item["metadata"]["uid"]: bare.bare(
                {"apiVersion": resource.api_version, "kind": resource.kind, **item}, resource
            )
            for item in items
        }
        return Page(filled, page["metadata"]["resourceVersion"], token, frozenset(damaged))
    except (KeyError, TypeError, AttributeError):
        raise Undecodable("a list") from None


async def pages(
    client: KubeClient,
    resource: Resource,
    path: str,
    params: Mapping[str, str],
    *,
    limit: int,
    accept: str = "application/json",
) -> AsyncIterator[Page]:
    """List a collection page by page, all of one snapshot. Raises ApiError; ResourceGone when the snapshot expired."""
    query = {**params, "limit": str(limit)}
    accept = bare.accept_list(resource, accept)
    while True:
        page = decode_page(await client.get_bytes(path, params=query, accept=accept), resource)
        yield page
        if not page.token:
            return
        # The token carries the snapshot; the API server refuses a resourceVersion beside it.
        query = {key: query[key] for key in query if not key.startswith("resourceVersion")} | {"continue": page.token}


def _is_uid(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _stream_error(status: Any) -> ApiError:
    code = status.get("code") if isinstance(status, Mapping) else None
    message = status.get("message") if isinstance(status, Mapping) else None
    code = code if isinstance(code, int) else 0
    return _STREAM_ERRORS.get(code, ApiError)(code, str(message or "the watch ended with an error")[:300])


def _skim_event(line: bytes) -> Event:
    try:
        parts = skim.members(line)
        return Event(orjson.loads(parts["type"]), _skim_object(parts["object"]), damaged=True)
    except (ValueError, KeyError):
        raise Undecodable("a line of the watch") from None


def _skim_page(raw: bytes) -> tuple[Mapping[str, Any], list[Any], set[str]]:
    items: list[Any] = []
    damaged: set[str] = set()
    try:
        parts = skim.members(raw)
        for element in skim.elements(parts["items"]):
            try:
                items.append(orjson.loads(element))
            except orjson.JSONDecodeError:
                items.append(_skim_object(element))
                damaged.add(items[-1]["metadata"]["uid"])
        return {"metadata": orjson.loads(parts["metadata"])}, items, damaged
    except (ValueError, KeyError, TypeError):
        raise Undecodable("a list") from None


def _skim_object(raw: bytes) -> dict[str, Any]:
    parts = skim.members(raw)
    return {
        key: _skim_metadata(parts[key]) if key == "metadata" else orjson.loads(parts[key])
        for key in ("apiVersion", "kind", "metadata")
        if key in parts
    }


def _skim_metadata(raw: bytes) -> dict[str, Any]:
    """What of the metadata can be read: ``managedFields`` is nested as deep as the object is."""
    found: dict[str, Any] = {}
    for key, value in skim.members(raw).items():
        try:
            found[key] = orjson.loads(value)
        except orjson.JSONDecodeError:
            if key in _IDENTITY:
                raise
    return found
