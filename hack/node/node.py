"""One Kubernetes node with its control plane, in namespaces of its own: starts, answers, ends without a trace.

In: root on Linux, and what ``programs`` and ``images`` provide. Out: ``kubeconfig``, for an API server that is
forwarded to a port of 127.0.0.1, and ``enter``, a command line inside. All processes die with this one, however it
ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from controlplane import access
from controlplane.directories import try_lock, write_private
from controlplane.pki import Authority
from controlplane.process import Process, Spawner
from node import daemons, files, images, programs
from node.cgroups import Groups
from node.daemons import Daemon
from node.errors import NodeError
from node.files import ADDRESS, CONTAINERD_SOCKET, NAME, Layout

_HERE = Path(__file__).resolve().parent
DIRECTORY = _HERE.parents[1] / ".run" / "node"
_NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup")
_START_SECONDS = 90.0
_POLL_SECONDS = 0.1
_ENDED_SECONDS = 30.0
_REQUEST_SECONDS = 30.0


class Node:
    """A running node; a context manager. One at a time in ``directory``, which keeps the logs of the last one.

    ``phases`` tells what took how many seconds. ``out`` gets the progress.
    ``archive`` is an image of the operator; default: one that is built from the tree.
    """

    kubeconfig: Path
    server: str

    def __init__(self, directory: Path = DIRECTORY, out: TextIO | None = None, archive: Path | None = None) -> None:
        self.directory = directory
        self.phases: dict[str, float] = {}
        self.programs: dict[str, Path] = {}
        self.archive = archive
        self._out = sys.stderr if out is None else out
        self._layout = Layout(directory)
        self._images: list[Path] = []
        self._processes: dict[str, Process] = {}
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.provide()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def provide(self) -> None:
        """Have all programs and images; builds what is missing (minutes). A second call does nothing.

        Raises NodeError without root, ControlPlaneError and ImageError.
        """
        if self._images:
            return
        if os.geteuid() != 0:
            raise NodeError("a node makes namespaces, mounts and control groups: run this as root")
        with self._phase("programs"):
            self.programs = programs.provide(self._out)
        with self._phase("packages"):
            self._packages = programs.packages()
        with self._phase("image"):
            self.archive = self.archive or images.operator()
            self._images = [images.pause(self.programs["pause"]), self.archive]

    def start(self) -> None:
        """Start everything; returns when the node is Ready. Raises NodeError with the end of a log."""
        self._own_directory()
        spawner = Spawner()
        self._ends.callback(spawner.close)
        self._authority = Authority()
        files.write(self._layout, self._authority)
        for plugin in programs.PLUGINS:
            self._layout.plugins.mkdir(exist_ok=True)
            (self._layout.plugins / plugin).symlink_to(self.programs[plugin])
        with self._phase("namespaces"):
            self._make_namespaces(spawner)
        with self._phase("control plane"):
            first, container_runtime = daemons.control_plane(self._layout), daemons.containerd(self._layout)
            for daemon in (*first, container_runtime):
                self._launch(spawner, daemon)
            self._await(container_runtime)
            for archive in self._images:
                self.ctr("images", "import", str(archive))
            for daemon in first:
                self._await(daemon)
            self._forward(spawner)
        with self._phase("node ready"):
            for daemon in daemons.workers(self._layout):
                self._launch(spawner, daemon)
                self._await(daemon)

    def stop(self) -> None:
        """End every process of the node, and remove its control groups and files, except the logs."""
        self._ends.close()
        self._processes.clear()

    def enter(self, *command: str) -> list[str]:
        """The command line that runs ``command`` in the node's namespaces and control groups."""
        groups = [str(path) for path in self._groups.daemons]
        inside = ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--", "env", f"PATH={self._path}", *command]
        return [sys.executable, "-I", "-S", str(_HERE / "enter.py"), *groups, "--", *inside]

    def run(self, *command: str) -> str:
        """Run ``command`` inside; returns what it printed. Raises NodeError with its last words when it fails."""
        done = subprocess.run(
            self.enter(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            words = (done.stdout + done.stderr)[-2000:]
            raise NodeError(f"{' '.join(command)} ended with {done.returncode}:\n{words}")
        return done.stdout

    def ctr(self, *arguments: str) -> str:
        """``run`` containerd's own command line on what the kubelet runs."""
        return self.run("ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", *arguments)

    def kubectl_command(self, *arguments: str, kubeconfig: Path | None = None) -> list[str]:
        """The command line of kubectl from outside, as the administrator or as ``kubeconfig`` says."""
        return [
            str(self.programs["kubectl"]),
            f"--kubeconfig={kubeconfig or self.kubeconfig}",
            f"--cache-dir={self.directory / 'kubectl-cache'}",
            *arguments,
        ]

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Send one request to the API server as its administrator; JSON in, JSON out. Raises ControlPlaneError."""
        host, port = self.server.removeprefix("https://").split(":")
        connection = HTTPSConnection(host, int(port), context=self._tls, timeout=_REQUEST_SECONDS)
        return access.request(connection, method, path, body)

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for user ``name`` of ``groups``, who may do what RBAC grants them: at first, nothing."""
        path = self._layout.pki / f"user-{name}.kubeconfig"
        write_private(path, files.kubeconfig(self._authority, self.server, name, list(groups)))
        return path

    def volume(self, name: str) -> Path:
        """A new directory for a local PersistentVolume, under the same path inside and outside."""
        path = self._layout.volumes / name
        path.mkdir()
        return path

    def _own_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = try_lock(self.directory)
        if lock is None:
            raise NodeError(f"a node is up in {self.directory}: end it first")
        self._ends.callback(os.close, lock)
        _clear(self.directory)
        self._ends.callback(_clear, self.directory, but=self._layout.logs)

    def _make_namespaces(self, spawner: Spawner) -> None:
        self._groups = Groups()
        self._ends.callback(self._groups.remove)
        (self.directory / "cgroups").write_text(self._groups.mounts, encoding="ascii")
        roots = [str(path) for path in self._groups.roots]
        init = ["bash", str(_HERE / "init.sh"), str(self.directory), str(self._packages), NAME, ADDRESS]
        unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--", *init]
        command = [sys.executable, "-I", "-S", str(_HERE / "enter.py"), *roots, "--", *unshare]
        process = spawner.spawn(command, self._layout.logs / "init.log")
        self._processes["init"] = process
        self._ends.callback(self._end, process)
        self._eventually((self.directory / "made").exists, "init")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        self.pid = int(children[0])

    def _end(self, process: Process) -> None:
        """End the first process inside; the kernel ends all others with it, the forwarder has ended before."""
        process.kill()
        deadline = time.monotonic() + _ENDED_SECONDS
        for other in self._processes.values():
            while other.exit_code is None:
                if time.monotonic() > deadline:
                    raise NodeError(f"process {other.pid} of the node does not end; see {other.log}")
                time.sleep(_POLL_SECONDS)

    def _forward(self, spawner: Spawner) -> None:
        port = self.directory / "port"
        command = [sys.executable, "-I", "-S", str(_HERE / "forward.py"), str(self.pid), ADDRESS, "6443", str(port)]
        process = spawner.spawn(command, self._layout.logs / "forward.log")
        self._ends.callback(process.kill)
        self._processes["forward"] = process
        self._eventually(port.exists, "forward")
        self.server = f"https://127.0.0.1:{port.read_text(encoding='ascii')}"
        pki = self._layout.pki
        self._tls = access.tls(pki / "ca.crt", pki / "admin.crt", pki / "admin.key")
        self.kubeconfig = self.directory / "kubeconfig"
        write_private(self.kubeconfig, files.kubeconfig(self._authority, self.server, *files.USERS["admin"]))

    def _launch(self, spawner: Spawner, daemon: Daemon) -> None:
        command = self.enter(str(self.programs[daemon.name]), *daemon.flags)
        self._processes[daemon.name] = spawner.spawn(command, self._layout.logs / f"{daemon.name}.log")

    def _await(self, daemon: Daemon) -> None:
        if daemon.ready is not None:
            command = self.enter(*daemon.ready)
            self._eventually(lambda: _succeeds(command), daemon.name)

    def _eventually(self, probe: Callable[[], bool], name: str) -> None:
        """Until ``probe`` says so; meanwhile nothing that was started may end. Raises NodeError."""
        deadline = time.monotonic() + _START_SECONDS
        while not probe():
            for other, process in self._processes.items():
                if process.exit_code is not None:
                    raise NodeError(f"{other} ended with code {process.exit_code}:\n{process.last_words()}")
            if time.monotonic() > deadline:
                words = self._processes[name].last_words()
                raise NodeError(f"{name} isn't ready after {_START_SECONDS:.0f} s:\n{words}")
            time.sleep(_POLL_SECONDS)

    @property
    def _path(self) -> str:
        built = dict.fromkeys(str(path.parent) for path in self.programs.values())
        return ":".join([*built, "/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        self._say(f"{name} ...")
        yield
        self.phases[name] = time.monotonic() - started
        self._say(f"{name}: {self.phases[name]:.1f} s")

    def _say(self, line: str) -> None:
        self._out.write(f"node: {line}\n")
        self._out.flush()


def _succeeds(command: Sequence[str]) -> bool:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def _clear(directory: Path, but: Path | None = None) -> None:
    for path in directory.iterdir():
        if path == but:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
