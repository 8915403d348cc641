"""The command line: up, down, status, build, kubectl.

In: arguments. Out: lines for people and an exit code. ``instance`` does the work.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from controlplane import binaries, instance
from controlplane.errors import ControlPlaneError
from controlplane.plane import COMPONENTS, ControlPlane
from controlplane.process import start_time

_REPOSITORY = Path(__file__).resolve().parents[2]
_DEFAULT_DIRECTORY = _REPOSITORY / ".run" / "controlplane"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 3 for ``status`` when nothing is up."""
    options = _parser().parse_args(arguments)
    options.dir = options.dir.resolve()
    command = {"up": _up, "down": _down, "status": _status, "build": _build, "kubectl": _kubectl}[options.command]
    try:
        return command(options)
    except ControlPlaneError as error:
        print(f"controlplane: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="controlplane", description="A Kubernetes control plane without nodes.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dir", type=Path, default=_DEFAULT_DIRECTORY, help="one instance's directory (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[common], help="start a control plane and leave it running")
    up.add_argument("--foreground", action="store_true", help="stay until Ctrl-C instead")
    up.add_argument("--max-request-bytes", type=int, default=1536 * 1024, help="of etcd (default: %(default)s)")
    up.add_argument("--fsync", action="store_true", help="etcd waits for the disk, as in production")
    up.add_argument(
        "--flag",
        action="append",
        default=[],
        metavar="COMPONENT=FLAG",
        help="one more flag, such as kube-apiserver=--v=4; may be repeated",
    )
    commands.add_parser("down", parents=[common], help="stop it and remove its files")
    commands.add_parser("status", parents=[common], help="say whether it is up, and how to use it")
    commands.add_parser("build", parents=[common], help="make sure that the programs are there")
    kubectl = commands.add_parser("kubectl", parents=[common], help="run kubectl against it")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _up(options: argparse.Namespace) -> int:
    started = time.monotonic()
    directory: Path = options.dir
    plane = ControlPlane(
        directory,
        max_request_bytes=options.max_request_bytes,
        unsafe_no_fsync=not options.fsync,
        extra_flags=_extra_flags(options.flag),
    )
    binaries.provide(sys.stderr)  # here, where the progress is seen, and before the clock of anybody who waits
    if options.foreground:
        instance.serve(directory, plane, lambda: _tell(plane.server, directory, started))
    arguments = [f"--max-request-bytes={options.max_request_bytes}", *(f"--flag={flag}" for flag in options.flag)]
    record = instance.up(directory, [*arguments, "--fsync"] if options.fsync else arguments)
    _tell(record.server, directory, started)
    return 0


def _extra_flags(given: Sequence[str]) -> dict[str, list[str]]:
    flags: dict[str, list[str]] = {}
    for item in given:
        component, _, flag = item.partition("=")
        if component not in COMPONENTS or not flag.startswith("--"):
            raise ControlPlaneError(f"--flag {item}: write COMPONENT=--FLAG; components are {', '.join(COMPONENTS)}")
        flags.setdefault(component, []).append(flag)
    return flags


def _tell(server: str | None, directory: Path, started: float) -> None:
    print(f"Kubernetes {binaries.kubernetes_version()} is up at {server} ({time.monotonic() - started:.1f} s)")
    print(f"export KUBECONFIG={shlex.quote(str(directory / 'kubeconfig'))}", flush=True)


def _down(options: argparse.Namespace) -> int:
    if instance.down(options.dir):
        print(f"the control plane in {options.dir} is down")
    else:
        print(f"no control plane is up in {options.dir}")
    return 0


def _status(options: argparse.Namespace) -> int:
    record = instance.read(options.dir)
    if record is None:
        print(f"no control plane is up in {options.dir}")
        return 3
    print(f"{record.server or 'starting'}, supervised by process {record.pid}")
    for name, pid in record.components.items():
        print(f"  {name}: {f'process {pid}' if start_time(pid) else 'ended'}")
    print(f"export KUBECONFIG={shlex.quote(str(options.dir / 'kubeconfig'))}")
    return 0


def _build(_options: argparse.Namespace) -> int:
    for path in binaries.provide(sys.stderr).values():
        print(path)
    return 0


def _kubectl(options: argparse.Namespace) -> int:
    if instance.read(options.dir) is None:
        raise ControlPlaneError(f"no control plane is up in {options.dir}; start one: {Path(__file__).parent} up")
    program = binaries.provide(sys.stderr)["kubectl"]
    cache, kubeconfig = options.dir / "kubectl-cache", options.dir / "kubeconfig"
    os.execv(program, [program, f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}", *options.arguments])  # noqa: S606
