"""``python hack/controlplane …`` and ``python -m controlplane …``: hands over to ``cli``."""

from __future__ import annotations

import sys
from pathlib import Path


def _main() -> int:
    if not __package__:
        # Run as a directory, the interpreter puts the directory itself on the path; the package needs its parent.
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from controlplane.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
