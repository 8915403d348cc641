"""Child processes that can't outlive us, and whether a pid is still the process we think it is.

In: a command line. Out: a ``Process`` to stop or kill. ``shim`` ties its life to ours; ``plane`` knows the order.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_SHIM = Path(__file__).with_name("shim.py")


def tied(command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` so that the kernel kills it when the calling *thread* ends."""
    return [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), *command]


def start_time(pid: int) -> int | None:
    """When process ``pid`` started, in clock ticks since boot; None when there is none, or only a zombie of it.

    A pid alone is reused by the kernel; together with this number it names one process (proc(5), field 22 of stat).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(fields[18])


class Spawner:
    """Starts processes from one thread that lives as long as this object: their lives hang on that thread's."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="controlplane-spawner")

    def spawn(self, command: Sequence[str], log: Path) -> Process:
        """Start ``command``; its output is appended to ``log``."""
        return self._thread.submit(Process, command, log).result()

    def close(self) -> None:
        """End the thread, and with it whatever it started and nobody stopped."""
        self._thread.shutdown()


class Process:
    """One running program: ``pid``, ``log``, and the ways to end it. Make it through ``Spawner.spawn``."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                tied(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for us; the programs are stopped in their order
            )

    @property
    def pid(self) -> int:
        """The process id, also after the end."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, else the exit code, or minus the number of the signal that ended it."""
        return self._popen.poll()

    def stop(self, seconds: float) -> None:
        """Ask it to end (SIGTERM), and kill it when it hasn't after ``seconds``; returns when it is gone."""
        self._popen.terminate()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it without a chance to say goodbye (SIGKILL); returns when it is gone."""
        self._popen.kill()
        self._popen.wait()

    def last_words(self, lines: int = 12) -> str:
        """The end of its log, for an error message."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
