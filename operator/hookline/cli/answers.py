"""What the operator's API answered, read with care: it may be another server, or one that means ill.

In: bytes and streams. Out: Delivery objects of which everything that is printed has the type that it should have, or a
CommandError that says in a sentence what is wrong. ``hookline.cli.remote`` asks.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from hookline.cli.cluster import CommandError, Missing

if TYPE_CHECKING:
    import aiohttp

Object = dict[str, Any]
MAX_LINE = 16 << 20
STRANGE = "the answer is not that of the operator's API: is --server, or the port, the right one?"


class Again(CommandError):
    """It may work soon: the pod does not lead, or it is asked too often. ``leader`` is whether another pod leads."""

    def __init__(self, message: str, *, leader: bool) -> None:
        super().__init__(message)
        self.leader = leader


def decoded(raw: bytes) -> Any:
    """The JSON; None where there is none that can be read."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def page(value: Any) -> tuple[list[Object], str]:
    """Deliveries of one page of a list, and the token for the next page, empty when it is the last."""
    items, metadata = _part(value, "items", list), _part(value, "metadata", dict)
    token = _part(metadata, "continue", str) if metadata.get("continue") else ""
    return [delivery(item) for item in items], token


def delivery(value: Any) -> Object:
    """One delivery."""
    _part(_part(value, "metadata", dict), "name", str)
    for key in ("spec", "status", "request"):
        if value.get(key) is not None:
            _part(value, key, dict)
    request = value.get("request") or {}
    for header in _part(request, "headers", list) if request.get("headers") else ():
        if not isinstance(header, dict) or not {"name", "value"} <= header.keys():
            raise CommandError(STRANGE)
    found: Object = value
    return found


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Object]]:
    """The events of a watch: type and delivery. Raises CommandError, Again."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise CommandError("a line of the stream is longer than 16 MiB")
        for line in filter(None, lines):
            event = decoded(line)
            kind, obj = _part(event, "type", str), _part(event, "object", dict)
            if kind == "ERROR":
                raise _refused(obj.get("code"), obj)
            if kind != "BOOKMARK":
                yield kind, delivery(obj)


def refusal(code: int, raw: bytes) -> CommandError:
    """What the operator's ``metav1.Status`` means, and what to do."""
    status = decoded(raw)
    return _refused(code, status if isinstance(status, dict) else {})


def _refused(code: Any, status: Object) -> CommandError:
    message, reason = str(status.get("message") or ""), str(status.get("reason") or "")
    if not message:
        return CommandError(f"HTTP {code}, and not from the operator's API: is --server, or the port, the right one?")
    match code:
        case 503:
            return Again(f"the operator can't answer: {message}", leader=reason == "NotLeader")
        case 429:
            return Again(f"the operator is asked too often: {message}", leader=False)
        case 404:
            return Missing(message)
        case 401:
            return CommandError(f"the operator does not accept the token: {message}")
        case 403:
            return CommandError(
                f"{message}. Ask for that right: a Role with get, list and watch on webhooksubscriptions/deliveries"
            )
    return CommandError(message)


def _part(value: Any, key: str, kind: type) -> Any:
    part = value.get(key) if isinstance(value, dict) else None
    if not isinstance(part, kind):
        raise CommandError(STRANGE)
    return part
