"""The comments of a chart's ``values.yaml``, as a JSON schema and as a table.

In: the file's text, where ``# --`` above a key documents it, and ``# @schema {…}`` adds to what the default tells of
its type. Out: a tree of keys, a schema that refuses every other key, and a table in Markdown. ``{"open": true}`` lets
a map hold whatever Kubernetes takes there. A key without documentation is an error.

Helm takes away a key that somebody sets to null, and an upgrade with ``--reuse-values`` brings none of a newer chart.
So the schema requires every key whose default is not empty; a template takes any other one that is missing for empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_SUBCHART = {
    "global": {"type": "object", "description": "Values that a parent chart gives to all its charts; not used."},
    "enabled": {"type": "boolean", "description": "For the condition of a parent chart's dependency; not used."},
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its name, text and default, what is said of its type, and the keys below where they are documented."""

    name: str
    text: str
    default: Any
    hint: dict[str, Any]
    below: tuple[Key, ...]


def parse(text: str) -> tuple[Key, ...]:
    """The keys of ``values.yaml``. Raises ValueError for a key without ``# --``."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("values.yaml must hold a map")  # noqa: TRY004  (of the file, not of an argument)
    return _keys(root, text.splitlines(), "")


def schema(keys: Sequence[Key]) -> dict[str, Any]:
    """The JSON schema, which allows what Helm itself adds for a subchart."""
    body = _object(keys)
    body["properties"] |= _SUBCHART
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart hookline", **body}


def table(keys: Sequence[Key]) -> str:
    """The keys with defaults, as Markdown."""
    rows = [f"| `{path}` | {_shown(key)} | {key.text} |" for path, key in _leaves(keys, "")]
    return "\n".join(["| Key | Default | What it does |", "|---|---|---|", *rows])


def _keys(node: yaml.MappingNode, lines: Sequence[str], path: str) -> tuple[Key, ...]:
    return tuple(_key(name, value, lines, path) for name, value in node.value)


def _key(name: yaml.ScalarNode, value: yaml.Node, lines: Sequence[str], path: str) -> Key:
    where = f"{path}{name.value}"
    text, hint = _comment(lines, name.start_mark.line)
    default = yaml.SafeLoader("").construct_document(value)
    branch = isinstance(value, yaml.MappingNode) and bool(value.value) and not hint
    if not branch and not text:
        raise ValueError(f"values.yaml: {where} has no documentation: write '# -- …' above it")
    if not branch and default in ([], {}) and not hint:
        raise ValueError(f"values.yaml: {where} is empty and has no '# @schema'; say what it may hold")
    below = _keys(value, lines, f"{where}.") if branch and isinstance(value, yaml.MappingNode) else ()
    return Key(name.value, text, default, hint, below)


def _comment(lines: Sequence[str], line: int) -> tuple[str, dict[str, Any]]:
    """The text and the hint in the comment that ends above ``line``; empty without ``# --``."""
    block: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("# "):
        line -= 1
        block.insert(0, lines[line].lstrip()[2:])
    hint = {}
    words: list[str] = []
    for part in block:
        if part.startswith("@schema "):
            hint = json.loads(part.removeprefix("@schema "))
        elif part.startswith("-- "):
            words = [part.removeprefix("-- ")]
        elif words and not part.startswith(("BEGIN generated: ", "END generated: ")):
            words.append(part)
    return " ".join(words), hint


def _object(keys: Sequence[Key]) -> dict[str, Any]:
    closed = {"type": "object", "additionalProperties": False, "properties": {key.name: _property(key) for key in keys}}
    required = [key.name for key in keys if key.below or (key.default and not key.hint.get("open"))]
    return closed | ({"required": required} if required else {})


def _property(key: Key) -> dict[str, Any]:
    text = {"description": key.text} if key.text else {}
    if key.below:
        return {**text, **_object(key.below)}
    hint = {name: value for name, value in key.hint.items() if name != "open"}
    return {**text, "type": _TYPES[type(key.default)], **hint}


def _leaves(keys: Sequence[Key], path: str) -> list[tuple[str, Key]]:
    found: list[tuple[str, Key]] = []
    for key in keys:
        found += _leaves(key.below, f"{path}{key.name}.") if key.below else [(f"{path}{key.name}", key)]
    return found


def _shown(key: Key) -> str:
    """The default as it is written; a long one is to be seen in the file."""
    text = json.dumps(key.default)
    if re.fullmatch(r'""|\[\]|\{\}', text):
        return f"`{text}`"
    return "see values.yaml" if len(text) > 60 else f"`{text}`"
