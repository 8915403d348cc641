"""Field selectors, which the API server evaluates for the operator: worked out here for states that it has not.

In: a selector and a state. Out: what does not match; and what the change is for somebody who watches through it.
"""

from __future__ import annotations

import re
from typing import Any

from hookline import paths
from hookline.model import Object
from hookline.spec import Operation

_TERM = re.compile(r"(?P<key>[^=!]+)(?P<operator>==|=|!=)(?P<value>.*)")


def mismatch(selector: str, obj: Object) -> str:
    """The first requirement that a state does not meet, with the value that it has; empty when it meets all."""
    for term in filter(None, selector.split(",")):
        match = _TERM.fullmatch(term)
        if match is None:
            return f"{term} can't be read"
        value = _value(obj, match["key"])
        if (value == match["value"]) == (match["operator"] == "!="):
            return f"{term}: the object has {match['key']}={value}"
    return ""


def seen_as(operation: Operation, *, before: bool, after: bool) -> Operation | None:
    """What a change is through a selector that matches the states before and after it or not; None: it is not seen.

    Of a creation only ``after`` counts, of a deletion only ``before``.
    https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
    """
    was = before and operation is not Operation.CREATED
    is_ = after and operation is not Operation.DELETED
    if was and is_:
        return Operation.UPDATED
    if was:
        return Operation.DELETED
    return Operation.CREATED if is_ else None


def _value(obj: Object, key: str) -> str:
    """As the API server's field labels have it: text, and empty where there is nothing."""
    if key == "source" and obj.get("kind") == "Event":
        source = obj.get("source") or {}
        return str(source.get("component") or obj.get("reportingComponent") or "")
    value: Any = paths.lookup(obj, tuple(key.split(".")))
    if value is paths.ABSENT or value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
