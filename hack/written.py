"""Files that are generated: those that differ are written, and those that are generated no more are removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def write(files: Mapping[Path, str], stale: Iterable[Path] = ()) -> None:
    """Bring the disk in line with ``files``, each with its whole text, remove ``stale``, and print what changed."""
    for path in stale:
        path.unlink()
        print(f"removed {path}")
    for path, text in files.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path)
