"""What Flux and Argo CD would say, for the tests: a program made of their own code, and the CRDs of their kinds.

In: ``tests/support/gitops``, whose ``go.mod`` pins both, and Go on PATH. Out: the program and a folder of CRDs, built
once per content of that directory into the user's cache. Flux's CRDs are made of its types by controller-gen, as Flux
makes them; those of Argo CD are files of its module. None of either is copied into the repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from controlplane.directories import cache, locked

SOURCES = Path(__file__).resolve().parent.parent / "tests" / "support" / "gitops"
_ARGO = "github.com/argoproj/argo-cd/v3"
_ARGO_CRDS = ("application", "appproject")
_FLUX = ("source-controller/api/v1", "kustomize-controller/api/v1", "helm-controller/api/v2")
_CONTROLLER_GEN = "sigs.k8s.io/controller-tools/cmd/controller-gen"
_BUILD_SECONDS = 1800.0


class GitOpsError(Exception):
    """It can't be built; the message says why and what to do."""


class Oracle(NamedTuple):
    """The program that judges, and the folder of CRDs."""

    judge: Path
    crds: Path


def is_built() -> bool:
    """Whether the cache has it."""
    return _home().is_dir()


def provide() -> Oracle:
    """Both; built when the cache has none, which takes some minutes. Raises GitOpsError."""
    home = _home()
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent):
        if not home.is_dir():
            _build(home)
    return Oracle(home / "judge", home / "crds")


def _home() -> Path:
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))).hexdigest()
    return cache("gitops") / content[:16]


def _build(home: Path) -> None:
    if shutil.which("go") is None:
        raise GitOpsError("the judge of Flux and Argo CD needs Go, and there is no go on PATH: https://go.dev/dl/")
    partial = home.with_name(f".{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "crds").mkdir(parents=True)
    _go("build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", str(partial / "judge"), ".")
    paths = [f"paths=github.com/fluxcd/{package}" for package in _FLUX]
    _go("run", "-mod=readonly", _CONTROLLER_GEN, "crd", *paths, f"output:crd:dir={partial / 'crds'}")
    argo = Path(_go("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", _ARGO).strip()) / "manifests" / "crds"
    for name in _ARGO_CRDS:
        shutil.copyfile(argo / f"{name}-crd.yaml", partial / "crds" / f"argoproj.io_{name}.yaml")
    partial.rename(home)


def _go(*arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=SOURCES,
        env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise GitOpsError(f"go {' '.join(arguments[:2])} failed:\n{done.stderr[-2000:]}")
    return done.stdout
