"""Figures, each beside its reference of the same run and its budget; the table and the JSON file made of them.

In: measured values. Out: a line for each at once, all of them in a file at the end. The budgets are the
project's: what a single process on two shared cores must reach.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hookline
from bench.screen import Screen
from controlplane.binaries import kubernetes_version

_ROOT = Path(__file__).resolve().parents[2]
_WIDTHS = (46, 12, 34, 6, 8, 4, 6)


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on a figure's value, or (``on_ratio``) on its ratio to the reference."""

    limit: float
    at_most: bool = False
    on_ratio: bool = False

    def met(self, value: float, ratio: float | None) -> bool:
        """Whether the figure is within it."""
        judged = ratio if self.on_ratio else value
        return judged is not None and (judged <= self.limit if self.at_most else judged >= self.limit)

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:{',.2f' if self.on_ratio else ',.0f'}}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What the same machine did in the same run without Hookline, or with less of it."""

    name: str
    value: float


class Report:
    """Collects figures and prints them."""

    def __init__(self, screen: Screen, machine: Mapping[str, Any], *, quick: bool) -> None:
        self.screen = screen
        self.machine = machine
        self.quick = quick
        self.figures: list[dict[str, Any]] = []
        self.details: dict[str, Any] = {}

    @property
    def missed(self) -> list[str]:
        """The figures outside their budgets."""
        return [figure["name"] for figure in self.figures if figure["met"] is False]

    def head(self) -> None:
        """The table's first lines."""
        self._row("figure", "measured", "reference in the same run", "ratio", "budget", "", "others")
        self._row(*("-" * width for width in _WIDTHS))

    def begin(self, scenario: str) -> None:
        """A scenario begins: how busy the machine is beforehand belongs to its figures."""
        load = os.getloadavg()[0]
        self.details.setdefault(scenario, {})["load_average_before"] = round(load, 2)
        self.screen.say(f"{scenario} (load average {load:.1f})")

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        reference: Reference | None = None,
        budget: Budget | None = None,
        *,
        others: float | None = None,
    ) -> None:
        """One figure; ``name`` begins with its scenario's. ``others``: cores that were busy with something else."""
        ratio = value / reference.value if reference is not None and reference.value else None
        met = None if budget is None else budget.met(value, ratio)
        self.figures.append(
            {
                "name": name,
                "value": value,
                "unit": unit,
                "ratio": ratio,
                "met": met,
                "cores_busy_with_others": others,
                "reference": None if reference is None else asdict(reference),
                "budget": None if budget is None else {**asdict(budget), "text": str(budget)},
            }
        )
        self._row(
            "  " + name,
            f"{_show(value)} {unit}",
            "" if reference is None else f"{_show(reference.value)} {reference.name}",
            "" if ratio is None else f"{ratio:.2f}",
            "" if budget is None else str(budget),
            "" if met is None else ("ok" if met else "MISS"),
            "" if others is None else f"{others:.2f}",
        )

    def note(self, scenario: str, **facts: Any) -> None:
        """What belongs into the file but not into the table."""
        self.details.setdefault(scenario, {}).update(facts)

    def save(self, path: Path) -> None:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": self.machine,
            "quick": self.quick,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
            "figures": self.figures,
            "details": self.details,
        }
        path.write_text(json.dumps(content, indent=2) + "\n")

    def _row(self, *cells: str) -> None:
        self.screen.say("  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip())


def _show(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def describe_machine() -> dict[str, Any]:
    """What the figures were taken on and with."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    cores = len(os.sched_getaffinity(0))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=_ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    facts = {
        "cpu": model,
        "cores": cores,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "kubernetes": kubernetes_version(),
        "hookline": hookline.__version__,
        "commit": commit,
    }
    summary = f"{cores} cores of {model}, Python {facts['python']}, Kubernetes {facts['kubernetes']}, commit {commit}"
    return {**facts, "summary": summary}
