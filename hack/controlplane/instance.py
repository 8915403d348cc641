"""One control plane in the background, known by its directory: up, down, status.

In: a directory. Out: ``kubeconfig`` and ``instance.json`` in it, and a supervising process that owns the components.
The supervisor holds the lock of the directory as long as it lives, so "is it up" has one answer, whatever was killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from controlplane.directories import try_lock, write_private
from controlplane.errors import ControlPlaneError
from controlplane.plane import ControlPlane, remove_contents
from controlplane.process import start_time

RECORD, LOG = "instance.json", "supervisor.log"
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Record:
    """What ``instance.json`` says: the supervisor, its components' pids, and the server's URL once it is ready."""

    pid: int
    started: int  # clock ticks since boot: a pid that was reused started at another time
    server: str | None = None
    components: dict[str, int] = field(default_factory=dict)


def read(directory: Path) -> Record | None:
    """The record of the instance that is up in ``directory``, or starting there; None if there is none."""
    if not directory.is_dir():
        return None
    lock = try_lock(directory)
    if lock is not None:
        os.close(lock)
        return None
    return _record(directory)


def up(directory: Path, arguments: Sequence[str]) -> Record:
    """Start a supervisor in the background and wait until its control plane is ready; one that is up is kept.

    ``arguments`` are those of ``up --foreground``. Raises ControlPlaneError with the supervisor's last words.
    """
    running = read(directory)
    if running is None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (directory / LOG).open("w+b") as log:
            supervisor = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent), "up", "--foreground", f"--dir={directory}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                _await(lambda: supervisor.poll() is not None or _is_ready(directory))
            except BaseException:
                supervisor.terminate()
                supervisor.wait()
                raise
            if supervisor.returncode is not None:
                log.seek(0)
                raise ControlPlaneError(log.read().decode(errors="replace").strip().removeprefix("controlplane: "))
    else:
        _await(lambda: read(directory) is None or _is_ready(directory))
    record = read(directory)
    if record is None:
        raise ControlPlaneError(f"the control plane in {directory} was stopped before it was ready")
    return record


def serve(directory: Path, plane: ControlPlane, ready: Callable[[], None]) -> NoReturn:
    """Run ``plane``, whose directory this is, until SIGINT, SIGTERM or SIGHUP; calls ``ready`` once it answers.

    Raises ControlPlaneError when one is up there already, or the directory belongs to something else.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = try_lock(directory)
    if lock is None:
        raise ControlPlaneError(f"a control plane is up in {directory} already; stop it, or choose another --dir")
    if _record(directory) is not None:
        remove_contents(directory)  # its supervisor was killed
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    me = Record(os.getpid(), start_time(os.getpid()) or 0)
    try:
        _write(directory, me)
        with plane:
            _write(directory, Record(me.pid, me.started, plane.server, plane.pids))
            ready()
            while True:
                signal.pause()
    finally:
        _forget(directory)


def down(directory: Path) -> bool:
    """Stop the instance in ``directory`` and remove its files; False if there was none. Returns when all is gone."""
    record = _record(directory) if directory.is_dir() else None
    if record is None:
        return False
    stopped = _end(record.pid, record.started)
    remove_contents(directory)
    _forget(directory)
    return stopped


def _end(pid: int, started: int) -> bool:
    """End this very process; a descriptor keeps meaning it even if its pid is reused between two lines."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(pid) != started:
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], [], [], _STOP_SECONDS)[0]:
                return True
    finally:
        os.close(descriptor)
    raise ControlPlaneError(f"process {pid} doesn't end, not even by SIGKILL; see what it waits for")


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clearing up
    sys.exit(0)


def _await(condition: Callable[[], bool]) -> None:
    """Wait without a limit of its own: the supervisor gives up by itself, and a build takes as long as it takes."""
    while not condition():
        time.sleep(_POLL_SECONDS)


def _is_ready(directory: Path) -> bool:
    record = read(directory)
    return record is not None and record.server is not None


def _record(directory: Path) -> Record | None:
    try:
        return Record(**json.loads((directory / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ControlPlaneError(f"{directory / RECORD} isn't a record of a control plane; remove it") from error


def _write(directory: Path, record: Record) -> None:
    write_private(directory / RECORD, json.dumps(asdict(record), indent=2).encode() + b"\n")


def _forget(directory: Path) -> None:
    for name in (RECORD, LOG):
        (directory / name).unlink(missing_ok=True)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
