"""What Prometheus answers to every query of the dashboard, as Grafana asks them.

In: the dashboard, a running Prometheus, the span of time. Out: ``Asked``, which can be kept in a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.prometheus_live import JOB, LivePrometheus, Series

POINTS = 150
RATE = "15s"
"""What Grafana takes for ``$__rate_interval`` is four scrapes at least; more makes a second's load smoother."""

Board = Mapping[str, Any]
Answers = dict[str, list[list[Series]]]
"""For each panel's title the answers to its queries, in their order."""


@dataclass(frozen=True)
class Asked:
    """Everything that was asked: Unix times, the whole dashboard's answers, and those of each subscription."""

    start: float
    end: float
    whole: Answers
    subscriptions: dict[str, Answers]

    def write(self, path: Path) -> None:
        """Keep it."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Asked:
        """What was kept."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def ask(prometheus: LivePrometheus, board: Board, start: float, end: float) -> Asked:
    """Ask for every panel, and for those of the last row once for each subscription that has series of its own."""
    variables = {"$job": JOB, "$instance": ".+", "$__rate_interval": RATE, "$__range": f"{end - start:.0f}s"}

    def answers(panels: Iterator[Board], values: Mapping[str, str]) -> Answers:
        found = {}
        for panel in panels:
            found[panel["title"]] = [
                _history(prometheus, target, values, start, end) for target in panel.get("targets", ())
            ]
        return found

    each = {}
    for labels, _ in prometheus.query('hookline_subscription_messages{state="pending",subscription!="_rest"}'):
        one = {"$namespace": labels["subscription_namespace"], "$subscription": labels["subscription"]}
        each["/".join(one.values())] = answers(iter(board["panels"][-1]["panels"]), {**variables, **one})
    whole = answers((panel for panel in board["panels"] if panel["type"] != "row"), variables)
    return Asked(start, end, whole, each)


def _history(
    prometheus: LivePrometheus, target: Board, values: Mapping[str, str], start: float, end: float
) -> list[Series]:
    expression = target["expr"]
    for name, value in values.items():
        expression = expression.replace(name, value)
    # What is asked at once is asked for the end, as a range of one point.
    begin, step = (end, 1.0) if target["instant"] else (start, (end - start) / POINTS)
    return prometheus.history(expression, begin, end, step)
