"""Log lines against the schema of docs/logs.md: the few keywords of JSON Schema that it uses, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "logs.md"
_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}


def schema() -> dict[str, Any]:
    """The schema as it is documented."""
    found = re.search(r"```json\n(\{\n  \"\$schema\".*?\n\})\n```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found, "docs/logs.md has the schema"
    made: dict[str, Any] = json.loads(found[1])
    return made


def faults(lines: Iterable[str]) -> list[str]:
    """What is wrong with lines, each as a sentence; a line that is no JSON object among them."""
    known = schema()
    assert known["additionalProperties"] is False
    assert known["type"] == "object"
    return [f"{fault}: {line[:400]}" for line in lines for fault in _faults(line, known)]


def _faults(line: str, known: dict[str, Any]) -> list[str]:
    try:
        value = json.loads(line, parse_constant=_refuse)
    except ValueError:
        return ["no JSON"]
    if not isinstance(value, dict):
        return ["no object"]
    found = [f"{name} is missing" for name in known["required"] if name not in value]
    for name, item in value.items():
        rule = known["properties"].get(name)
        found += [f"{name} is unknown"] if rule is None else [f"{name}: {text}" for text in _complaints(item, rule)]
    return found


def _complaints(item: Any, rule: dict[str, Any]) -> list[str]:
    assert rule.keys() <= {"type", "pattern", "enum", "description"}, "a keyword that nobody checks"
    if "enum" in rule and item not in rule["enum"]:
        return [f"{item!r} is none of {rule['enum']}"]
    if "type" in rule and (
        not isinstance(item, _TYPES[rule["type"]]) or (isinstance(item, bool) and rule["type"] != "boolean")
    ):
        return [f"{item!r} is no {rule['type']}"]
    if "pattern" in rule and not re.search(rule["pattern"], item):
        return [f"{item!r} does not match"]
    return []


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
