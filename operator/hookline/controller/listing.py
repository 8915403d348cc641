"""All objects of one of our own kinds, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from hookline import reasons
from hookline.controller.polled import Api
from hookline.model import Object

PAGE = 500


async def list_objects(api: Api, plural: str, namespaces: Sequence[str] = ()) -> AsyncIterator[Object]:
    """The objects of these namespaces (none: of all). Raises ApiError, NotServed where the CRD is not installed."""
    base = f"/apis/{reasons.GROUP}/{reasons.VERSION}"
    for scope in [f"/namespaces/{name}" for name in namespaces] or [""]:
        more = ""
        while True:
            params = {"limit": str(PAGE), **({"continue": more} if more else {})}
            page = await api.request("GET", f"{base}{scope}/{plural}", params=params)
            for item in page["items"]:
                yield item
            more = page["metadata"].get("continue", "")
            if not more:
                break
