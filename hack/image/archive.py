"""What is in an image: reads the OCI archive, without the program that wrote it.

In: the archive. Out: its configuration, and the files of all its layers as one tree.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class Archive:
    """An image in a tar file, as the OCI image layout has it."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as self._tar:
            (described,) = self._json("index.json")["manifests"]
            self.digest: str = described["digest"]
            self._manifest = self._blob(self.digest)
            self.configuration: dict[str, Any] = self._blob(self._manifest["config"]["digest"])
        self._path = path

    def layers(self) -> Iterator[tarfile.TarFile]:
        """The layers, the lowest first."""
        with tarfile.open(self._path) as self._tar:
            for layer in self._manifest["layers"]:
                with self._opened(_blob(layer["digest"])) as file, tarfile.open(fileobj=file) as tar:
                    yield tar

    def unpack(self, directory: Path) -> None:
        """Write the tree, with its owners, which only root can. The images made here delete nothing of their base."""
        for layer in self.layers():
            layer.extractall(directory, numeric_owner=True, filter="fully_trusted")  # noqa: S202  (we built it)

    def copy(self, name: str, target: Path) -> None:
        """Write one file of the uppermost layer that has it. Raises KeyError without any."""
        found = False
        for layer in self.layers():
            if name in layer.getnames() and (source := layer.extractfile(name)):
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                found = True
        if not found:
            raise KeyError(name)

    def _blob(self, digest: str) -> Any:
        return self._json(_blob(digest))

    def _json(self, name: str) -> Any:
        with self._opened(name) as file:
            return json.load(file)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        file = self._tar.extractfile(name)
        if file is None:
            raise KeyError(name)
        with file:
            yield file


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
