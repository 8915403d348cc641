"""The control groups of one node: a group of its own in every hierarchy, which the node sees as the root.

In: what this machine has mounted, version 1 or 2 (cgroups(7)). Out: a ``Groups`` to put processes into and to remove.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node.errors import NodeError

UNIFIED = "cgroup2"
_NAME = "hookline-node-"
_DAEMONS = "daemons"
_CPUSET = ("cpuset.cpus", "cpuset.mems")  # of version 1: a new group has none, and takes no process until it has some
_NEEDED = frozenset({"cpu", "cpuset", "memory", "pids"})
_REMOVE_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy: ``group`` is the node's; ``options`` mount it again, empty for version 2."""

    group: Path
    options: str

    @property
    def unified(self) -> bool:
        """Whether this is version 2."""
        return not self.options


class Groups:
    """The node's groups, made now; ``remove`` when all its processes have ended. Raises NodeError."""

    def __init__(self) -> None:
        sweep()
        told = (Path("/proc", name).read_text(encoding="utf-8") for name in ("mounts", "cgroups"))
        self.hierarchies = [Hierarchy(path / f"{_NAME}{os.getpid()}", options) for path, options in mounted(*told)]
        for hierarchy in self.hierarchies:
            _make(hierarchy)

    @property
    def roots(self) -> Sequence[Path]:
        """Where the first process is when it makes its namespaces: these become the roots that it sees."""
        return [hierarchy.group for hierarchy in self.hierarchies]

    @property
    def daemons(self) -> Sequence[Path]:
        """Where the daemons go. A group of version 2 that has controlled children has no processes of its own."""
        return [hierarchy.group / _DAEMONS if hierarchy.unified else hierarchy.group for hierarchy in self.hierarchies]

    @property
    def mounts(self) -> str:
        """A line for each hierarchy, its name and its options, for ``init.sh``; for version 2 one line, ``cgroup2``."""
        if any(hierarchy.unified for hierarchy in self.hierarchies):
            return f"{UNIFIED} {_DAEMONS}\n"
        return "".join(f"{hierarchy.group.parent.name} {hierarchy.options}\n" for hierarchy in self.hierarchies)

    def remove(self) -> None:
        """Remove them with all below. Raises NodeError when processes stay."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        while left := [hierarchy.group for hierarchy in self.hierarchies if not _removed(hierarchy.group)]:
            if time.monotonic() > deadline:
                raise NodeError(f"{left[0]} still holds processes: see its cgroup.procs")
            time.sleep(_POLL_SECONDS)


def sweep() -> None:
    """Remove what a node whose owner was killed left behind."""
    for pattern in (f"{_NAME}*", f"*/{_NAME}*"):
        for path in Path("/sys/fs/cgroup").glob(pattern):
            if not Path("/proc", path.name.removeprefix(_NAME)).exists():
                _removed(path)


def mounted(mounts: str, cgroups: str) -> list[tuple[Path, str]]:
    """Mount point and options of each hierarchy, by ``/proc/mounts`` and ``/proc/cgroups``; of version 2 no options.

    Raises NodeError when a controller that a kubelet needs is in none.
    """
    lines = [line.split() for line in mounts.splitlines()]
    if any((path, kind) == ("/sys/fs/cgroup", UNIFIED) for _, path, kind, *_ in lines):
        return [(Path("/sys/fs/cgroup"), "")]
    controllers = {line.split()[0] for line in cgroups.splitlines()}
    found: list[tuple[Path, str]] = []
    missing = set(_NEEDED)
    for _, path, kind, options, *_ in lines:
        if kind == "cgroup":
            kept = [option for option in options.split(",") if option in controllers or option.startswith("name=")]
            missing -= set(kept)
            found.append((Path(path), ",".join(kept if controllers & set(kept) else ["none", *kept])))
    if missing:
        raise NodeError(f"this machine has no control groups for {', '.join(sorted(missing))}: a kubelet needs them")
    return found


def _make(hierarchy: Hierarchy) -> None:
    try:
        hierarchy.group.mkdir(exist_ok=True)
        if hierarchy.unified:
            (hierarchy.group / _DAEMONS).mkdir(exist_ok=True)
        for name in _CPUSET:
            above = hierarchy.group.parent / name
            if not hierarchy.unified and above.exists():
                (hierarchy.group / name).write_text(above.read_text(encoding="ascii"), encoding="ascii")
    except OSError as error:
        raise NodeError(f"no control group for the node can be made ({error}): this needs root") from error


def _removed(group: Path) -> bool:
    """Remove a group and those below, the lowest first; False while one has a process."""
    with suppress(OSError):
        for directory, _, _ in os.walk(group, topdown=False):
            Path(directory).rmdir()
    return not group.exists()
