"""A PostgreSQL server for the store of ids, and a clock that tests move."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The connection string of a server of our own, on a socket in a folder of its own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install hookline[postgres]")
    tools = _tools()
    user = _unprivileged()
    home = Path(tempfile.mkdtemp(prefix="hookline-pg-"))
    if user:
        os.chown(home, user.pw_uid, user.pw_gid)

    def run(*command: str) -> None:
        who: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        log = (home / "log").open("a")
        with log:
            subprocess.run(command, check=True, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **who)

    data = str(home / "data")
    try:
        run(str(tools / "initdb"), "-D", data, "-A", "trust", "-U", "hookline", "--no-sync")
        run(str(tools / "pg_ctl"), "-D", data, "-w", "-t", "120", "-o", f"-F -c listen_addresses='' -k {home}", "start")
        try:
            yield f"postgresql://hookline@/postgres?host={home}"
        finally:
            run(str(tools / "pg_ctl"), "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _tools() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL server in PATH or /usr/lib/postgresql: apt-get install postgresql")
    return folders[-1]


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run the server as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path) -> Iterator[str]:
    """The address of an empty database, as receive.yaml spells it; each backend in turn."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'ids.db'}"
        return
    import psycopg

    server = request.getfixturevalue("postgres")
    name = f"t{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def open_store(database, clock) -> Callable[..., Any]:
    from support.once_child import store_at

    def make(**options):
        return store_at(database, clock=clock, **options)

    return make
