"""A field of a configuration file, which knows its own name: every complaint says where, what is wrong, what to write.

In: a parsed YAML document. Out: checked values; SettingsError otherwise. No complaint shows the value of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hookline.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where the file's references lead: ``base`` for relative paths, and the process's environment."""

    base: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """``value`` as YAML gave it, at ``path`` such as ``endpoints[0].keys``."""

    value: Any
    path: str
    place: Place

    def wrong(self, what: str) -> SettingsError:
        """The complaint about this field, to be raised."""
        return SettingsError(f"{self.path or 'the file'}: {what}")

    def parse(self, parser: Callable[[str], T]) -> T:
        """Text through a function that raises SettingsError; its sentence gets this field's name in front."""
        text = self.text()
        return self.made(lambda: parser(text))

    def made(self, maker: Callable[[], T]) -> T:
        """What ``maker`` makes; the sentence of its SettingsError gets this field's name in front."""
        try:
            return maker()
        except SettingsError as error:
            raise self.wrong(str(error)) from None

    def fields(self, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> dict[str, Field]:
        """The fields of a mapping: all of ``required``, any of ``optional``, and no others. Null counts as absent."""
        known = required + optional
        if not isinstance(self.value, dict):
            raise self.wrong(f"it must be a mapping with {_names(known)}")
        for key in self.value:
            if key not in known:
                raise self.wrong(f"there is no field {key!r} here; write {_names(known)}")
        found = {key: self._inner(f".{key}", value) for key, value in self.value.items() if value is not None}
        for key in required:
            if key not in found:
                raise self.wrong(f"{key} is missing")
        return found

    def only(self, *names: str) -> tuple[str, Field]:
        """The one field of a mapping that must hold exactly one of ``names``."""
        found = self.fields(optional=names)
        if len(found) != 1:
            raise self.wrong(f"write exactly one of {_names(names)}")
        return next(iter(found.items()))

    def pairs(self) -> dict[str, Field]:
        """The fields of a mapping whose names are free."""
        if not isinstance(self.value, dict) or not self.value:
            raise self.wrong("it must be a mapping with at least one entry")
        return {str(key): self._inner(f".{key}", value) for key, value in self.value.items()}

    def items(self) -> list[Field]:
        """The entries of a list, one at least."""
        if not isinstance(self.value, list) or not self.value:
            raise self.wrong("it must be a list with at least one entry")
        return [self._inner(f"[{index}]", value) for index, value in enumerate(self.value)]

    def text(self, form: str = r"(?s).+", hint: str = "text that is not empty") -> str:
        """Text that ``form`` matches as a whole; ``hint`` says what to write."""
        if not isinstance(self.value, str) or not re.fullmatch(form, self.value):
            raise self.wrong(f"it must be {hint}")
        return self.value

    def one_of(self, *choices: str) -> str:
        """One of some words."""
        if self.value not in choices:
            raise self.wrong(f"it must be one of {', '.join(choices)}")
        return str(self.value)

    def number(self, least: int, most: int) -> int:
        """A whole number between two bounds, both included."""
        if type(self.value) is not int or not least <= self.value <= most:
            raise self.wrong(f"it must be a whole number from {least} to {most}")
        return self.value

    def flag(self) -> bool:
        """Either true or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("it must be true or false")
        return self.value

    def file(self) -> Path:
        """The path of a file, relative to the configuration's own folder."""
        return self.place.base / self.text()

    def content(self) -> str:
        """What a file holds, without white space around it."""
        try:
            text = self.file().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self.wrong(f"the file can't be read ({type(error).__name__})") from None
        if not text:
            raise self.wrong("the file is empty")
        return text

    def secret(self) -> str:
        """A secret, which is never in the configuration itself: ``{file: …}`` or ``{env: …}``."""
        if not isinstance(self.value, dict):
            raise self.wrong("a secret does not stand here; write {file: <path>} or {env: <variable>}")
        name, where = self.only("file", "env")
        if name == "file":
            return where.content()
        value = self.place.environment.get(where.text(), "").strip()
        if not value:
            raise where.wrong("this environment variable is not set, or empty")
        return value

    def _inner(self, step: str, value: Any) -> Field:
        return Field(value, (self.path + step).lstrip("."), self.place)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names)
