"""A CRD as Markdown: every field with its type, default, bounds, and what is refused.

In: a CRD as YAML gives it, where an anchor and its aliases are one Python object. Out: sections of
``docs/reference/api.md``, one for each object of the schema; what an alias repeats is a link to where it stands first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]
_RULES = "x-kubernetes-validations"
_LEFT_OUT = frozenset({"apiVersion", "kind", "metadata"})
_BOUNDS = (
    ("minimum", "maximum", "{}"),
    ("minItems", "maxItems", "{} items"),
    ("minProperties", "maxProperties", "{} entries"),
    ("minLength", "maxLength", "{} characters"),
)


@dataclass(slots=True)
class Page:
    """The sections of one kind. ``seen`` maps the properties of each object to its path and anchor."""

    kind: str
    sections: list[str] = field(default_factory=list)
    seen: dict[int, tuple[str, str]] = field(default_factory=dict)
    waiting: list[tuple[str, Schema]] = field(default_factory=list)


def anchor(kind: str, path: str) -> str:
    """``webhooksubscription-spec-sources-kind`` of ``spec.sources[].kind``."""
    return "-".join([kind.lower(), *re.findall(r"[A-Za-z0-9]+", path)])


def sections(crd: Schema) -> str:
    """All sections of a kind."""
    kind = crd["spec"]["names"]["kind"]
    (version,) = crd["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]
    page = Page(kind)
    page.sections.append(f"## {kind}\n\n{_text(root)}\n\n{_names(crd)}\n\n{_columns(version)}")
    for name in ("spec", "status"):
        page.waiting.append((name, root["properties"][name]))
    while page.waiting:
        path, schema = page.waiting.pop(0)
        later, page.waiting = page.waiting, []
        page.sections.append(_section(page, path, schema))
        page.waiting += later
    return "\n\n".join(page.sections)


def paths(crd: Schema) -> Iterator[tuple[str, Schema]]:
    """Every field below ``spec`` and ``status`` with its schema, aliases written out."""
    (version,) = crd["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    for name in ("spec", "status"):
        yield from _below(name, properties[name])


def _below(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from _below(f"{path}.{name}", inner)
    if "items" in schema:
        yield from _below(f"{path}[]", schema["items"])


def _names(crd: Schema) -> str:
    names, group = crd["spec"]["names"], crd["spec"]["group"]
    (version,) = crd["spec"]["versions"]
    short = ", ".join(f"`{name}`" for name in [names["plural"], *names.get("shortNames", ())])
    return (
        f"`apiVersion: {group}/{version['name']}`, in a namespace. For kubectl: {short}, and `hookline` for all kinds."
    )


def _columns(version: Schema) -> str:
    rows = [
        (column["name"], column["description"], "" if not column.get("priority") else "with `-o wide`")
        for column in version["additionalPrinterColumns"]
    ]
    return "`kubectl get` shows:\n\n" + table(("column", "what", ""), rows)


def _section(page: Page, path: str, schema: Schema) -> str:
    """The heading, text, table and rules of one object (or of the items of a list of objects)."""
    owner = _object(schema)
    properties = owner["properties"]
    page.seen[id(properties)] = (path, anchor(page.kind, path))
    parts = [f'<a id="{anchor(page.kind, path)}"></a>', f"### `{path}`", _text(schema)]
    if owner is not schema and _text(owner):
        parts.append(f"Each: {_text(owner)}")
    inner_path = f"{path}[]" if owner is schema.get("items") else path
    rows = []
    for name, inner in properties.items():
        if name in _LEFT_OUT and path in ("spec", "status"):
            continue
        rows.append(_row(page, f"{inner_path}.{name}", name, inner, required=name in owner.get("required", ())))
    parts.append(table(("field", "type", "what"), rows))
    rules = [*_rules("", schema), *(_rules("", owner) if owner is not schema else ())]
    for name, inner in properties.items():
        if not _has_section(inner):
            rules += _rules(name, inner)
    if rules:
        parts.append("Refused otherwise:\n\n" + "\n".join(rules))
    return "\n\n".join(part for part in parts if part)


def _row(page: Page, path: str, name: str, schema: Schema, *, required: bool) -> Sequence[str]:
    where = anchor(page.kind, path)
    shown = f"`{name}`"
    text = _text(schema)
    if _has_section(schema):
        known = page.seen.get(id(_object(schema)["properties"]))
        if known is None:
            page.waiting.append((path, schema))
            page.seen[id(_object(schema)["properties"])] = (path, where)
            shown = f"[`{name}`](#{where})"
        else:
            shown = f'<a id="{where}"></a>`{name}`'
            text += f" Fields as in [`{known[0]}`](#{known[1]})."
    else:
        shown = f'<a id="{where}"></a>`{name}`'
    kind = f"{_type(schema)}<br>**required**" if required else _type(schema)
    return shown, kind, text


def _has_section(schema: Schema) -> bool:
    return bool(_object(schema).get("properties"))


def _object(schema: Schema) -> Schema:
    """The object itself, or the items of a list, or the values of a map."""
    if "items" in schema:
        return _object(schema["items"])
    inner = schema.get("additionalProperties")
    return inner if isinstance(inner, dict) and inner.get("properties") else schema


def _type(schema: Schema) -> str:
    """``integer, 1 to 30<br>default `15` ``: type and format, bounds, choices, default."""
    kind = schema["type"]
    inner = schema.get("items") or schema.get("additionalProperties")
    parts = []
    if kind == "array":
        parts.append(f"list of {_plain(inner or {})}")
    elif kind == "object" and isinstance(inner, dict):
        parts.append(f"map of {_plain(inner)}")
    else:
        parts.append(_plain(schema))
    parts += _bounds(schema)
    text = ", ".join(parts)
    if isinstance(inner, dict) and (told := ", ".join(_bounds(inner))):
        text += f"<br>each {told}"
    for choices in (schema.get("enum"), (inner or {}).get("enum") if isinstance(inner, dict) else None):
        if choices:
            text += "<br>" + ", ".join(f"`{choice}`" for choice in choices)
    if "default" in schema and not _has_section(schema):
        text += f"<br>default `{_value(schema['default'])}`"
    return text


def _plain(schema: Schema) -> str:
    return "time" if schema.get("format") == "date-time" else str(schema.get("type", "anything"))


def _bounds(schema: Schema) -> list[str]:
    told = []
    for least, most, unit in _BOUNDS:
        if least in schema and most in schema:
            told.append(unit.format(f"{schema[least]} to {schema[most]}"))
        elif most in schema:
            told.append(unit.format(f"up to {schema[most]}"))
        elif least in schema:
            told.append(unit.format(f"at least {schema[least]}"))
    return told


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return str(value)


def _rules(name: str, schema: Schema) -> list[str]:
    """The messages of a schema's rules and of its items'; each names the field that it is about."""
    told = []
    below = (("", schema), ("[]", schema.get("items")), (".*", schema.get("additionalProperties")))
    for suffix, owner in below:
        if not isinstance(owner, dict) or (owner is not schema and owner.get("properties")):
            continue
        for rule in owner.get(_RULES, ()):
            path = f"{name}{suffix}{rule.get('fieldPath', '')}".strip(".")
            told.append(f"- `{path}` {rule['message']}" if path else f"- It {rule['message']}")
    return told


def _text(schema: Schema) -> str:
    return code(" ".join(schema.get("description", "").split()))


def code(text: str) -> str:
    """Prose of a schema, safe in Markdown: quoted words as code."""
    return re.sub(r'"([^"\s]+)"', r"`\1`", text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; a bar in a cell is written as Markdown wants it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
