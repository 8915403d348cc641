"""Deliveries, lists, events and refusals as JSON, in the shapes that ``docs/api-access.md`` promises. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
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


def request(message: Message, most: int) -> dict[str, Any]:
    """What is sent for a message, of its body at most ``most`` bytes.

    Credentials and signatures are added when it is sent, so that they are not in the outbox, and not here.
    """
    shown = message.body[:most]
    cut = len(shown) < len(message.body)
    text = _text(shown, cut=cut)
    body = {"body": base64.b64encode(shown).decode(), "bodyEncoding": "base64"}
    return {
        "method": "POST",
        "headers": [{"name": name, "value": value} for name, value in message.headers],
        **(body if text is None else {"body": text, "bodyEncoding": "text"}),
        **({"bodyTruncated": True} if cut else {}),
    }


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


def _text(body: bytes, *, cut: bool) -> str | None:
    """The body as text, None when it is none. A character that was cut apart is left out."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        if cut and error.reason == "unexpected end of data" and len(body) - error.start < 4:
            return body[: error.start].decode()
    return None
