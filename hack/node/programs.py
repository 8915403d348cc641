"""The programs of a node, and where they come from.

In: the modules beside this file and that of ``hack/controlplane``, Debian's packages. Out: a path for every program.
Whatever the user's cache lacks is built, or unpacked, into it; nothing is installed.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import TextIO

from controlplane import binaries, build
from controlplane.build import Module
from controlplane.directories import cache, locked
from image import tools

_MODULES = Path(__file__).resolve().with_name("modules")
_CONTAINERD = "github.com/containerd/containerd/v2"
_PLUGINS = "github.com/containernetworking/plugins/plugins"
_PACKAGES = {"runc": "runc", "nftables": "nft", "iproute2": "ip"}
PLUGINS = ("bridge", "host-local", "loopback")
"""The network plug-ins; containerd finds them as files of one directory."""


def provide(out: TextIO) -> dict[str, Path]:
    """The path of every program by its name; builds what is missing (minutes), with progress written to ``out``.

    Raises ControlPlaneError without a Go that can build them, or when one does not compile.
    """
    programs = binaries.provide(out)
    for name, module in _modules().items():
        directory = cache_directory() / f"{name}-{_digest(module.directory)}-{platform.machine()}"
        missing = [program for program in module.packages if not (directory / program).is_file()]
        if missing:
            build.build(module, missing, directory, out)
        programs |= {program: directory / program for program in module.packages}
    return programs


def packages() -> Path:
    """Where runc, nft and ip are unpacked, as far as this machine has them not. Raises ImageError."""
    root = cache_directory() / "packages"
    done = root.with_name("packages.done")
    if not done.is_file():
        root.parent.mkdir(parents=True, exist_ok=True)
        with locked(root.parent):
            if not done.is_file():
                tools.unpack(root, _PACKAGES)
                done.touch()
    return root


def cache_directory() -> Path:
    """``~/.cache/hookline/node``."""
    return cache("node")


def _modules() -> dict[str, Module]:
    # Snapshotters of file systems that a test node has not would need their C libraries' headers.
    tags = ("-tags=no_btrfs no_zfs no_devmapper", *Module.flags)
    return {
        "kubernetes": build.kubernetes(
            binaries.kubernetes_version(),
            {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-proxy", "kube-scheduler", "kubelet")},
        ),
        "containerd": Module(
            _MODULES / "containerd",
            {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
            tags,
        ),
        "cni": Module(
            _MODULES / "cni",
            {name: f"{_PLUGINS}/{kind}/{name}" for name, kind in zip(PLUGINS, ("main", "ipam", "main"), strict=True)},
        ),
        "coredns": Module(_MODULES / "coredns", {"coredns": "."}),
        "pause": Module(_MODULES / "pause", {"pause": "."}),
    }


def _digest(directory: Path) -> str:
    """Changes with what the module pins and with its own sources."""
    digest = hashlib.sha256()
    for path in sorted((*directory.glob("go.*"), *directory.glob("*.go"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
