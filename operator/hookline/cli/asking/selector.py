"""Label selectors as ``kubectl --selector`` takes them, made into the spec's ``labelSelector``. Pure.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import re
from typing import Any

from hookline.errors import SettingsError

_KEY = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_TERM = re.compile(
    rf"\s*(?:(?P<absent>!\s*)(?P<none>{_KEY})"
    rf"|(?P<set>{_KEY})\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<key>{_KEY})(?:\s*(?P<equal>==|=|!=)\s*(?P<value>{_VALUE}))?)\s*(?:,|$)"
)


def label_selector(text: str) -> dict[str, Any]:
    """``app=orders,tier!=test`` as ``matchLabels`` and ``matchExpressions``. Raises SettingsError."""
    labels: dict[str, str] = {}
    expressions: list[dict[str, Any]] = []
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            example = "app=orders, tier!=test, env in (a,b), team, !team"
            raise SettingsError(f"{text[at:].strip()!r} is no requirement on labels; write for example {example}")
        at = match.end()
        if match["none"]:
            expressions.append({"key": match["none"], "operator": "DoesNotExist"})
        elif match["set"]:
            operator = "In" if match["operator"] == "in" else "NotIn"
            expressions.append({"key": match["set"], "operator": operator, "values": _values(match["values"])})
        elif match["equal"] is None:
            expressions.append({"key": match["key"], "operator": "Exists"})
        elif match["equal"] == "!=":
            expressions.append({"key": match["key"], "operator": "NotIn", "values": [match["value"]]})
        else:
            labels[match["key"]] = match["value"]
    return ({"matchLabels": labels} if labels else {}) | ({"matchExpressions": expressions} if expressions else {})


def _values(text: str) -> list[str]:
    values = [value.strip() for value in text.split(",")]
    wrong = [value for value in values if not re.fullmatch(_VALUE, value)]
    if wrong or not any(values):
        raise SettingsError(f"({text}) must hold label values, separated by commas")
    return values
