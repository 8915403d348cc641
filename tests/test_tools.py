"""Tests wait for a tool that is still being built only where they need it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support import tools

TESTS = Path(__file__).parent
PLANE, HELM, JUDGE = tools.TOOLS


def item(file: str, *fixtures: str) -> Any:
    return SimpleNamespace(path=Path(file), fixturenames=fixtures)


def test_files_come_in_the_order_in_which_their_tools_are_built_and_stay_whole() -> None:
    judged, planned, rendered = item("judged", "oracle", "kube"), item("planned", "control_plane"), item("helm", "helm")
    bare, free, after = item("planned"), item("free", "tmp_path"), item("free")
    items = [judged, bare, planned, rendered, free, after]
    assert tools.ordered(items) == [free, after, bare, planned, rendered, judged]
    assert tools.needed(items)[Path("planned")] == {PLANE}
    assert tools.needed(items)[Path("judged")] == {PLANE, JUDGE}


@pytest.mark.parametrize(
    ("use", "name"), [("with ControlPlane(", PLANE), ("helm.provide(", HELM), ("gitops.provide(", JUDGE)]
)
def test_a_file_that_comes_by_a_tool_itself_is_known_to_need_it(use: str, name: str) -> None:
    files = [path for path in TESTS.rglob("*.py") if path.parent.name not in {"node", "bench", "support"}]
    using = {path: text for path in files if use in (text := path.read_text()) and path != Path(__file__)}
    assert using
    for path, text in using.items():
        defined = re.findall(r"def (\w+)\(([^)]*)\)", text)
        words = {word for name, parameters in defined for word in (name, *re.findall(r"\w+", parameters))}
        assert words & tools.TOOLS[name].fixtures, path


def test_what_can_not_be_built_is_said_and_not_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no tests without helm: " in tools.await_all([HELM])
    assert "needs Go" in tools.await_all([HELM])
