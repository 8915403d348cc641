"""Directories with an owner: locks that end with their holder, scratch space that somebody always cleans up.

A lock is ``flock`` on the directory itself, so there is no lock file to leave behind, and the kernel opens it when the
holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SWEPT = "hookline-controlplane-"


def cache(name: str) -> Path:
    """Where something is kept for the next time: ``~/.cache/hookline/NAME``, or below ``XDG_CACHE_HOME``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hookline" / name


def try_lock(directory: Path) -> int | None:
    """Lock ``directory`` without waiting: the descriptor that holds the lock until it is closed, or None if taken."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(directory: Path, when_taken: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of ``directory``; ``when_taken`` is called once before waiting for another holder."""
    descriptor = try_lock(directory)
    if descriptor is None:
        when_taken()
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)


class Scratch:
    """A private temporary directory (``path``), removed by ``remove``, or by the next ``Scratch`` if we are killed."""

    def __init__(self) -> None:
        _sweep()
        unlocked = Path(tempfile.mkdtemp(prefix="hookline-"))
        self._lock = try_lock(unlocked)
        # Only now does it get a name that is swept: until it is locked, it would look abandoned.
        self.path = unlocked.rename(unlocked.with_name(f"{_SWEPT}{os.getpid()}-{unlocked.name[-8:]}"))

    def remove(self) -> None:
        """Delete it with all it holds. A second call does nothing."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _sweep() -> None:
    """Remove the scratch directories of owners that were killed. Others' directories and links are left alone."""
    for abandoned in Path(tempfile.gettempdir()).glob(f"{_SWEPT}*"):
        with suppress(FileNotFoundError):  # its owner, or another sweeper, was quicker
            status = abandoned.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue
            lock = try_lock(abandoned)
            if lock is not None:
                shutil.rmtree(abandoned, ignore_errors=True)
                os.close(lock)
