"""What ``ping`` and ``rotate-key`` share: they ask the operator by an annotation whose value is the moment.

In: a subscription. Out: what was asked, and when, by which the status says later that it was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from hookline.cli import arguments
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster
from hookline.cli.output import rfc3339

SECONDS = 60.0


class Asked(NamedTuple):
    """What was asked: the annotation's ``value``, ``at`` in Unix seconds, and the object that has it."""

    value: str
    at: float
    object: Mapping[str, Any]


def configure(parser: Parser, awaited: str) -> None:
    """Which subscription, and how long to wait for what is ``awaited``."""
    arguments.add_subscription(parser)
    arguments.add_timeout(parser, SECONDS, f"how long to wait for {awaited}")
    arguments.add_output(parser, ("table", "json", "yaml", "name"))
    arguments.add_cluster(parser)


async def ask(cluster: Cluster, name: str, annotation: str) -> Asked:
    """Set the annotation to now. Raises CommandError."""
    now = datetime.now(UTC)
    value = rfc3339(now, "microseconds")  # so fine that no two requests are alike
    return Asked(value, now.timestamp(), await cluster.annotate(name, {annotation: value}))
