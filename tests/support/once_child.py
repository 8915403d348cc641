"""A handler in a process of its own, which kills itself at a given moment: ``once_child.py ADDRESS WAY MOMENT``.

Ways: ``together`` is ``store.once``; the other two are what people write without it, as controls. Also the moments of a
claim with a lease.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

from hookline.receiver.errors import AlreadyProcessed

ORDERS = "CREATE TABLE IF NOT EXISTS orders (id TEXT)"
INSERT = "INSERT INTO orders VALUES ('msg_1')"


def store_at(address: str, **options: Any) -> Any:
    if address.startswith("sqlite:"):
        from hookline.receiver.once_sqlite import SqliteOnce

        return SqliteOnce(address.removeprefix("sqlite:"), **options)
    from hookline.receiver.once_postgres import PostgresOnce

    return PostgresOnce(address, **options)


def execute(address: str, statement: str) -> list[Any]:
    """One statement in a transaction of its own."""
    if address.startswith("sqlite:"):
        import sqlite3

        with contextlib.closing(sqlite3.connect(address.removeprefix("sqlite:"), timeout=60)) as connection, connection:
            return connection.execute(statement).fetchall()
    import psycopg

    with psycopg.connect(address) as server:
        cursor = server.execute(statement)
        return cursor.fetchall() if cursor.description else []


def main(address: str, way: str, moment: str) -> None:
    def crash(at: str) -> None:
        if at == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    store = store_at(address)
    with contextlib.suppress(AlreadyProcessed):
        if way == "together":
            with store.once("msg_1") as transaction:
                crash("claimed")
                transaction.execute(INSERT)
                crash("written")
            crash("committed")
        elif way == "id first":
            with store.once("msg_1"):
                pass
            crash("between")
            execute(address, INSERT)
        elif way == "write first":
            execute(address, INSERT)
            crash("between")
            with store.once("msg_1"):
                pass
        elif way == "lease":
            claim = store.begin("msg_1")
            execute(address, INSERT)
            crash("performed")
            store.finish(claim)
            crash("finished")


if __name__ == "__main__":
    main(*sys.argv[1:])
