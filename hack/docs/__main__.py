"""``python hack/docs`` (``make docs``): writes the generated pages, and builds the site into ``.run/docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs import pages, references


def main() -> int:
    """Returns 1, with what is wrong on stderr, when the site is not as it should be."""
    references.main()
    if complaints := pages.build(anew=True):
        print(complaints, file=sys.stderr)
        return 1
    print(f"{pages.SITE}: ok. To read it: {sys.executable} -m http.server --bind 127.0.0.1 --directory {pages.SITE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
