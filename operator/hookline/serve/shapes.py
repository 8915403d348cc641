"""Deliveries, lists, events and refusals as JSON, in the shapes that ``docs/api-access.md`` promises. Pure."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from hookline import reasons
from hookline.model import Message
from hookline.serve.refusals import Refused
from hookline.stored import Delivery

API_VERSION = f"{reasons.GROUP}/{reasons.VERSION}"
SKIPPED = "hookline.dev/skipped"
JSON = Mapping[str, Any]
_PART = 3 * 4096  # bytes of a body at a time; of threes, so that parts in base64 make a whole
_AFTER_BODY = b'"}}'


@dataclass(frozen=True, slots=True)
class Owner:
    """The subscription whose deliveries are shown."""

    namespace: str
    name: str


def delivery(owner: Owner, found: Delivery) -> dict[str, Any]:
    """One delivery without its content."""
    status = {
        "state": found.state.value,
        "attempts": found.attempts,
        "reason": found.reason,
        "statusCode": found.status_code,
        "observedTime": _time(found.observed),
        "dueTime": _time(found.due),
        "finishedTime": _time(found.finished),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Delivery",
        "metadata": {"name": found.id, "namespace": owner.namespace, "creationTimestamp": _time(found.stored)},
        "spec": {
            "subscriptionName": owner.name,
            "type": found.event_type,
            "objectUID": found.object_uid,
            "sequence": found.sequence,
            "size": found.size,
        },
        "status": {name: value for name, value in status.items() if value is not None},
    }


def content(owner: Owner, found: Delivery, message: Message, most: int) -> Iterator[bytes]:
    """One delivery with what is sent for it, of its body at most ``most`` bytes, as JSON in parts.

    A body may be six times as long when it is escaped: no more than a part of it is at any time. Credentials and
    signatures are added when it is sent, so that they are not in the outbox, and not here.
    """
    shown = memoryview(message.body)[:most]
    cut = len(shown) < len(message.body)
    length = _text_length(shown, cut=cut)
    request = {
        "method": "POST",
        "headers": [{"name": name, "value": value} for name, value in message.headers],
        "bodyEncoding": "base64" if length is None else "text",
        **({"bodyTruncated": True} if cut else {}),
        "body": "",
    }
    whole = orjson.dumps({**delivery(owner, found), "request": request})
    yield whole[: -len(_AFTER_BODY)]
    if length is None:
        for first in range(0, len(shown), _PART):
            yield base64.b64encode(shown[first : first + _PART])
    else:
        for text in _texts(shown[:length]):
            yield orjson.dumps(text)[1:-1]
    yield _AFTER_BODY


def page(owner: Owner, items: Iterable[Delivery], position: str) -> dict[str, Any]:
    """A list; ``position`` is where it goes on, empty at its end."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DeliveryList",
        "metadata": {"continue": position} if position else {},
        "items": [delivery(owner, item) for item in items],
    }


def event(kind: str, obj: JSON) -> bytes:
    """One line of a stream."""
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"


def bookmark(skipped: int) -> bytes:
    """A line that says that all is well, and how many changes were not told since the one before."""
    metadata = {"annotations": {SKIPPED: str(skipped)}} if skipped else {}
    return event("BOOKMARK", {"apiVersion": API_VERSION, "kind": "Delivery", "metadata": metadata})


def status(refused: Refused) -> dict[str, Any]:
    """A refusal as ``metav1.Status``."""
    details = {"details": {"retryAfterSeconds": refused.retry_after}} if refused.retry_after else {}
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": refused.message,
        "reason": refused.reason,
        **details,
        "code": refused.code,
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text_length(body: memoryview, *, cut: bool) -> int | None:
    """How much of the body is text, None when it is none. A character that was cut apart is left out."""
    try:
        for _ in _texts(body):
            pass
    except UnicodeDecodeError as error:
        # This is said at the end alone, when the decoder has the beginning of a character and nothing else.
        return len(body) - len(error.object) if cut and error.reason == "unexpected end of data" else None
    return len(body)


def _texts(body: memoryview) -> Iterator[str]:
    """The body as text, in parts. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for first in range(0, len(body), _PART):
        yield decoder.decode(body[first : first + _PART])
    yield decoder.decode(b"", final=True)
