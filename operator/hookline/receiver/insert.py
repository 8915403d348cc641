"""The action ``insert``: one row for each message, in the same transaction as the message's id.

In: an ``Event``. Out: a row whose columns are sources of the event. Values are bound parameters; the names of table and
columns are checked and quoted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hookline.receiver.database import open_store
from hookline.receiver.errors import ActionFailed
from hookline.receiver.fields import Field
from hookline.receiver.once import OnceStore
from hookline.receiver.template import Event, Source, as_text, source

_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = '10s'"


@dataclass(frozen=True)
class Insert:
    """``statement`` takes one parameter for each of ``sources``."""

    store: OnceStore[Any]
    postgres: bool
    statement: str
    sources: tuple[Source, ...]

    async def run(self, event: Event, scope: str) -> None:
        """Insert. Raises AlreadyProcessed, InProgress, OnceUnavailable or ActionFailed."""
        await asyncio.to_thread(self._insert, event, scope)

    def _insert(self, event: Event, scope: str) -> None:
        values = tuple(_bindable(value_of(event)) for value_of in self.sources)
        with self.store.once(event.id, scope) as transaction:
            try:
                if self.postgres:
                    transaction.execute(_STATEMENT_TIMEOUT)
                transaction.execute(self.statement, values)
            except _errors() as error:
                raise ActionFailed(f"the row can't be inserted: {type(error).__name__}") from error


def parse_insert(field: Field, clock: Callable[[], float], keep: float) -> Insert:
    """``{database, table, columns: {<column>: <source>}}``; ``keep`` as of ``open_store``. Raises SettingsError."""
    found = field.fields(("database", "table", "columns"))
    store, postgres = open_store(found["database"], clock, keep)
    table = found["table"].text(rf"({_NAME}\.)?{_NAME}", "a table, or schema.table, of letters, digits and _")
    names, sources = [], []
    for name, column in found["columns"].pairs().items():
        names.append(Field(name, f"{column.path}", field.place).text(_NAME, "a column of letters, digits and _"))
        sources.append(column.parse(source))
    mark = "%s" if postgres else "?"
    statement = (
        f"INSERT INTO {_quoted(table)} ({', '.join(map(_quoted, names))}) "  # noqa: S608 -- checked above, and quoted
        f"VALUES ({', '.join([mark] * len(names))})"
    )
    return Insert(store, postgres, statement, tuple(sources))


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _bindable(value: object) -> object:
    return as_text(value) if isinstance(value, dict | list | str) else value


def _errors() -> tuple[type[Exception], ...]:
    try:
        import psycopg
    except ImportError:
        return (sqlite3.Error, OverflowError, ValueError)
    return (sqlite3.Error, psycopg.Error, OverflowError, ValueError)
