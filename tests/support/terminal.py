"""The command line as people have it: a process of its own, with pipes or in a terminal.

In: arguments. Out: the exit code and what was written. ``Terminal`` is a pseudo-terminal, so that colours and progress
are there as they are on a screen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from controlplane import ControlPlane

PROGRAMS = Path(sys.executable).parent
SECONDS = 40.0
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")


class Done(NamedTuple):
    """A process that ended. ``out`` and ``err`` are text."""

    code: int
    out: str
    err: str


class CommandLine:
    """``hookline`` against a control plane, as its administrator or as ``kubeconfig`` says, in one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str, home: Path, kubeconfig: Path | None = None) -> None:
        self.namespace = namespace
        self.home = home
        self.kubeconfig = kubeconfig or plane.kubeconfig
        self.plane = plane

    def as_user(self, kubeconfig: Path) -> CommandLine:
        """The same for somebody else."""
        return CommandLine(self.plane, self.namespace, self.home, kubeconfig)

    @property
    def environment(self) -> dict[str, str]:
        """What the process gets: nothing of the developer's own settings, and this installation's programs first."""
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        path = f"{PROGRAMS}:{self.plane.programs['kubectl'].parent}:{kept.get('PATH', '')}"
        return {**kept, "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "TERM": "xterm", "PATH": path}

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """A command line, in the namespace of the test unless it names one, or all."""
        named = {"-n", "-A", "--namespace", "--all-namespaces"} & set(arguments)
        where = [] if named or not arguments else ["-n", self.namespace]
        return [str(PROGRAMS / "hookline"), *arguments, *where]

    def __call__(self, *arguments: str, input: str = "", env: Mapping[str, str] | None = None) -> Done:  # noqa: A002
        """Run it with pipes."""
        return self.run(self.arguments(arguments), input, env)

    def run(self, command: Sequence[str], input: str = "", env: Mapping[str, str] | None = None) -> Done:  # noqa: A002
        """Run a whole command line in the same environment."""
        done = subprocess.run(
            command,
            input=input,
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Begin it with pipes, and do not wait."""
        return subprocess.Popen(
            self.arguments(arguments),
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def terminal(self, *arguments: str, env: Mapping[str, str] | None = None) -> Terminal:
        """Begin it in a terminal of its own."""
        return Terminal(self.arguments(arguments), {**self.environment, **(env or {})})


class Terminal:
    """A process in a pseudo-terminal of 200 columns; stdout and stderr are one, as on a screen."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=dict(environment), start_new_session=True
        )
        os.close(slave)
        self.screen = b""

    def read(self, until: str = "") -> str:
        """Everything written so far; waits for this text, or for the end of the process."""
        deadline = time.monotonic() + SECONDS
        while not until or until not in self.screen.decode(errors="replace"):
            assert time.monotonic() < deadline, f"not on the screen: {until!r}\n{self.screen.decode(errors='replace')}"
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            try:
                part = os.read(self._master, 65536)
            except OSError:  # EIO: the other side is closed
                part = b""
            if not part:
                assert not until, f"it ended without {until!r}:\n{self.screen.decode(errors='replace')}"
                break
            self.screen += part
        return self.screen.decode(errors="replace")

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Send a signal, if any, and wait for the end; returns the exit code and the whole screen."""
        if number is not None:
            self.process.send_signal(number)
        screen = self.read()
        code = self.process.wait(SECONDS)
        with contextlib.suppress(OSError):
            os.close(self._master)
        return code, screen

    def close(self) -> None:
        """Kill what is left of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)
