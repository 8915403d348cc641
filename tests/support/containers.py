"""Containers of the image, as the chart's pod has them, under runc.

In: an unpacked image. Out: command lines, and the operator as a handle like ``support.live.LiveOperator``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

from controlplane import ControlPlane
from image.archive import Archive
from image.tools import Tools
from support.live import LiveOperator

USER = 65532


class Containers:
    """Runs the image under runc as the chart's pod does: its user, no capability, a read-only root, /tmp in memory."""

    def __init__(self, run: Tools, archive: Archive, root: Path, directory: Path) -> None:
        self._run = run
        self._archive = archive
        self._root = root
        self._directory = directory

    def command(self, *arguments: str, entrypoint: list[str] | None = None, mounts: tuple[Path, ...] = ()) -> list[str]:
        """A command line that runs a container; ``mounts`` are seen at their own paths, and may be written."""
        name = uuid.uuid4().hex
        bundle = self._directory / name
        bundle.mkdir(parents=True)
        told = self._archive.configuration["config"]
        process = [*(entrypoint or told["Entrypoint"]), *arguments]
        (bundle / "config.json").write_text(json.dumps(self._specification(process, told["Env"], mounts)))
        state = ("--root", str(self._directory / "state"))
        return self._run.command("runc", *state, "run", "--bundle", str(bundle), name)

    def __call__(self, *arguments: str, entrypoint: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        command = self.command(*arguments, entrypoint=entrypoint)
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def remove(self) -> None:
        """End and forget all containers."""
        state = self._directory / "state"
        for path in state.iterdir() if state.is_dir() else ():
            command = self._run.command("runc", "--root", str(state), "delete", "--force", path.name)
            subprocess.run(command, capture_output=True)

    def _specification(self, arguments: list[str], environment: list[str], mounts: tuple[Path, ...]) -> dict[str, Any]:
        user = {"uid": USER, "gid": USER}
        data = self._directory / "data"
        data.mkdir(exist_ok=True)
        os.chown(data, USER, USER)
        bound = [("/var/lib/hookline", data), *((str(path), path) for path in mounts)]
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self._root), "readonly": True},
            "process": {
                "args": arguments,
                "cwd": "/",
                "env": environment,
                "user": user,
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
                "readonlyPaths": ["/proc/sys", "/proc/bus", "/proc/irq"],
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                *(
                    {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}
                    for path in ("/etc/hosts", "/etc/resolv.conf")  # as the kubelet writes them
                ),
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]},
                *(
                    {"destination": where, "type": "bind", "source": str(path), "options": ["rbind", "rw"]}
                    for where, path in bound
                ),
            ],
        }


class ContainerOperator(LiveOperator):
    """The operator of the image; it sees its home, with a kubeconfig in it, and the network of this machine."""

    def __init__(self, containers: Containers, plane: ControlPlane, home: Path, ca_pem: str, *flags: str) -> None:
        home.mkdir(parents=True)
        kubeconfig = home / "kubeconfig"
        shutil.copy(plane.kubeconfig, kubeconfig)
        super().__init__(kubeconfig, home, ca_pem, "--data-dir", "/var/lib/hookline", *flags)
        for path in (home, *home.iterdir()):
            os.chown(path, USER, USER)
        arguments = self._command[self._command.index("run") :]
        self._command = containers.command(*arguments, mounts=(home,))
