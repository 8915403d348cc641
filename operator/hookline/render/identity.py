"""The ``webhook-id``: a function of what happened, so that a crash or a second look can't make a second event of it.

Standard Webhooks: the id must be unique per event, the same on every attempt, and without a full stop.
"""

from __future__ import annotations

import base64
import hashlib

from hookline.model import Change


def webhook_id(subscription: str, change: Change) -> str:
    """``msg_`` and 32 characters of base32: SHA-256 of subscription uid, object uid, resourceVersion and operation."""
    return _id(f"{subscription} {change.uid} {change.resource_version} {change.operation.value}")


def ping_id(subscription: str, requested_at: str) -> str:
    """The same of a ping: a function of subscription uid and of the value with which it was asked for."""
    return _id(f"{subscription} ping {requested_at}")


def _id(fact: str) -> str:
    digest = hashlib.sha256(fact.encode()).digest()[:20]
    return "msg_" + base64.b32encode(digest).decode().lower()
