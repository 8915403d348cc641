"""What the kernel says of processes: CPU time and memory (proc(5)), and what others took of the cores meanwhile.

In: process ids. Out: differences of two snapshots. The benchmark shares its machine, so its figures tell how busy
others kept it: what was measured beside a compiler says little of Hookline.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # of the fields of /proc/stat: idle and iowait
_SUMS = 8  # the fields from user to steal; guest time is part of user time


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MiB, now and at its highest."""

    now: float
    peak: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used between two snapshots.

    ``cpu`` are CPU seconds by process, ``loop`` the share of the time in which the operator's main thread, which is its
    event loop, was running, ``others`` how many cores were busy for processes that are none of ours.
    """

    seconds: float
    cpu: Mapping[str, float]
    loop: float
    others: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """CPU seconds so far: of processes, of the operator's main thread, of us and our children, of the machine."""

    at: float
    cpu: Mapping[str, float]
    loop: float
    ours: float
    machine: float

    def since(self, before: Snapshot) -> Usage:
        """What was used since ``before``, which is of the same processes."""
        seconds = self.at - before.at
        cpu = {name: self.cpu[name] - before.cpu[name] for name in self.cpu}
        others = self.machine - before.machine - (self.ours - before.ours) - sum(cpu.values())
        return Usage(seconds, cpu, (self.loop - before.loop) / seconds, max(0.0, others / seconds))


def snapshot(pids: Mapping[str, int]) -> Snapshot:
    """Look at these processes and at the machine; ``operator`` among the names is looked into."""
    operator = pids.get("operator")
    cpu = {name: _cpu_seconds(Path(f"/proc/{pid}/stat")) for name, pid in pids.items()}
    loop = _cpu_seconds(Path(f"/proc/{operator}/task/{operator}/stat")) if operator else 0.0
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ours = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    machine = [int(field) for field in Path("/proc/stat").read_text().split(None, _SUMS + 1)[1 : _SUMS + 1]]
    busy = sum(machine) - sum(machine[field] for field in _IDLE)
    return Snapshot(time.monotonic(), cpu, loop, ours, busy / _TICKS)


def _cpu_seconds(stat: Path) -> float:
    """User and system time of a process or thread, in steps of 10 ms."""
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> Memory:
    """The resident set of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return Memory(int(fields["VmRSS"][0]) / 1024, int(fields["VmHWM"][0]) / 1024)
