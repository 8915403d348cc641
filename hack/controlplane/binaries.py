"""Finds the four programs, and has them built when they are nowhere.

In: ``go.mod`` (the version), ``KUBEBUILDER_ASSETS`` and the user's cache directory, in envtest's order. Out: a path for
every program. ``build`` compiles what is missing.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TextIO

from controlplane import build
from controlplane.directories import cache
from controlplane.errors import ControlPlaneError

ASSETS = "KUBEBUILDER_ASSETS"
_CONTROLLER_MANAGER = "kube-controller-manager"
_RELEASES = "https://kubernetes.io/releases/download/#binaries"
_GOARCH = {"x86_64": "amd64", "aarch64": "arm64"}


def kubernetes_version() -> str:
    """The pinned version, such as ``v1.36.3``."""
    pinned = re.search(r"^\s*k8s\.io/kubernetes (v\S+)$", build.GO_MOD.read_text(encoding="utf-8"), re.MULTILINE)
    if pinned is None:
        raise ControlPlaneError(f"{build.GO_MOD} requires no k8s.io/kubernetes; restore the file")
    return pinned[1]


def cache_directory() -> Path:
    """Where built programs are kept: ``~/.cache/hookline/controlplane/v1.36.3-linux-amd64``, for example."""
    machine = platform.machine()
    name = f"{kubernetes_version()}-{sys.platform}-{_GOARCH.get(machine, machine)}"
    return cache("controlplane") / name


def provide(out: TextIO) -> dict[str, Path]:
    """The path of every program by its name; builds what is missing (minutes), with progress written to ``out``."""
    programs = _programs()
    missing = [name for name, path in programs.items() if not path.is_file()]
    if missing:
        assets = f", or set {ASSETS} to a directory that holds {', '.join(build.PACKAGES)} ({_RELEASES})"
        build.build(build.kubernetes(kubernetes_version(), build.PACKAGES, assets), missing, cache_directory(), out)
    return programs


def is_built() -> bool:
    """Whether ``provide`` has nothing to build. Raises ControlPlaneError as it does."""
    return all(path.is_file() for path in _programs().values())


def _programs() -> dict[str, Path]:
    """Where every program is, or will be."""
    found, cached = _from_assets(), cache_directory()
    return {name: found.get(name, cached / name) for name in build.PACKAGES}


def _from_assets() -> dict[str, Path]:
    """What ``KUBEBUILDER_ASSETS`` holds; kube-controller-manager may be absent, as envtest's archives lack it."""
    directory = os.environ.get(ASSETS)
    if not directory:
        return {}
    found = {name: Path(directory).resolve() / name for name in build.PACKAGES}
    found = {name: path for name, path in found.items() if os.access(path, os.X_OK)}
    missing = [name for name in build.PACKAGES if name not in found and name != _CONTROLLER_MANAGER]
    if missing:
        raise ControlPlaneError(f"{ASSETS}={directory} lacks {', '.join(missing)}; put them there, or unset {ASSETS}")
    return found
