"""``python tests/bench``: hands over to ``bench.cli``, with the packages of tests and hack on the path."""

from __future__ import annotations

import sys
from pathlib import Path


def _main() -> int:
    tests = Path(__file__).resolve().parents[1]
    # Run as a directory, the interpreter puts the directory itself on the path; ``bench`` is found in its parent.
    sys.path[:1] = [str(tests), str(tests.parent / "hack")]
    from bench.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
