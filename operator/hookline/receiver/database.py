"""Which database an address in the configuration means, and the store of ids in it.

In: ``sqlite:/path/of/file.db`` or ``postgresql://…``. Out: an ``OnceStore`` whose transaction writes to that database.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from typing import Any

from hookline.receiver.fields import Field
from hookline.receiver.once import OnceStore
from hookline.receiver.once_sqlite import SqliteOnce

_SQLITE = "sqlite:"
_POSTGRES = ("postgresql://", "postgres://")
_HINT = "sqlite:<path>, postgresql://<host>/<database>, {file: <path>} or {env: <variable>}"


def open_store(field: Field, clock: Callable[[], float], keep: float) -> tuple[OnceStore[Any], bool]:
    """The store at ``field``, and whether it is PostgreSQL; ids are remembered for ``keep`` seconds.

    Nothing is opened yet. Raises SettingsError.
    """
    text = field.secret() if isinstance(field.value, dict) else field.text(hint=_HINT)
    if text.startswith(_SQLITE) and len(text) > len(_SQLITE):
        return SqliteOnce(field.place.base / text.removeprefix(_SQLITE), keep=keep, clock=clock), False
    if not text.startswith(_POSTGRES):
        raise field.wrong(f"it must be {_HINT}")
    if isinstance(field.value, str) and urllib.parse.urlsplit(text).password is not None:
        raise field.wrong("a password does not stand here; write {file: <path>} or {env: <variable>}")
    try:
        from hookline.receiver.once_postgres import PostgresOnce
    except ImportError:
        raise field.wrong("PostgreSQL needs psycopg; run pip install 'hookline[postgres]'") from None
    return PostgresOnce(text, keep=keep, clock=clock), True
