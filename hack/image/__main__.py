"""``python hack/image``: builds the operator's image, and says its digest.

In: the Dockerfile, the locks and the sources, as they are in the tree. Out: ``.run/image/hookline.tar``, an OCI
archive, and ``.run/image/sbom.cdx.json``. ``build`` does the work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def main() -> int:
    """Build; returns the exit code: 0 done, 1 failed."""
    if not __package__:
        # Run as a directory, the interpreter puts the directory itself on the path; the package needs its parent.
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from image import build, tools
    from image.errors import ImageError

    parser = argparse.ArgumentParser(prog="hack/image", description="Builds the operator's image.")
    parser.add_argument(
        "--base", help="an image with Python and pip, with its digest; default: made from Debian's packages"
    )
    parser.add_argument("--fresh-base", action="store_true", help="make the base from Debian's packages of today")
    options = parser.parse_args()
    output = build.ROOT / ".run" / "image"
    started = time.monotonic()
    try:
        run = tools.provide()
        if options.base is None:
            build.debian(run, fresh=options.fresh_base)
        built = build.build(run, build.Source.here(), output, image=options.base)
    except ImageError as error:
        print(f"hack/image: {error}", file=sys.stderr)
        return 1
    components = len(json.loads((output / "sbom.cdx.json").read_text(encoding="utf-8"))["components"])
    print(f"{built.reference}\n  {built.digest}")
    print(f"  {output / 'hookline.tar'}, {built.size / 1e6:.0f} MB, in {time.monotonic() - started:.0f} s")
    print(f"  {output / 'sbom.cdx.json'}, {components} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
