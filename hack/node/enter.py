"""Run as ``python -I -S enter.py GROUP… -- PROGRAM ARGUMENT…``: moves itself into the groups, and becomes PROGRAM.

A program of its own, so that a child is in its control groups before it does anything.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _main() -> None:
    end = sys.argv.index("--")
    groups, command = sys.argv[1:end], sys.argv[end + 1 :]
    for group in groups:
        Path(group, "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    os.execvp(command[0], command)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    _main()
