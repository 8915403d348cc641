"""The Go program of ``hack/bench``: built once into the user's cache, run as sink, load and bare sender.

In: its sources. Out: decoded lines of its output. Its processes die with this one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from bench.errors import BenchError
from bench.screen import Screen
from controlplane.directories import cache, locked
from controlplane.process import tied

_SOURCES = Path(__file__).resolve().parents[2] / "hack" / "bench"
_STOP_SECONDS = 10.0


def provide(screen: Screen) -> Path:
    """The path of the program; builds it (seconds) when these sources were not built before."""
    sources = sorted([*_SOURCES.glob("*.go"), _SOURCES / "go.mod"])
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    home = cache("bench")
    program = home / f"bench-{digest}"
    if not program.is_file():
        home.mkdir(parents=True, exist_ok=True)
        with locked(home):
            if not program.is_file():  # else another process built it while this one waited for the lock
                screen.say("building hack/bench")
                _build(program)
    return program


def _build(program: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise BenchError("building hack/bench needs Go, and there is no go on PATH; install it (https://go.dev/dl/)")
    partial = program.with_name(f".{program.name}.partial")
    command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", str(partial), "."]
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(command, cwd=_SOURCES, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"hack/bench does not compile:\n{done.stderr.strip()}")
    partial.replace(program)


def run(command: list[str], on_progress: Callable[[int], None], seconds: float) -> dict[str, Any]:
    """Run one command of the program to its end and return its result. It is ended after ``seconds``."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(tied(command), stdout=subprocess.PIPE, stderr=errors, text=True)
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        result: dict[str, Any] = {}
        try:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    result = json.loads(line)
                    if "done" in result:
                        on_progress(result["done"])
            process.wait()
        finally:
            limit.cancel()
            process.kill()
            process.wait()
        if process.returncode != 0:
            errors.seek(0)
            reason = errors.read().strip() or f"ended with {process.returncode}; it may take {seconds:.0f} s"
            raise BenchError(f"{Path(command[0]).name} {command[1]}: {reason}")
    return result


class Sink:
    """The receiver: ``url`` for subscriptions, ``ca`` to trust."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.ca = directory / "sink-ca.pem"
        command = tied([str(program), "sink", "-ca-out", str(self.ca)])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the sink did not start")
        where = json.loads(line)
        self.url: str = where["url"]
        self._control: str = where["control"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=_STOP_SECONDS)  # closes its stdin, which is its end
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def count(self) -> int:
        """How many different messages with a bench object came since ``reset``."""
        number: int = self._ask("/count")
        return number

    def stats(self) -> dict[str, Any]:
        """All that it knows; times are Unix nanoseconds."""
        answer: dict[str, Any] = self._ask("/stats")
        return answer

    def reset(self) -> None:
        """Begin anew."""
        request = urllib.request.Request(self._control + "/reset", method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(self._control + path, timeout=10) as answer:
            return json.loads(answer.read())
