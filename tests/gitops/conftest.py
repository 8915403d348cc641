"""What Git has, what a cluster makes of it, and what Flux and Argo CD say to that, asked of their own code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import gitops
import helm
from controlplane import binaries
from support.whole import config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]
ROOT = Path(__file__).resolve().parents[2]
CHECKS = "resource.customizations.health."


@pytest.fixture(scope="session")
def oracle() -> gitops.Oracle:
    return gitops.provide()


@pytest.fixture(scope="session")
def checks() -> dict[str, str]:
    """The health checks that an administrator gives to Argo CD, by group and kind."""
    data = yaml.safe_load((ROOT / "config/samples/argocd/health.yaml").read_text())["data"]
    return {name.removeprefix(CHECKS).replace("_", "/"): script for name, script in data.items()}


@pytest.fixture(scope="session")
def judge(oracle: gitops.Oracle, checks: dict[str, str]) -> Callable[..., list[dict[str, Any]]]:
    """``judge({"live": obj}, …)``: what is said of each; ``checked=False``: by an Argo CD that nobody told of us."""

    def judged(*cases: dict[str, Any], checked: bool = True) -> list[dict[str, Any]]:
        asked = json.dumps({"cases": cases, "checks": checks if checked else {}})
        done = subprocess.run([oracle.judge], input=asked, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        opinions: list[dict[str, Any]] = json.loads(done.stdout)
        return opinions

    return judged


@pytest.fixture(scope="session")
def helm_program() -> Path:
    return helm.provide()


@pytest.fixture(scope="session")
def build() -> Callable[[Path], list[dict[str, Any]]]:
    """The objects that kustomize makes of a folder: the one inside kubectl."""
    kubectl = binaries.provide(sys.stderr)["kubectl"]

    def built(folder: Path) -> list[dict[str, Any]]:
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))

    return built
