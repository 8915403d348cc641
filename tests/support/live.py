"""The whole thing for tests: the operator as a process of its own, and a receiver in a thread of its own.

In: a control plane. Out: handles with which a test looks, waits, kills and starts again. Tests that use these are plain
functions: nothing they wait for can stop the receiver.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from support.cluster import eventually
from support.receiver import Receiver

T = TypeVar("T")
START_SECONDS = 40.0


class LiveReceiver:
    """A ``Receiver`` in a thread, a plain one unless another is given; ``requests`` grows by itself."""

    def __init__(self, receiver: Receiver | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)
        self._thread.start()
        self._receiver = receiver or self.do(lambda made: made, Receiver())
        self.run(self._receiver.__aenter__())

    @property
    def requests(self) -> list[Any]:
        """All requests so far, in the order of their arrival."""
        return list(self._receiver.requests)

    @property
    def ids(self) -> list[str]:
        """Their webhook-ids."""
        return [request.id for request in self.requests]

    @property
    def bodies(self) -> list[Any]:
        """Their bodies, decoded."""
        return [json.loads(request.body) for request in self.requests]

    def has(self, number: int) -> bool:
        """Whether so many requests, or more, came."""
        return len(self.requests) >= number

    def url(self, path: str = "/") -> str:
        """Where to send; the operator must allow the host ``localhost``."""
        return self._receiver.url(path, host="localhost")

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._receiver.port

    @property
    def connections(self) -> int:
        """How many it accepted."""
        return self._receiver.connections

    @property
    def ca_pem(self) -> str:
        """The authority to trust."""
        return self._receiver.ca_pem

    def do(self, work: Callable[[Receiver], T], receiver: Receiver | None = None) -> T:
        """Do something with the receiver in its own loop, e.g. ``do(lambda r: r.answer(503))``."""

        async def done() -> T:
            return work(receiver or self._receiver)

        result: T = self.run(done())
        return result

    def close(self) -> None:
        """Stop listening and end the thread."""
        self.run(self._receiver.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Any) -> Any:
        """Await something in the receiver's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class LiveOperator:
    """``hookline run`` as a process. ``flags`` are added to what every test needs; ``prefix`` is what execs it."""

    def __init__(self, kubeconfig: Path, home: Path, ca_pem: str, *flags: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        (home / "ca.pem").write_text(ca_pem)
        self.log = home / "operator.log"
        self._command = [
            *(sys.executable, "-m", "hookline", "run", "--kubeconfig", str(kubeconfig)),
            *("--data-dir", str(home / "data"), "--ca-bundle", str(home / "ca.pem")),
            *("--listen-host", "127.0.0.1", "--listen-port", "0", "--log-level", "debug"),
            *("--api-port", "0"),
            *("--allow-host", "localhost", "--secret-poll-seconds", "0.5", "--resolve-retry-seconds", "0.5"),
            *("--status-interval-seconds", "0.5"),
            *flags,
        ]
        self.prefix: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._begin = 0

    def start(self) -> LiveOperator:
        """Start and wait until it is ready."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start the process; it is not ready yet."""
        with self.log.open("ab") as log:
            self._begin = log.tell()
            self.process = subprocess.Popen([*self.prefix, *self._command], stdout=log, stderr=log)
        self.port = 0

    def wait_ready(self) -> None:
        """Wait until what was launched is ready."""
        self.port = eventually(self._port, "the operator names its port", START_SECONDS)
        eventually(lambda: self.get("/readyz")[0] == 200, "the operator is ready", START_SECONDS)

    def _port(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, f"the operator ended:\n{self.log.read_text()[-4000:]}"
        with self.log.open("rb") as log:
            log.seek(self._begin)
            lines = log.read().splitlines()
        for line in lines:
            with contextlib.suppress(ValueError):
                if port := json.loads(line).get("port"):
                    return int(port)
        return 0

    def get(self, path: str) -> tuple[int, str]:
        """One HTTP request to the operator: status and text; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """The value of one sample, e.g. ``hookline_events_dropped_total{reason="too_large"}``."""
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"there is no metric {name}")

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and wait; returns the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(60)


@contextlib.contextmanager
def running(operator: LiveOperator) -> Iterator[LiveOperator]:
    """Start it, and end it whatever happens."""
    try:
        yield operator.start()
    finally:
        operator.kill()
