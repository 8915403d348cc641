"""Reads fields of an object as the API server stores it, and collects what is wrong with them.

In: mappings of JSON. Out: values of the right type within their bounds, a default where there is none; ``errors`` has
the rest. ``parse`` and ``destination`` read with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from hookline.errors import SpecError

LIST_LIMIT = 32

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
D = TypeVar("D")


class Reader:
    """Reads fields of the right type, within the bounds of the CRD, and collects what is wrong."""

    def __init__(self) -> None:
        self.errors: list[SpecError] = []

    @property
    def fields(self) -> frozenset[str]:
        """What has an error."""
        return frozenset(error.field for error in self.errors)

    def fail(self, field: str, message: str) -> None:
        """One more error."""
        self.errors.append(SpecError("InvalidSpec", field, message))

    def get(self, obj: Mapping[str, Any], key: str, kind: type[T], default: T, where: str) -> T:
        """A value of one type."""
        value = obj.get(key)
        return default if value is None else self.typed(value, kind, default, f"{where}.{key}".lstrip("."))

    def typed(self, value: Any, kind: type[T], default: T, field: str) -> T:
        """The value, or the default where it is of another type."""
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(field, f"must be of the type {kind.__name__}, not {type(value).__name__}")
            return default
        return value

    def required(self, obj: Mapping[str, Any], key: str, where: str) -> str:
        """A text that must be there and not be empty."""
        value = self.get(obj, key, str, "", where)
        if not value and f"{where}.{key}" not in self.fields:
            self.fail(f"{where}.{key}", "must be set")
        return value

    def number(self, obj: Mapping[str, Any], key: str, default: int, where: str, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.get(obj, key, int, default, where)
        if not least <= value <= most:
            self.fail(f"{where}.{key}", f"must be {least} to {most}, not {value}")
            return default
        return value

    def items(
        self,
        obj: Mapping[str, Any],
        key: str,
        kind: type[T],
        default: list[T],
        where: str,
        *,
        least: int = 1,
        most: int = LIST_LIMIT,
    ) -> list[T]:
        """A list of values of one kind, neither too few nor too many; an empty one stands where there was another."""
        field = f"{where}.{key}"
        if obj.get(key) is None:
            return default
        values = self.typed(obj[key], list, [], field)
        if field not in self.fields and not least <= len(values) <= most:
            self.fail(field, f"must have {least} to {most} items, not {len(values)}")
        return [self.typed(value, kind, kind(), f"{field}[{index}]") for index, value in enumerate(values)]

    def members(self, obj: Mapping[str, Any], key: str, kind: type[E], where: str) -> list[E]:
        """A list of values of an enumeration; by default all of it."""
        names = self.items(obj, key, str, [str(member) for member in kind], where)
        unknown = [name for name in names if name not in set(kind)]
        if unknown:
            self.fail(f"{where}.{key}", f"must be of {', '.join(kind)}, not {unknown[0]!r}")
        return [kind(name) for name in names if name not in unknown]

    def member(self, obj: Mapping[str, Any], key: str, kind: type[E], default: D, where: str) -> E | D:
        """One value of an enumeration."""
        value = obj.get(key)
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError:
            self.fail(f"{where}.{key}", f"must be one of {', '.join(kind)}, not {value!r}")
            return default
