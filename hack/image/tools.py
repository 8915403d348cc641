"""Programs from Debian's packages, such as buildah, unpacked into the user's cache: nothing is installed.

In: apt of this machine. Out: ``Tools``, which runs them. What is on PATH already is not fetched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.directories import cache, locked
from image.errors import ImageError

_PACKAGES = {"buildah": "buildah", "runc": "runc", "mmdebstrap": "mmdebstrap"}
_NEW = re.compile(r"^Inst (\S+) \(", re.MULTILINE)  # without [the old version], which upgrades have
_INSTALLED = 'mount -t overlay overlay -o "lowerdir=$0/usr:/usr" /usr && exec "$@"'
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
"""Of containers-policy.json: which signatures images need. Those that are made here have none."""


@dataclass(frozen=True)
class Tools:
    """Runs programs. ``root`` is where packages were unpacked, ``storage`` where buildah keeps its images."""

    root: Path
    storage: Path

    def __call__(self, *command: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a command; returns what it printed. Raises ImageError with its last words when it fails."""
        done = subprocess.run(
            self.command(*command),
            env=os.environ | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = (done.stdout + done.stderr)[-3000:]
            raise ImageError(f"{command[0]} ended with {done.returncode}:\n{words}")
        return done.stdout.strip()

    def buildah(self, *arguments: str) -> str:
        """``buildah ARGUMENTS…`` with a storage of our own; no other user of buildah sees or loses an image."""
        stored = ("--root", str(self.storage / "root"), "--runroot", str(self.storage / "run"))
        return self("buildah", *stored, "--storage-driver", "overlay", *arguments)

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command where the packages seem to be installed: in its own mounts only."""
        if not (self.root / "usr").is_dir():
            return list(command)
        return ["unshare", "--mount", "sh", "-c", _INSTALLED, str(self.root), *command]

    @property
    def policy(self) -> str:
        """The option that names the file of which signatures images need."""
        return f"--signature-policy={self.root / 'policy.json'}"


def provide() -> Tools:
    """The tools; unpacked when the cache has none, which takes a few seconds. Raises ImageError."""
    if os.geteuid() != 0:
        raise ImageError("buildah makes other users' files and mounts: run this as root, or use another engine")
    home = cache_directory()
    tools = Tools(home / "tools", home / "storage")
    if not (tools.root / "policy.json").is_file():
        home.mkdir(parents=True, exist_ok=True)
        with locked(home):
            if not (tools.root / "policy.json").is_file():
                unpack(tools.root, _PACKAGES)
                (tools.root / "policy.json").write_text(_POLICY, encoding="utf-8")
    return tools


def cache_directory() -> Path:
    """``~/.cache/hookline/image``."""
    return cache("image")


def unpack(root: Path, packages: Mapping[str, str]) -> None:
    """Make ``root`` hold the Debian packages whose program, the mapping's value, is not on PATH. Raises ImageError."""
    missing = [name for name, program in packages.items() if not _installed(program)]
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ImageError(f"there is no {', '.join(missing)} on PATH, and no apt-get to fetch it with: install it")
    try:
        _download(root, missing)
    except ImageError:
        # The lists are older than what the archive holds now, or were never fetched.
        _apt("update", packages=missing)
        _download(root, missing)
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
        package.unlink()


def _installed(program: str) -> bool:
    return shutil.which(program) is not None or Path("/usr/sbin", program).exists()


def _download(root: Path, packages: Sequence[str]) -> None:
    plan = _apt("install", "--simulate", "--no-install-recommends", *packages, packages=packages)
    _apt("download", *_NEW.findall(plan), packages=packages, directory=root)


def _apt(*arguments: str, packages: Sequence[str], directory: Path | None = None) -> str:
    done = subprocess.run(["apt-get", "-q", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ImageError(
            f"apt-get {arguments[0]} failed; this may help: apt-get install {' '.join(packages)}\n{done.stderr[-2000:]}"
        )
    return done.stdout
