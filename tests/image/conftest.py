"""The image as it is built from a still copy of the tree, and containers of it as Kubernetes would start them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from image import build as images
from image import tools
from image.archive import Archive
from image.tools import Tools
from support.containers import Containers
from support.whole import config_map, receiver, subscriptions

__all__ = ["config_map", "receiver", "subscriptions"]

BUILD_SECONDS = 1200
_COPIED = ("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml", "requirements-build.lock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Builds are for ``make image-test``."""
    for item in items:
        if "image" in item.path.parts and "builder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS))
            if not os.environ.get("HOOKLINE_IMAGE"):
                item.add_marker(pytest.mark.skip(reason="make image-test builds and runs the image"))


@pytest.fixture(scope="session")
def builder() -> Tools:
    """The tools, with both base images."""
    run = tools.provide()
    images.debian(run)
    return run


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> images.Source:
    """A copy of what the build takes: the tree may change meanwhile."""
    tree = tmp_path_factory.mktemp("tree")
    for name in (*_COPIED, "requirements-run.lock", "hack/image/sbom.py"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images.ROOT / name, tree / name)
    shutil.copytree(images.ROOT / "operator", tree / "operator", ignore=shutil.ignore_patterns("__pycache__"))
    return images.Source(tree, 1_700_000_000, "tested")


@pytest.fixture(scope="session")
def built(builder: Tools, source: images.Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the image."""
    directory = tmp_path_factory.mktemp("image")
    images.build(builder, source, directory)
    return directory / "hookline.tar"


@pytest.fixture(scope="session")
def archive(built: Path) -> Archive:
    """What is in it."""
    return Archive(built)


@pytest.fixture(scope="session")
def root(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its files."""
    directory = tmp_path_factory.mktemp("root")
    directory.chmod(0o755)  # it is the container's root, which its user walks through
    archive.unpack(directory)
    return directory


@pytest.fixture
def container(builder: Tools, archive: Archive, root: Path, tmp_path: Path) -> Iterator[Containers]:
    """``container("version")``."""
    containers = Containers(builder, archive, root, tmp_path / "containers")
    yield containers
    containers.remove()
