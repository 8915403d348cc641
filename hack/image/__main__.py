"""``python hack/image``: builds the operator's image, and says its digest.

In: the Dockerfile, the locks and the sources, as they are in the tree. Out: ``.run/image/hookline.tar``, an OCI
archive, and ``.run/image/sbom.cdx.json``. The bases are made from Debian's packages unless ``--base`` names an image.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hookline import __version__
from image import base, tools
from image.archive import Archive
from image.errors import ImageError
from image.tools import Tools

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / ".run" / "image"
SBOM = "usr/share/sbom/hookline.cdx.json"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_BASE, _BUILDER = "localhost/hookline-base:debian", "localhost/hookline-builder:debian"


@dataclass(frozen=True)
class Built:
    """An image: its reference in buildah's storage, its digest, and the size of its archive in bytes."""

    reference: str
    digest: str
    size: int


def build(run: Tools, output: Path, *, image: str | None = None, fresh: bool = False, cached: bool = True) -> Built:
    """Build the image into ``output``. ``image`` is the base, ``fresh`` makes Debian's anew. Raises ImageError."""
    epoch, revision = commit()
    output.mkdir(parents=True, exist_ok=True)
    arguments = [f"SOURCE_DATE_EPOCH={epoch}", f"VERSION={__version__}", f"REVISION={revision}"]
    if image is None:
        _debian(run, fresh=fresh)
        arguments += [f"BASE={_BASE}", f"BUILDER={_BUILDER}"]
    else:
        arguments += [f"BASE={image}"]
    reference = f"localhost/hookline:{__version__}"
    run.buildah(
        *("build", run.policy, "--isolation=chroot", "--format=oci", "--layers" if cached else "--no-cache"),
        *("--pull-never" if image is None else "--pull", f"--timestamp={epoch}", "--tag", reference),
        *(f"--build-arg={argument}" for argument in arguments),
        *([f"--volume={_AUTHORITIES}:{_AUTHORITIES}:ro"] if _AUTHORITIES.is_file() else []),
        *(f"--ignorefile={ROOT / '.dockerignore'}", str(ROOT)),
    )
    archive = output / "hookline.tar"
    archive.unlink(missing_ok=True)
    (output / "digest").unlink(missing_ok=True)
    run.buildah(
        *("push", run.policy, "--quiet", f"--digestfile={output / 'digest'}", reference),
        f"oci-archive:{archive}:{reference}",
    )
    Archive(archive).copy(SBOM, output / "sbom.cdx.json")
    return Built(reference, (output / "digest").read_text(encoding="utf-8").strip(), archive.stat().st_size)


def commit() -> tuple[int, str]:
    """The date of the last commit, in seconds, unless SOURCE_DATE_EPOCH says another; and its name."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    epoch = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct") or "0"
    changed = "-changed" if git("status", "--porcelain") else ""
    return int(epoch), (git("rev-parse", "HEAD") or "unknown") + changed


def _debian(run: Tools, *, fresh: bool) -> None:
    """Have both base images in buildah's storage."""
    if not fresh and run.buildah("images", "--quiet", "--filter", f"reference={_BASE}"):
        return
    directory = tools.cache_directory() / "base"
    directory.mkdir(parents=True, exist_ok=True)
    epoch, _ = commit()
    for archive, reference in zip(base.build(run, directory, epoch), (_BUILDER, _BASE), strict=True):
        container = run.buildah("from", "scratch")
        run.buildah("add", "--quiet", container, str(archive), "/")
        run.buildah("commit", run.policy, "--quiet", "--rm", f"--timestamp={epoch}", container, reference)
    shutil.rmtree(directory)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; returns the exit code: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="hack/image", description="Builds the operator's image.")
    parser.add_argument(
        "--base", help="an image with Python and pip, with its digest; default: made from Debian's packages"
    )
    parser.add_argument("--fresh-base", action="store_true", help="make the base from Debian's packages of today")
    parser.add_argument("--no-cache", action="store_true", help="build every step again")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        built = build(
            tools.provide(), OUTPUT, image=options.base, fresh=options.fresh_base, cached=not options.no_cache
        )
    except ImageError as error:
        print(f"hack/image: {error}", file=sys.stderr)
        return 1
    components = len(json.loads((OUTPUT / "sbom.cdx.json").read_text(encoding="utf-8"))["components"])
    print(f"{built.reference}\n  {built.digest}")
    print(f"  {OUTPUT / 'hookline.tar'}, {built.size / 1e6:.0f} MB, in {time.monotonic() - started:.0f} s")
    print(f"  {OUTPUT / 'sbom.cdx.json'}, {components} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
