"""``hookline outbox``: it finds what is wrong, shows what is there, and changes nothing."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from hookline.errors import StoreDamaged
from hookline.model import Outcome, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.stored import Replay
from support.outbox import PODS, A, B, add, finish, message

BINARY = bytes(range(256))
FILL = """
import asyncio, os, sys
from pathlib import Path
from hookline.model import WatchCommit
from hookline.outbox.sqlite import SqliteStore
from support.outbox import PODS, message

async def main():
    store = SqliteStore(Path(sys.argv[1]) / "outbox.db")
    await store.open()
    await store.commit(WatchCommit(PODS, [message(n) for n in range(5)], resource_version="5"))
    print("filled", flush=True)
    sys.stdin.read()
    os._exit(9)

asyncio.run(main())
"""


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hookline", "outbox", *arguments]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    return done


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    """The directory of a stopped operator: a delivered, two dead and two waiting messages, of two subscriptions."""
    store = SqliteStore(tmp_path / "outbox.db", lambda: 1_767_225_600.0)
    await store.open()
    await store.commit(WatchCommit(PODS, resource_version="7"))
    await store.attach(A, PODS, "6")
    await finish(store, Outcome.DELIVERED, message(1, body='{"größe": 1}'.encode()))
    await finish(store, Outcome.DEAD, message(2, body=BINARY), message(3))
    await add(store, message(4))
    await finish(store, Outcome.DEAD, message(1, B))
    await store.replay(Replay("replay", B))
    await store.close()
    return tmp_path


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def sabotage(directory: Path, *statements: str) -> None:
    connection = apsw.Connection(str(directory / "outbox.db"))
    connection.pragma("ignore_check_constraints", 1)
    for name in ("replay_finished", "replay_dropped", "head_finished", "head_again"):
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


# ---- check


def test_a_sound_outbox_has_no_findings(data_dir: Path):
    done = run("check", "--data-dir", str(data_dir))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE subscriptions SET dead = 9 WHERE id = 1", f"subscription {A}: dead: 9 counted, 2 there"),
        ("UPDATE subscriptions SET pending_bytes = 1 WHERE id = 2", f"subscription {B}: bytes pending: 1 counted, "),
        ("DELETE FROM contents WHERE row = 4", f"message msg_0004 of subscription {A}: its content is missing"),
        ("UPDATE contents SET body = x'00' WHERE row = 4", f"message msg_0004 of subscription {A}: its size"),
        ("UPDATE subscriptions SET sequence = 3 WHERE id = 1", "noted as 3, a message has 4"),
        ("DELETE FROM subscriptions WHERE id = 2", "message msg_0001: its subscription has no row"),
        ("UPDATE messages SET replay = NULL", "replay replay: 1 of its messages should wait, 0 do"),
        ("UPDATE subscriptions SET ordered = 1; UPDATE messages SET head = 0", "may be sent, it must be the oldest"),
        ("UPDATE scopes SET resource_version = ''", f"watch {PODS}: its checkpoint is empty"),
        ("INSERT INTO seen VALUES (1, 99, 'u', '1', x'', 1, NULL)", "the last-seen object u: its watch has no row"),
        ("UPDATE attachments SET since = ''", f"subscription {A}: it listens to {PODS} since no resourceVersion"),
        ("DELETE FROM epoch", "the epoch has 0 rows"),
    ],
)
def test_whatever_does_not_hold_is_found(data_dir: Path, statement: str, finding: str):
    sabotage(data_dir, statement)
    done = run("check", "--data-dir", str(data_dir))
    assert finding in done.stdout
    assert done.returncode == 1


def test_a_damaged_file_is_said_to_be_damaged(data_dir: Path):
    with (data_dir / "outbox.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(4096, size, 4096):
            file.seek(page)
            file.write(b"\xff" * 64)
    done = run("check", "--data-dir", str(data_dir))
    assert done.returncode == 1
    assert "the file is damaged" in done.stdout + done.stderr or "its file is damaged" in done.stderr


@pytest.mark.parametrize(("place", "said"), [(0, "is not a database"), (100, "is damaged")])
async def test_who_looks_already_is_not_told_to_look(data_dir: Path, place: int, said: str):
    with (data_dir / "outbox.db").open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 3900)
    done = run("check", "--data-dir", str(data_dir))
    assert done.returncode == 1
    assert f"file {said}: " in done.stdout + done.stderr
    assert "hookline outbox check" not in done.stdout + done.stderr
    with pytest.raises(StoreDamaged, match="hookline outbox check"):  # the control: the operator tells to look
        await SqliteStore(data_dir / "outbox.db").open()


# ---- list and export


def test_the_list_is_a_table_that_can_be_narrowed(data_dir: Path):
    where = ("--data-dir", str(data_dir))
    header, *rows = run("list", *where).stdout.splitlines()
    assert header.split() == ["STATE", "SUBSCRIPTION", "ID", "TYPE", "ATTEMPTS", "REASON", "CODE", "STORED", "DUE"]
    assert [row.split()[0] for row in rows] == ["delivered", "dead", "dead", "pending", "pending"]
    assert rows[1].split()[1:7] == [A, "msg_0002", message(2).event_type, "1", "HTTP503", "503"]
    assert rows[3].split()[4:] == ["0", "-", "-", *["2026-01-01T00:00:00.000Z"] * 2]
    assert len(run("list", *where, "--state", "dead").stdout.splitlines()) == 1 + 2
    assert len(run("list", *where, "--subscription", B).stdout.splitlines()) == 1 + 1
    assert len(run("list", *where, "--limit", "3").stdout.splitlines()) == 1 + 3
    assert len(run("list", *where, "--subscription", "nobody").stdout.splitlines()) == 1


def test_the_list_as_json_has_every_field(data_dir: Path):
    first, *_, last = json.loads(run("list", "--data-dir", str(data_dir), "-o", "json").stdout)
    assert first["state"] == "delivered"
    assert (last["subscription"], last["state"], last["reason"], last["statusCode"]) == (B, "pending", "HTTP503", 503)
    assert (last["attempts"], last["due"], last["finished"]) == (0, "2026-01-01T00:00:00.000Z", None)


def test_an_export_has_the_exact_bodies(data_dir: Path):
    lines = [json.loads(line) for line in run("export", "--data-dir", str(data_dir)).stdout.splitlines()]
    assert [line["id"] for line in lines] == ["msg_0001", "msg_0002", "msg_0003", "msg_0004", "msg_0001"]
    assert lines[0]["body"] == '{"größe": 1}'
    assert lines[0]["headers"] == [["content-type", "application/json"]]
    assert base64.b64decode(lines[1]["bodyBase64"]) == BINARY
    assert "body" not in lines[1]


def test_a_reader_that_has_seen_enough_is_no_error(data_dir: Path):
    command = [sys.executable, "-m", "hookline", "outbox", "export", "--data-dir", str(data_dir)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


# ---- whose file it is


def test_nothing_is_changed_and_nothing_left_beside_the_file(data_dir: Path):
    before = files(data_dir)
    for command in ("check", "list", "export"):
        assert run(command, "--data-dir", str(data_dir)).returncode == 0
    assert files(data_dir) == before


@pytest.fixture
def process(tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """A process that holds a filled outbox open, and dies without closing it when its stdin ends."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[3] / "hack")])

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FILL, str(tmp_path)]
        environ = {**os.environ, "PYTHONPATH": path}
        started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        assert started.stdout is not None
        assert started.stdout.readline() == "filled\n"
        return started

    return start


def test_while_the_operator_runs_it_is_refused_and_told_what_to_do(tmp_path: Path, process):
    with process() as running:
        done = run("list", "--data-dir", str(tmp_path))
        running.stdin.close()
    assert done.returncode == 1
    assert f"process {running.pid} on " in done.stderr
    assert "Stop the operator first (in Kubernetes: scale its Deployment to 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_killed_operator_had_committed_is_seen_and_left_as_it_is(tmp_path: Path, process):
    with process() as running:
        running.stdin.close()
    assert (tmp_path / "outbox.db-wal").stat().st_size, "the messages are in its log"
    before = files(tmp_path)
    assert run("check", "--data-dir", str(tmp_path)).stdout == "ok\n"
    assert len(run("export", "--data-dir", str(tmp_path)).stdout.splitlines()) == 5
    assert before.items() <= files(tmp_path).items()


async def test_the_operator_starts_again_afterwards(tmp_path: Path, process):
    with process() as running:
        running.stdin.close()
    run("check", "--data-dir", str(tmp_path))
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    assert [counts.pending for counts in (await store.counts()).values()] == [5]
    await store.close()
    assert run("check", "--data-dir", str(tmp_path)).stdout == "ok\n"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("PRAGMA application_id = 7", "belongs to another application"),
        ("PRAGMA user_version = 999", "written by a newer Hookline (schema 999"),
        ("PRAGMA user_version = 0", "written by an older Hookline (schema 0"),
    ],
)
def test_a_file_that_it_does_not_know_is_refused(data_dir: Path, statement: str, sentence: str):
    sabotage(data_dir, statement)
    done = run("check", "--data-dir", str(data_dir))
    assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr


def test_a_directory_without_an_outbox_is_named(tmp_path: Path):
    done = run("list", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "there is no such file: name the directory that the operator has as --data-dir" in done.stderr
    assert files(tmp_path) == {}


@pytest.mark.parametrize("arguments", [[], ["drop"], ["list", "--state", "lost"], ["list", "--limit", "-1"]])
def test_wrong_usage_ends_with_2(arguments: list[str]):
    assert run(*arguments).returncode == 2
