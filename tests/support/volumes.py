"""Small real filesystems that a test fills, breaks and repairs. Without the right to mount the test is skipped.

Ask for one before the operator that uses it, so that it is unmounted after the operator's end.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class Volume:
    """A mounted filesystem at ``path``."""

    def __init__(self, path: Path, *mount: str) -> None:
        self.path = path
        self._mount = mount
        path.mkdir()
        self.attach()

    def attach(self) -> None:
        """Mount it; a journal is replayed."""
        _run("mount", *self._mount, str(self.path))

    def detach(self) -> None:
        """Unmount it. Nobody may use it any more."""
        subprocess.run(["umount", str(self.path)], check=True, timeout=60)

    def break_down(self) -> None:
        """What ext4 does by itself on a serious error: everything is read-only from now on, also open files."""
        _run("mount", "-o", "remount,abort", str(self.path))

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.path / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            for size in (64 * 1024, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while filler.write(b"x" * size):
                        pass

    def make_room(self) -> None:
        """Undo ``fill``."""
        (self.path / "filler").unlink()


@contextlib.contextmanager
def tmpfs(path: Path, size: str) -> Iterator[Volume]:
    """A tmpfs of that size."""
    with _mounted(path, "-t", "tmpfs", "-o", f"size={size}", "none") as volume:
        yield volume


@contextlib.contextmanager
def ext4(path: Path, megabytes: int) -> Iterator[Volume]:
    """An ext4 in a file beside ``path``."""
    image = path.with_name(path.name + ".img")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    _run("mkfs.ext4", "-q", str(image))
    device = _run("losetup", "--find", "--show", str(image))
    try:
        with _mounted(path, device) as volume:
            yield volume
    finally:
        subprocess.run(["losetup", "--detach", device], check=True, timeout=60)


@contextlib.contextmanager
def _mounted(path: Path, *mount: str) -> Iterator[Volume]:
    volume = Volume(path, *mount)
    try:
        yield volume
    finally:
        if path.is_mount():
            volume.detach()


def _run(*command: str) -> str:
    if os.geteuid() != 0:
        pytest.skip("mounting a small filesystem needs root")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"there is no {command[0]} here")
    if done.returncode:
        pytest.skip(f"{' '.join(command)} is not permitted here: {done.stderr.strip()}")
    return done.stdout.strip()
