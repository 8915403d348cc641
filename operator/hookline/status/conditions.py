"""Conditions as the API conventions want them: pure functions from facts to the list in the status.

https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """What is to be said: ``status`` is True, False or Unknown (as a string), ``reason`` CamelCase."""

    type: str
    status: str
    reason: str
    message: str


def merge(
    existing: Iterable[Mapping[str, Any]], wanted: Sequence[Condition], generation: int, now: float
) -> list[dict[str, Any]]:
    """The new list: ``wanted`` in its order, each with the generation that it speaks of.

    ``lastTransitionTime`` moves only when the status changes. Conditions of ours that are not wanted any more vanish.
    """
    before = {condition.get("type"): condition for condition in existing}
    merged = []
    for condition in wanted:
        old = before.get(condition.type)
        same = old is not None and old.get("status") == condition.status and old.get("lastTransitionTime")
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message[:MESSAGE_LIMIT],
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else timestamp(now),
            }
        )
    return merged


def timestamp(seconds: float) -> str:
    """Unix seconds as metav1.Time: RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
