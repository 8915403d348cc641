"""Dotted paths into objects, as ``filter.changed`` and ``payload.exclude`` write them. Pure.

``status.availableReplicas`` steps through maps; a key with dots stands in brackets:
``metadata.annotations['example.com/owner']``. Lists are taken whole: there is no index syntax.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from hookline.errors import SpecError

Path = tuple[str, ...]


class _Absent:
    """The value of a path that leads nowhere: equal to itself alone, so that null and absent differ."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()

_STEP = re.compile(r"(?:^|\.)(?P<name>[A-Za-z0-9_$/-]+)|\[(?P<quote>['\"])(?P<key>[^'\"\]]+)(?P=quote)\]")


def parse(text: str, field: str) -> Path:
    """``a.b['c.d']`` -> ``("a", "b", "c.d")``. Raises SpecError with the position of what can't be read."""
    steps: list[str] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (steps and match["name"] is not None and text[position] != "."):
            raise SpecError(
                "InvalidSpec", field, f"{text!r} can't be read at character {position + 1}: must be a.b['c.d']"
            )
        steps.append(match["name"] if match["name"] is not None else match["key"])
        position = match.end()
    if not steps:
        raise SpecError("InvalidSpec", field, "must not be empty")
    return tuple(steps)


def lookup(obj: Any, path: Path) -> Any:
    """The value at ``path``, or ABSENT."""
    for step in path:
        if not isinstance(obj, Mapping) or step not in obj:
            return ABSENT
        obj = obj[step]
    return obj


def without(obj: Mapping[str, Any], excluded: tuple[Path, ...]) -> Mapping[str, Any]:
    """``obj`` less the excluded paths. The input is shared and stays as it is: only the maps on the way are copied."""
    for path in excluded:
        if lookup(obj, path) is not ABSENT:
            obj = _without_one(obj, path)
    return obj


def _without_one(obj: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    copy = dict(obj)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without_one(copy[path[0]], path[1:])
    return copy
