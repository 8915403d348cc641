"""Compiles programs from their Go modules, as ``go.mod`` and ``go.sum`` pin them.

In: a module, names of programs and a directory. Out: the programs in it, each appearing whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from controlplane.directories import locked
from controlplane.errors import ControlPlaneError
from controlplane.process import tied

GO_MOD = Path(__file__).resolve().with_name("go.mod")
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_HEARTBEAT = 10.0  # seconds between lines in a log
_REDRAW = 1.0  # seconds between redraws on a terminal


@dataclass(frozen=True)
class Module:
    """Where programs come from: a directory with ``go.mod``, the package of each by its name, flags of go build.

    ``instead`` ends the advice that is given without a new enough Go: another way to come by the programs.
    """

    directory: Path
    packages: Mapping[str, str]
    flags: Sequence[str] = ("-ldflags=-s -w",)
    instead: str = ""


def kubernetes(version: str, packages: Mapping[str, str], instead: str = "") -> Module:
    """The module of Kubernetes itself, whose programs are told the ``version`` that they are."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    told = [f"-X {package}.{key}={value}" for package in _VERSION_PACKAGES for key, value in stamps.items()]
    return Module(GO_MOD.parent, packages, (f"-ldflags={' '.join(['-s', '-w', *told])}",), instead)


def build(module: Module, names: Sequence[str], directory: Path, out: TextIO) -> None:
    """Build the programs ``names`` of ``module`` into ``directory``, with progress written to ``out``.

    Raises ControlPlaneError without a new enough Go, or when a program doesn't compile.
    """
    go = _go(module, names)
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory, lambda: _say(out, f"another build is at work in {directory}; waiting for it")):
        for abandoned in directory.glob(".*.partial"):
            abandoned.unlink()
        missing = [name for name in names if not (directory / name).is_file()]
        for k, name in enumerate(missing, 1):
            _compile(go, module, name, directory, _Progress(out, f"building {name} ({k} of {len(missing)})"))


def _go(module: Module, names: Sequence[str]) -> str:
    """The path of a ``go`` that can build the module."""
    path = module.directory / "go.mod"
    needed = re.search(r"^go (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    if needed is None:
        raise ControlPlaneError(f"{path} has no go directive; restore the file")
    advice = f"Install Go {needed[1]} or newer (https://go.dev/dl/) and put it on PATH{module.instead}."
    go = shutil.which("go")
    if go is None:
        raise ControlPlaneError(f"Building {', '.join(names)} needs Go, and there is no go on PATH. {advice}")
    # Asked in the module's directory, an older Go may fetch the toolchain that go.mod wants: that is fine, too.
    answer = subprocess.run([go, "env", "GOVERSION"], cwd=module.directory, capture_output=True, text=True, check=False)
    if answer.returncode != 0 or _numbers(answer.stdout) < _numbers(needed[1]):
        reason = answer.stdout.strip() or answer.stderr.strip()
        raise ControlPlaneError(f"{go} is too old to build {', '.join(names)} ({reason}). {advice}")
    return go


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _compile(go: str, module: Module, name: str, directory: Path, progress: _Progress) -> None:
    partial = directory / f".{name}.partial"
    command = [go, "build", "-v", "-mod=readonly", "-trimpath", *module.flags]
    process = subprocess.Popen(
        tied([*command, "-o", str(partial), module.packages[name]]),
        cwd=module.directory,
        env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output = _follow(process, progress)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        partial.unlink(missing_ok=True)
        raise ControlPlaneError(f"go build {module.packages[name]} failed:\n" + "\n".join(output[-20:]))
    partial.replace(directory / name)
    progress.done()


def _follow(process: subprocess.Popen[str], progress: _Progress) -> list[str]:
    """Wait for the end of ``go build -v``, which names every package as it compiles it; returns its output's lines."""
    output: list[str] = []

    def read() -> None:
        assert process.stderr is not None  # noqa: S101  (a pipe was asked for)
        with process.stderr as lines:
            for line in lines:
                output.append(line.rstrip())  # noqa: PERF401  (read by the other thread as it grows)

    reader = threading.Thread(target=read, name="go-build-output")
    reader.start()
    try:
        while True:
            try:
                process.wait(progress.interval)
                break
            except subprocess.TimeoutExpired:
                downloads = sum(line.startswith("go: downloading ") for line in output)
                progress.show(len(output) - downloads, downloads)
    except BaseException:
        process.kill()
        raise
    finally:
        reader.join()
    return output


class _Progress:
    """One line that is redrawn on a terminal, a line every ``interval`` seconds elsewhere."""

    def __init__(self, out: TextIO, what: str) -> None:
        self._out, self._what, self._terminal = out, what, out.isatty()
        self._started = time.monotonic()
        self.interval = _REDRAW if self._terminal else _HEARTBEAT
        self._show("started")

    def show(self, packages: int, downloads: int) -> None:
        fetched = f"{downloads} modules downloaded, " if downloads else ""
        self._show(f"{fetched}{packages} packages compiled, {self._elapsed()}")

    def done(self) -> None:
        self._show(f"done, {self._elapsed()}")
        if self._terminal:
            _say(self._out, "")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:.0f} s"

    def _show(self, state: str) -> None:
        line = f"{self._what}: {state}"
        self._out.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._out.flush()


def _say(out: TextIO, line: str) -> None:
    out.write(line + "\n")
    out.flush()
