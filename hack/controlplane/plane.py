"""One control plane: starts its components in order, waits until they answer, stops them in the reverse order.

In: an optional directory for kubeconfigs and logs. Out: ``kubeconfig``, ``server``, and control over every component,
for tests of what happens when one fails. ``flags`` holds the command lines, ``instance`` runs one in the background.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO
from urllib.parse import quote

from controlplane import access, binaries, flags
from controlplane.directories import Scratch, write_private
from controlplane.errors import ControlPlaneError
from controlplane.flags import API_SERVER, CONTROLLER_MANAGER, ETCD
from controlplane.pki import Authority, key_pem, new_key
from controlplane.process import Process, Spawner

COMPONENTS = (ETCD, API_SERVER, CONTROLLER_MANAGER)  # in the order of starting
_CONTENTS = ("kubeconfig", "kubectl-cache", "logs", "pki", "users")
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
_REQUEST_SECONDS = 30.0


class ControlPlane:
    """A control plane of one etcd, one kube-apiserver and one kube-controller-manager; a context manager.

    Args:
        directory: where kubeconfigs, certificates and logs go; ``stop`` removes them. Default: a temporary directory.
        max_request_bytes: the largest request etcd takes; its own default is 1.5 MiB.
        unsafe_no_fsync: etcd doesn't wait for the disk.
        extra_flags: more flags by component, appended to ours. The attribute of this name may be changed at any time
            and counts from the component's next start.
        out: where the progress of a build is written; default stderr.

    ``directory``, ``kubeconfig`` (cluster-admin), ``server`` (an https URL) and ``programs`` (paths by name) are set by
    ``start``. The components die with this process, however it ends.
    """

    directory: Path
    kubeconfig: Path
    server: str
    programs: dict[str, Path]

    def __init__(
        self,
        directory: Path | None = None,
        *,
        max_request_bytes: int = 1536 * 1024,
        unsafe_no_fsync: bool = True,
        extra_flags: Mapping[str, Sequence[str]] | None = None,
        out: TextIO | None = None,
    ) -> None:
        self.extra_flags = {name: list((extra_flags or {}).get(name, ())) for name in COMPONENTS}
        unknown = set(extra_flags or {}) - set(COMPONENTS)
        if unknown:
            raise ControlPlaneError(f"no component {', '.join(sorted(unknown))}; there are {', '.join(COMPONENTS)}")
        self._wanted_directory = directory
        self._max_request_bytes = max_request_bytes
        self._unsafe_no_fsync = unsafe_no_fsync
        self._out = sys.stderr if out is None else out
        self._processes: dict[str, Process] = {}
        self._cleanup: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, component: str | None = None) -> None:
        """Start ``component``, or everything; returns when it is ready. What is missing is built first (minutes).

        Raises ControlPlaneError, with the end of the log, when a component doesn't come up; then nothing is left.
        """
        if component is not None:
            self._launch(component)
            return
        if self._cleanup:
            raise ControlPlaneError("this control plane is started already")
        self.programs = binaries.provide(self._out)
        try:
            self._prepare()
            for name in COMPONENTS:
                self._launch(name)
        except BaseException:
            self.stop()
            raise

    def stop(self, component: str | None = None) -> None:
        """Stop ``component`` (SIGTERM), or end everything and remove its files; a second call does nothing.

        Nothing survives the end of everything, so that is SIGKILL: a graceful stop would take seconds to save data
        that is deleted next. Last started goes first, as an API server whose etcd is gone is of no use.
        """
        if component is not None:
            self._process(component).stop(_STOP_SECONDS)
            return
        for name in reversed(COMPONENTS):
            if name in self._processes:
                self._processes.pop(name).kill()
        while self._cleanup:
            self._cleanup.pop()()

    def kill(self, component: str) -> None:
        """End ``component`` as a crash would (SIGKILL)."""
        self._process(component).kill()

    def restart(self, component: str) -> None:
        """Stop and start ``component``; returns when it is ready again, on the same address, with the same data."""
        self.stop(component)
        self.start(component)

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the components that run, by name."""
        return {name: process.pid for name, process in self._processes.items() if process.exit_code is None}

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for user ``name``, member of ``groups``, who may do what RBAC grants them: at first, nothing."""
        users = self.directory / "users"
        descriptor, path = tempfile.mkstemp(dir=users, prefix=f"{quote(name, safe='')}-", suffix=".kubeconfig")
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._kubeconfig(name, groups))
        return Path(path)

    def kubectl_command(self, *arguments: str, kubeconfig: Path | None = None) -> list[str]:
        """The command line of kubectl against this control plane, as its administrator or as ``kubeconfig`` says."""
        # Its usual cache is kept by host and port, and would answer for an earlier control plane on the same port.
        cache = self.directory / "kubectl-cache"
        return [
            str(self.programs["kubectl"]),
            f"--kubeconfig={kubeconfig or self.kubeconfig}",
            f"--cache-dir={cache}",
            *arguments,
        ]

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Send one request to the API server as its administrator; JSON in, JSON out. Raises ControlPlaneError."""
        return access.request(self._connection(self._layout.api_port, _REQUEST_SECONDS), method, path, body)

    def _prepare(self) -> None:
        """All that components need before they start; everything made here is unmade by ``_cleanup``, last first."""
        self._spawner = Spawner()
        self._cleanup.append(self._spawner.close)
        atexit.register(self.stop)
        self._cleanup.append(lambda: atexit.unregister(self.stop))
        scratch = Scratch()
        self._cleanup.append(scratch.remove)
        self.directory = self._own_directory(scratch.path)
        self._layout = flags.Layout(self.directory / "pki", scratch.path, self._reserve_port(), self._reserve_port())
        self.server = f"https://{flags.HOST}:{self._layout.api_port}"
        self._authority = Authority()
        self._write_credentials()
        self._tls = access.tls(*(self._layout.pki / name for name in ("ca.crt", "admin.crt", "admin.key")))

    def _own_directory(self, scratch: Path) -> Path:
        directory = (self._wanted_directory or scratch / "state").resolve()
        taken = [name for name in _CONTENTS if (directory / name).exists()]
        if taken:
            raise ControlPlaneError(f"{directory} holds {', '.join(taken)} of something else; choose another directory")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cleanup.append(lambda: remove_contents(directory))
        for name in ("logs", "pki", "users"):
            (directory / name).mkdir(mode=0o700)
        return directory

    def _reserve_port(self) -> int:
        """A free port, ours until the end: a socket bound to it without listening takes no connection away."""
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._cleanup.append(reserved.close)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((flags.HOST, 0))
        port: int = reserved.getsockname()[1]
        return port

    def _write_credentials(self) -> None:
        pki = self._layout.pki
        server = self._authority.server(flags.SERVER_NAMES)
        admin = self._authority.client("hookline-admin", ["system:masters"])
        manager = self._kubeconfig("system:kube-controller-manager", [])
        self.kubeconfig = self.directory / "kubeconfig"
        for path, content in {
            pki / "ca.crt": self._authority.certificate,
            pki / "server.crt": server.certificate,
            pki / "server.key": server.key,
            pki / "admin.crt": admin.certificate,
            pki / "admin.key": admin.key,
            pki / "service-accounts.key": key_pem(new_key()),
            pki / "controller-manager.kubeconfig": manager,
            self.kubeconfig: access.kubeconfig(self.server, self._authority.certificate, admin),
        }.items():
            write_private(path, content)

    def _kubeconfig(self, name: str, groups: Sequence[str]) -> bytes:
        return access.kubeconfig(self.server, self._authority.certificate, self._authority.client(name, groups))

    def _launch(self, name: str) -> None:
        running = self._processes.get(name)
        if running is not None and running.exit_code is None:
            raise ControlPlaneError(f"{name} is running already")
        command = [str(self.programs[name]), *self._flags(name), *self.extra_flags[name]]
        process = self._spawner.spawn(command, self.directory / "logs" / f"{name}.log")
        self._processes[name] = process
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready(name):
            if process.exit_code is not None:
                raise ControlPlaneError(f"{name} ended with code {process.exit_code}:\n{process.last_words()}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"{name} isn't ready after {_START_SECONDS:.0f} s:\n{process.last_words()}")
            time.sleep(_POLL_SECONDS)

    def _flags(self, name: str) -> list[str]:
        if name == ETCD:
            return flags.etcd(self._layout, self._max_request_bytes, unsafe_no_fsync=self._unsafe_no_fsync)
        return flags.api_server(self._layout) if name == API_SERVER else flags.controller_manager(self._layout)

    def _ready(self, name: str) -> bool:
        if name == ETCD:
            return access.healthy(access.LocalConnection(self._layout.etcd_socket, timeout=1), "/health")
        if name == API_SERVER:
            return access.healthy(self._connection(self._layout.api_port, timeout=1), "/readyz")
        # Its /healthz is well before there are controllers; it names them once they are started.
        manager = self._connection(self._layout.manager_port, timeout=1)
        return access.healthy(manager, "/healthz?verbose", mentioning=b"garbage-collector-controller ok")

    def _connection(self, port: int, timeout: float) -> HTTPSConnection:
        return HTTPSConnection(flags.HOST, port, context=self._tls, timeout=timeout)

    def _process(self, name: str) -> Process:
        if name not in self._processes:
            raise ControlPlaneError(f"{name} isn't part of this control plane, or was never started")
        return self._processes[name]


def remove_contents(directory: Path) -> None:
    """Remove what a control plane writes into ``directory``, and the directory if that leaves it empty."""
    for name in _CONTENTS:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
