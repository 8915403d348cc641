"""Prometheus and promtool for the tests of alerts and dashboards: those on PATH, else Debian's, without root.

In: PATH, or apt. Out: the two programs, unpacked once into the user's cache; ``Unavailable`` where that can't be done.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from controlplane.directories import cache, locked

_PACKAGE = "prometheus"
_SECONDS = 300.0


class Unavailable(Exception):
    """There is no Prometheus here; the message says what to install."""


class Programs(NamedTuple):
    """The paths of the server and of its tool."""

    prometheus: Path
    promtool: Path


def provide() -> Programs:
    """The programs; fetched when there are none, which takes some seconds. Raises Unavailable."""
    found = [shutil.which(name) for name in Programs._fields]
    if all(found):
        return Programs(*(Path(path) for path in found if path))
    home = _cache()
    programs = Programs(*(home / "usr" / "bin" / name for name in Programs._fields))
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent):
        if not home.is_dir():
            _fetch(home)
    return programs


def _fetch(home: Path) -> None:
    """Unpack the package beside, and give it its name when it is whole."""
    partial = home.with_name(f".{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    _run("apt-get", "--quiet", "download", _PACKAGE, directory=partial)
    package = next(partial.glob(f"{_PACKAGE}_*.deb"))
    _run("dpkg-deb", "--extract", str(package), str(partial), directory=partial)
    package.unlink()
    partial.rename(home)


def _run(*command: str, directory: Path) -> None:
    advice = "install Prometheus 2.42 or newer, with promtool, to test alerts and dashboards"
    if shutil.which(command[0]) is None:
        raise Unavailable(f"no prometheus and promtool on PATH, and no {command[0]} to fetch Debian's: {advice}")
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command[:3])} took more than {_SECONDS:.0f} s: {advice}") from None
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}; {advice}")


def _cache() -> Path:
    return cache("prometheus") / "debian"
