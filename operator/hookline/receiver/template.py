"""Values out of an event, and texts made of them. Nothing is evaluated: a path is looked up, braces are replaced.

In: the ``Event`` that an endpoint received. Out: JSON values, or text. A source is ``$`` (the whole body),
``$.data.items[0].name``, ``$['a key']``, ``@id``, ``@timestamp``, ``@endpoint`` or ``@body`` (text as it came). Headers
beside the id and the timestamp are not signed, so no source reads them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hookline.errors import SettingsError

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]{1,6})\]|\['([^']*)'\]")
_HOLE = re.compile(r"\{([$@][^{}]*)\}")
_OF_THE_REQUEST = ("@id", "@timestamp", "@endpoint", "@body")

Source = Callable[["Event"], Any]


@dataclass(frozen=True)
class Event:
    """A verified request: the endpoint's name, ``webhook-id`` and ``-timestamp``, and the exact bytes of the body."""

    endpoint: str
    id: str
    timestamp: int
    body: bytes

    @functools.cached_property
    def document(self) -> Any:
        """The body as JSON; None when it is none, so that every path into it finds nothing."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")


def source(text: str) -> Source:
    """A function from an event to the value at ``text``; None where there is nothing. Raises SettingsError."""
    if text in _OF_THE_REQUEST:
        attribute = "text" if text == "@body" else text[1:]
        return lambda event: getattr(event, attribute)
    steps = tuple(_STEP.finditer(text, 1))
    if not text.startswith("$") or "".join(step[0] for step in steps) != text[1:]:
        raise SettingsError(
            f"{text!r} is no source; write a path such as $.data.name, $.items[0] or $['a key'], "
            f"or one of {', '.join(_OF_THE_REQUEST)}"
        )
    path = tuple(int(step[2]) if step[2] else step[1] or step[3] or "" for step in steps)
    return lambda event: _look(event.document, path)


class Template:
    """Text with sources in braces: ``Order {$.data.id} failed``; any other brace is just a brace.

    ``escape`` is applied to each value, never to the text around it. Raises SettingsError for a source that is none.
    """

    def __init__(self, text: str, escape: Callable[[str], str] = str) -> None:
        parts = _HOLE.split(text)
        self._texts = parts[::2]
        self._sources = [source(part) for part in parts[1::2]]
        self._escape = escape

    def render(self, event: Event) -> str:
        """The text for one event; a value that is absent gives nothing, an object or list its JSON."""
        made = [self._texts[0]]
        for value_of, text in zip(self._sources, self._texts[1:], strict=True):
            made += (self._escape(as_text(value_of(event))), text)
        return "".join(made)


def as_text(value: object) -> str:
    """A JSON value as a person would write it: strings bare, absent ones empty, the rest JSON. Always valid Unicode."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")  # JSON can spell half of a surrogate pair


def _look(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        fits = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if not (fits or (isinstance(value, dict) and step in value)):
            return None
        value = value[step]
    return value
