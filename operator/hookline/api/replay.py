"""From a ``WebhookReplay`` as the API server stores it to a ``Replay``.

In: the object, and the uid of the subscription that it names. Out: what the store is asked, or InvalidSpec.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from hookline.errors import InvalidSpec, SpecError
from hookline.model import Object
from hookline.stored import Replay, ReplayState


def parse_replay(obj: Object, subscription: str) -> Replay:
    """Read one object. Raises InvalidSpec: the schema refuses what can't be read, but an older one may have let it in.

    A time without a zone is UTC, as the API server takes it.
    """
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        raise _invalid("spec", "must be a map")
    return Replay(
        uid=obj["metadata"]["uid"],
        subscription=subscription,
        states=frozenset(_state(name) for name in _texts(spec, "states", [ReplayState.DEAD])),
        begin=_time(spec, "from", -math.inf),
        end=_time(spec, "to", math.inf),
        ids=frozenset(_texts(spec, "ids", [])),
    )


def _texts(spec: dict[str, Any], key: str, default: list[str]) -> list[str]:
    values = spec.get(key, default)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _invalid(f"spec.{key}", "must be a list of strings")
    if key in spec and not values:
        raise _invalid(f"spec.{key}", "must not be empty")
    return values


def _state(name: str) -> ReplayState:
    try:
        return ReplayState(name)
    except ValueError:
        raise _invalid("spec.states", f"must be of {', '.join(ReplayState)}, not {name!r}") from None


def _time(spec: dict[str, Any], key: str, default: float) -> float:
    text = spec.get(key)
    if text is None:
        return default
    try:
        time = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise _invalid(f"spec.{key}", 'must be a time such as "2026-01-31T12:00:00Z"') from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _invalid(field: str, message: str) -> InvalidSpec:
    return InvalidSpec([SpecError("InvalidSpec", field, message)])
