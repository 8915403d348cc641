"""The ground of the snippets: the API server with our kinds, real kubectl and helm, and a room for each block.

The snippets of a run are worked on by a few threads at once, since each waits for other processes most of the time; a
test waits for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import helm
from controlplane import ControlPlane
from support.cluster import Kubectl
from support.snippets.blocks import Block
from support.snippets.check import Checker
from support.snippets.shell import Ground

_AT_ONCE = 4
_PROMETHEUS = Path(__file__).resolve().parents[1] / "chart" / "monitoring"


@pytest.fixture(scope="session")
def helm_program() -> Path:
    return helm.provide()


@pytest.fixture(scope="session")
def ground(
    control_plane: ControlPlane,
    kubectl: Kubectl,
    crds: object,
    helm_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ground:
    """With the kinds of the Prometheus operator, too, which pages have objects of."""
    files = [f"--filename={path}" for path in sorted(_PROMETHEUS.glob("*.yaml"))]
    names = kubectl("apply", "--server-side", *files, "-o", "name").split()
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    return Ground(
        kubectl=control_plane.programs["kubectl"],
        helm=helm_program,
        kubeconfig=control_plane.kubeconfig,
        scratch=tmp_path_factory.mktemp("snippets"),
    )


@pytest.fixture(scope="session")
def checker(ground: Ground, kubectl: Kubectl) -> Iterator[Checker]:
    with Checker(ground, kubectl) as checker:
        yield checker


@pytest.fixture(scope="session")
def checked(checker: Checker, request: pytest.FixtureRequest) -> Iterator[Callable[[Block], object]]:
    """``checked(block)`` waits for a block's check; all that this run wants were begun at the first call."""
    wanted: list[Any] = [
        item.callspec.params["block"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "checked" in item.fixturenames and hasattr(item, "callspec")
    ]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        begun: dict[str, Future[None]] = {str(block): threads.submit(checker.check, block) for block in wanted}
        yield lambda block: begun[str(block)].result()
        for future in begun.values():
            future.cancel()


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a page of a site of its own; gives the folder."""

    def write(text: str, name: str = "index.md") -> Path:
        (tmp_path / "pages").mkdir(exist_ok=True)
        (tmp_path / "pages" / name).write_text(text, encoding="utf-8")
        return tmp_path / "pages"

    return write
