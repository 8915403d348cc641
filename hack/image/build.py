"""Builds the image from the Dockerfile, with buildah.

In: a tree, and a base image, or none, and then one of Debian's packages. Out: an OCI archive, and beside it the bill of
materials that is in it. ``__main__`` is the command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hookline import __version__
from image import base, tools
from image.archive import Archive
from image.tools import Tools

ROOT = Path(__file__).resolve().parents[2]
SBOM = "usr/share/sbom/hookline.cdx.json"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_BASE, _BUILDER = "localhost/hookline-base:debian", "localhost/hookline-builder:debian"


@dataclass(frozen=True)
class Built:
    """An image: its reference in buildah's storage, its digest, and the size of its archive in bytes."""

    reference: str
    digest: str
    size: int


@dataclass(frozen=True)
class Source:
    """What is built: a tree, its date in seconds, and the name of its commit."""

    tree: Path
    epoch: int
    revision: str

    @classmethod
    def here(cls) -> Source:
        """This tree, with the date of its last commit, or of SOURCE_DATE_EPOCH."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or "0"
        changed = "-changed" if _git("status", "--porcelain") else ""
        return cls(ROOT, int(epoch), (_git("rev-parse", "HEAD") or "unknown") + changed)


def build(run: Tools, source: Source, output: Path, *, image: str | None = None) -> Built:
    """Build ``source`` into ``output``, upon ``image`` or what ``debian`` made. Raises ImageError."""
    output.mkdir(parents=True, exist_ok=True)
    arguments = [f"SOURCE_DATE_EPOCH={source.epoch}", f"VERSION={__version__}", f"REVISION={source.revision}"]
    arguments += [f"BASE={image}"] if image else [f"BASE={_BASE}", f"BUILDER={_BUILDER}"]
    reference = f"localhost/hookline:{__version__}"
    run.buildah(
        *(
            "build",
            run.policy,
            "--isolation=chroot",
            "--format=oci",
            "--no-cache",
            "--pull" if image else "--pull-never",
        ),
        *(f"--timestamp={source.epoch}", "--tag", reference),
        *(f"--build-arg={argument}" for argument in arguments),
        *([f"--volume={_AUTHORITIES}:{_AUTHORITIES}:ro"] if _AUTHORITIES.is_file() else []),
        *(f"--ignorefile={source.tree / '.dockerignore'}", f"--file={source.tree / 'Dockerfile'}", str(source.tree)),
    )
    run.buildah("rmi", "--prune")  # what had this name before
    archive = output / "hookline.tar"
    archive.unlink(missing_ok=True)
    (output / "digest").unlink(missing_ok=True)
    run.buildah(
        *("push", run.policy, "--quiet", f"--digestfile={output / 'digest'}", reference),
        f"oci-archive:{archive}:{reference}",
    )
    Archive(archive).copy(SBOM, output / "sbom.cdx.json")
    return Built(reference, (output / "digest").read_text(encoding="utf-8").strip(), archive.stat().st_size)


def debian(run: Tools, *, fresh: bool = False) -> None:
    """Have both base images of Debian's packages in buildah's storage; ``fresh``: of the packages of today."""
    if not fresh and run.buildah("images", "--quiet", "--filter", f"reference={_BASE}"):
        return
    directory = tools.cache_directory() / "base"
    directory.mkdir(parents=True, exist_ok=True)
    for archive, reference in zip(base.build(run, directory), (_BUILDER, _BASE), strict=True):
        container = run.buildah("from", "scratch")
        run.buildah("add", "--quiet", container, str(archive), "/")
        run.buildah("commit", run.policy, "--quiet", "--rm", f"--timestamp={base.EPOCH}", container, reference)
    shutil.rmtree(directory)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
