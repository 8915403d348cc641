"""``python tests/bench/counting.py``: what series of single subscriptions cost, as ratios to the same without them.

In: nothing. Out: a table on stdout: processor time for counting an attempt, and for a scrape. Medians of seven turns
each, one of each after the other, so that what else the machine does falls on all.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from hookline.model import Attempt, Claimed, Message, Outcome, Verdict
from hookline.observe.metrics import Metrics

TURNS = 7
ATTEMPTS = 50_000
DELIVERED = Verdict(Outcome.DELIVERED, "Delivered", 200)
RETRIED = Verdict(Outcome.RETRY, "HTTP503", 503)


def _metrics(own: int, subscriptions: int) -> Metrics:
    metrics = Metrics(subscriptions=own)
    for number in range(subscriptions):
        metrics.each.known(str(number), "shop", f"hook-{number}")
    return metrics


def _attempts(verdict: Verdict, subscriptions: int) -> list[Attempt]:
    messages = [Message("m", str(number), 1, "o", "t", (), b"{}", 100.0) for number in range(subscriptions)]
    return [Attempt(Claimed(1, message, 0, 100.0), verdict, 100.5, 0.25) for message in messages]


def _counting(metrics: Metrics, attempts: list[Attempt]) -> Callable[[], float]:
    def turn() -> float:
        begun = time.process_time()
        for number in range(ATTEMPTS):
            metrics.attempt(attempts[number % len(attempts)])
        return (time.process_time() - begun) / ATTEMPTS * 1e6

    return turn


def _scraping(metrics: Metrics) -> Callable[[], float]:
    def turn() -> float:
        begun = time.process_time()
        metrics.render()
        return (time.process_time() - begun) * 1e3

    return turn


def main() -> None:
    """Measure and print."""
    off, own, rest, many = _metrics(0, 100), _metrics(100, 100), _metrics(10, 100), _metrics(1000, 1000)
    delivered, retried = _attempts(DELIVERED, 100), _attempts(RETRIED, 100)
    turns = {
        "delivered, without": _counting(off, delivered),
        "delivered, series of its own": _counting(own, delivered),
        "delivered, most in the rest": _counting(rest, delivered),
        "failed, without": _counting(off, retried),
        "failed, series of its own": _counting(own, retried),
        "scrape, without": _scraping(off),
        "scrape, 100 subscriptions": _scraping(own),
        "scrape, 1,000 subscriptions": _scraping(many),
    }
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(TURNS):
        for name, turn in turns.items():
            taken[name].append(turn())
    for name, times in taken.items():
        kind = name.partition(",")[0]
        ratio = statistics.median(times) / statistics.median(taken[f"{kind}, without"])
        unit = "ms" if kind == "scrape" else "µs"
        sys.stdout.write(f"{name:30} {statistics.median(times):7.2f} {unit}  ratio {ratio:.2f}\n")
    for what, metrics in (("without", off), ("100", own), ("1,000", many)):
        sys.stdout.write(f"scrape, {what}: {len(metrics.render()) / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
