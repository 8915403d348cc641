"""What takes minutes to build is built beside the tests that don't need it, once, into the user's cache.

In: the tests of a run, by what their fixtures are called. Out: the same in the order in which they have to wait least,
a process that builds what the cache lacks, and a wait before a test where its timeout doesn't run yet. The process only
goes ahead: a test whose tool it has not built, for whatever reason, builds it itself.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

import gitops
import helm
from controlplane import ControlPlaneError, binaries
from controlplane.process import tied

_TESTS = Path(__file__).resolve().parent.parent
_NICE = 19  # a test is late when it waits for the CPU; a build is not


class Tool(NamedTuple):
    """Something to build: fixtures that need it, whether the cache has it, and how to come by it."""

    fixtures: frozenset[str]
    is_built: Callable[[], bool]
    provide: Callable[[], object]


TOOLS: Mapping[str, Tool] = {  # in the order of building
    "the control plane": Tool(
        frozenset({"control_plane", "plane", "kube", "audited", "bare", "fresh", "world", "build"}),
        binaries.is_built,
        lambda: binaries.provide(io.StringIO()),
    ),
    "helm": Tool(frozenset({"deployed", "helm", "helm_program", "rules"}), helm.is_built, helm.provide),
    "the judge of Flux and Argo CD": Tool(frozenset({"oracle"}), gitops.is_built, gitops.provide),
}
ERRORS = (ControlPlaneError, helm.HelmError, gitops.GitOpsError)


def needed(items: Iterable[pytest.Item]) -> dict[Path, set[str]]:
    """The names of the tools that each file needs; what one of its tests needs, its other tests may use, too."""
    found: dict[Path, set[str]] = {}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        found.setdefault(item.path, set()).update(name for name, tool in TOOLS.items() if tool.fixtures & fixtures)
    return found


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests of files that need nothing first, then file by file as their last tool is built."""
    names, needs = list(TOOLS), needed(items)
    last = {path: max((names.index(name) for name in wanted), default=-1) for path, wanted in needs.items()}
    return sorted(items, key=lambda item: last[item.path])


def begin(wanted: Iterable[str]) -> subprocess.Popen[bytes] | None:
    """Begin to build those of these tools that the cache lacks; None when it has all."""
    missing = [name for name in TOOLS if name in wanted and not _is_built(name)]
    if not missing:
        return None
    paths = os.pathsep.join([str(_TESTS), str(_TESTS.parent / "hack")])
    command = tied([sys.executable, "-m", "support.tools", *missing])
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, start_new_session=True)


def end(building: subprocess.Popen[bytes]) -> None:
    """End it, and the compilers that it started."""
    if building.poll() is None:
        os.killpg(building.pid, signal.SIGKILL)
    building.wait()


def await_all(wanted: Iterable[str]) -> str:
    """Return when these tools are there: empty, or why one of them can't be built."""
    for name in wanted:
        try:
            if not _is_built(name):
                TOOLS[name].provide()
        except ERRORS as error:
            return f"no tests without {name}: {error}"
    return ""


def _is_built(name: str) -> bool:
    try:
        return TOOLS[name].is_built()
    except ERRORS:
        return False  # whoever provides it says why not


def _main(names: Sequence[str]) -> int:
    os.nice(_NICE)
    for name in names:
        sys.stderr.write(f"\nbuilding {name}, some minutes; tests that don't need it go on …\n")
        try:
            TOOLS[name].provide()
        except ERRORS as error:
            sys.stderr.write(f"\n{name} can't be built: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
