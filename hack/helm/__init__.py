"""The helm program for the chart's tests, compiled once into the user's cache, as ``go.mod`` here pins it.

In: this directory, and Go on PATH. Out: the path of a helm that knows the Kubernetes version of its own libraries.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from controlplane.directories import cache, locked

_GO_MOD = Path(__file__).resolve().with_name("go.mod")
_PACKAGE = "helm.sh/helm/v3"
_BUILD_SECONDS = 1800.0


class HelmError(Exception):
    """There is no helm and none can be built; the message says why and what to do."""


def provide() -> Path:
    """The program; built when the cache has none, which takes about two minutes. Raises HelmError."""
    helm = cache_directory() / "helm"
    if not helm.is_file():
        helm.parent.mkdir(parents=True, exist_ok=True)
        with locked(helm.parent):
            if not helm.is_file():
                _build(helm)
    return helm


def is_built() -> bool:
    """Whether the cache has it."""
    return (cache_directory() / "helm").is_file()


def cache_directory() -> Path:
    """Where it is kept: ``~/.cache/hookline/helm/v3.22.0-x86_64``, for example."""
    return cache("helm") / f"{_pinned(_PACKAGE)}-{platform.machine()}"


def _pinned(module: str) -> str:
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", _GO_MOD.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise HelmError(f"{_GO_MOD} requires no {module}; restore the file")
    return found[1]


def _build(helm: Path) -> None:
    if shutil.which("go") is None:
        raise HelmError("building helm needs Go, and there is no go on PATH: install it from https://go.dev/dl/")
    version, minor = _pinned(_PACKAGE), _pinned("k8s.io/client-go").split(".")[1]
    # Without these, helm takes every cluster that it can't ask for a Kubernetes 1.20, as its own Makefile knows.
    stamps = {f"{_PACKAGE}/internal/version.version": version}
    for package in ("lint/rules", "chartutil"):
        stamps |= {f"{_PACKAGE}/pkg/{package}.k8sVersion{part}": n for part, n in (("Major", "1"), ("Minor", minor))}
    flags = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])
    partial = helm.with_name(".helm.partial")
    done = subprocess.run(
        ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o", str(partial), f"{_PACKAGE}/cmd/helm"],
        cwd=_GO_MOD.parent,
        env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise HelmError(f"go build {_PACKAGE}/cmd/helm failed:\n{done.stderr[-2000:]}")
    partial.replace(helm)
