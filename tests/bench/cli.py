"""The command line of the benchmark: which scenarios, how large, and where the figures go.

In: flags. Out: a table on stdout that grows as the figures come, a JSON file, an exit code. ``ground`` starts what is
measured, ``scenarios`` measures, ``report`` knows figures and budgets.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import scenarios
from bench.errors import BenchError
from bench.ground import Ground
from bench.report import Report, describe_machine
from bench.screen import Screen
from controlplane import ControlPlane, ControlPlaneError

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns 0, 1 when something failed, 3 with ``--strict`` when a budget was missed."""
    options = _parser().parse_args(arguments)
    sizes = scenarios.QUICK if options.quick else scenarios.FULL
    chosen = [name for name in scenarios.ALL if not options.only or name in options.only]
    screen = Screen(sys.stdout)
    report = Report(screen, describe_machine(), quick=options.quick)
    try:
        with tempfile.TemporaryDirectory(prefix="hookline-bench-") as scratch:
            screen.say(f"scenarios: {', '.join(chosen)}; {report.machine['summary']}")
            with ControlPlane() as plane, Ground(plane, Path(scratch), screen) as ground:
                report.head()
                for name in chosen:
                    scenarios.ALL[name](ground, report, sizes)
    except (BenchError, ControlPlaneError, AssertionError) as error:  # the last: what was awaited did not come
        screen.say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if report.figures:
            report.save(options.json)
            screen.say(f"figures: {options.json}")
    return 3 if options.strict and report.missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="fewer objects and shorter runs: minutes become one")
    parser.add_argument("--only", action="append", choices=list(scenarios.ALL), help="this scenario; may be repeated")
    parser.add_argument("--json", type=Path, default=ROOT / ".run" / "bench.json", help="where to write the figures")
    parser.add_argument("--strict", action="store_true", help="exit with 3 when a budget is missed")
    return parser
