"""The images that a node runs: the one that holds a pod's namespaces open, and the operator's.

In: buildah of ``hack/image``. Out: OCI archives, made once for the same sources. ``node`` loads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from controlplane.directories import locked
from image import build, tools
from image.tools import Tools
from node.files import PAUSE
from node.programs import cache_directory

_ROOT = Path(__file__).resolve().parents[2]
_OUTPUT = _ROOT / ".run" / "node-image"
_SOURCES = (
    *("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml"),
    *("requirements-build.lock", "requirements-run.lock"),
)
_FOLDERS = ("operator", "hack/image")


def pause(program: Path) -> Path:
    """The archive of an image that runs ``program`` and holds nothing else. Raises ImageError."""
    archive = cache_directory() / f"{program.parent.name}.tar"
    if not archive.is_file():
        run = tools.provide()
        with locked(archive.parent):
            _pack(run, program, archive)
    return archive


def operator() -> Path:
    """The archive of the operator's image, as the tree is now; built when the last one is of another tree.

    Raises ImageError.
    """
    _OUTPUT.mkdir(parents=True, exist_ok=True)
    with locked(_OUTPUT):
        archive, told, digest = _OUTPUT / "hookline.tar", _OUTPUT / "sources", _digest()
        if not archive.is_file() or not told.is_file() or told.read_text(encoding="ascii") != digest:
            told.unlink(missing_ok=True)
            run = tools.provide()
            build.debian(run)
            build.build(run, build.Source.here(), _OUTPUT)
            told.write_text(digest, encoding="ascii")
    return archive


def _pack(run: Tools, program: Path, archive: Path) -> None:
    partial = archive.with_name(f".{archive.name}.partial")
    partial.unlink(missing_ok=True)
    container = run.buildah("from", "scratch")
    run.buildah("add", "--quiet", container, str(program), "/pause")
    run.buildah("config", '--entrypoint=["/pause"]', container)
    image = run.buildah("commit", run.policy, "--quiet", "--rm", container, PAUSE)
    run.buildah("push", run.policy, "--quiet", image, f"oci-archive:{partial}:{PAUSE}")
    partial.rename(archive)


def _digest() -> str:
    """Of all that the image is made of."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield from (_ROOT / name for name in _SOURCES)
    for folder in _FOLDERS:
        found = (path for path in (_ROOT / folder).rglob("*") if path.is_file() and path.parent.name != "__pycache__")
        yield from sorted(found)
