"""The tree itself: what must never be in it, and that the import contracts are kept."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_folder_operator_never_shadows_the_standard_library() -> None:
    assert {path.name for path in (ROOT / "operator").iterdir() if not path.name.startswith((".", "__pycache__"))} == {
        "hookline"
    }
    code = "import operator, collections; assert operator.eq(1, 1); print(operator.__file__)"
    seen = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": "."}, capture_output=True, text=True
    )
    assert seen.returncode == 0, seen.stderr
    assert "operator.py" in seen.stdout


def test_an_init_file_in_operator_would_break_the_interpreter(tmp_path: Path) -> None:
    """The control of the test above: the danger is real."""
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "__init__.py").touch()
    broken = subprocess.run(
        [sys.executable, "-c", "import collections"], cwd=tmp_path, env={"PYTHONPATH": "."}, capture_output=True
    )
    assert broken.returncode != 0


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "operator").rglob("*.py")}
    assert {path.name: count for path, count in lengths.items() if count > 400} == {}
