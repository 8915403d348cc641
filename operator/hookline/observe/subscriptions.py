"""Series of single subscriptions, opt-in: at most so many have their own, all others share one.

In: which subscriptions there are, their attempts, and the outbox' numbers at a scrape. Out: families for the registry
of ``metrics``. What is kept is bounded by the subscriptions that exist: those of a gone one disappear, and the next
that had none gets its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hookline.model import Attempt, Counts, Outcome
from hookline.observe.failures import failure_reason

REST = "_rest"
"""Namespace and name of all that have no series of their own. No object can be named so (RFC 1123)."""

LABELS = ("subscription_namespace", "subscription")
"""Not ``namespace``: that is where Prometheus says which pod it scraped."""


@dataclass(slots=True)
class _Series:
    """What is counted for one subscription, or for all the rest."""

    labels: tuple[str, str]
    attempts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    dead: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    duration: float = 0.0
    delivered: int = 0
    latency: float = 0.0
    counts: Counts = field(default_factory=Counts)
    oldest: float = 0.0


class SubscriptionMetrics(Collector):
    """The series of at most ``limit`` subscriptions, those that were known first; 0: none, and nothing is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._series: dict[str, _Series] = {}
        self._waiting: dict[str, tuple[str, str]] = {}
        self._rest = _Series((REST, REST))
        self._crowded = False

    def known(self, uid: str, namespace: str, name: str) -> None:
        """There is this subscription. Told again it changes nothing."""
        if not self._limit or uid in self._series:
            return
        if len(self._series) - len(self._waiting) < self._limit:
            self._series[uid] = _Series((namespace, name))
        else:
            self._series[uid] = self._rest
            self._waiting[uid] = (namespace, name)
            self._crowded = True

    def gone(self, uid: str) -> None:
        """It is deleted: its series end, and another one's may begin."""
        had_own = self._series.pop(uid, self._rest) is not self._rest
        self._waiting.pop(uid, None)
        if had_own and self._waiting:
            following = next(iter(self._waiting))
            self._series[following] = _Series(self._waiting.pop(following))

    def attempt(self, attempt: Attempt, latency: float | None) -> None:
        """One attempt ended, or a message without one. ``latency`` is that of a delivery, in seconds."""
        series = self._series.get(attempt.claimed.message.subscription)
        if series is None:
            return
        verdict = attempt.verdict
        if attempt.made:
            series.attempts[verdict.outcome] += 1
            series.duration += attempt.duration
        if latency is not None:
            series.delivered += 1
            series.latency += latency
            return
        reason = failure_reason(verdict)
        series.failures[reason] = series.failures.get(reason, 0) + 1
        if verdict.outcome is Outcome.DEAD and not attempt.claimed.message.is_ping:
            series.dead += 1

    def outbox(self, counts: Mapping[str, Counts], due: Mapping[str, float]) -> None:
        """The outbox' numbers, and when what may be sent became or becomes due, by subscription."""
        pending = delivered = dead = 0
        nothing = Counts()
        for uid, series in self._series.items():
            now = counts.get(uid, nothing)
            if series is self._rest:
                pending, delivered, dead = pending + now.pending, delivered + now.delivered, dead + now.dead
            else:
                series.counts, series.oldest = now, due.get(uid, 0.0)
        self._rest.counts = Counts(pending, delivered, dead)
        self._rest.oldest = min((due[uid] for uid in self._waiting if uid in due), default=0.0)

    def describe(self) -> Sequence[Metric]:
        """The families without samples."""
        return _Families().all

    def collect(self) -> Sequence[Metric]:
        """The families. Called in a thread of its own while the others go on: it looks at copies."""
        shown = [series for series in list(self._series.values()) if series is not self._rest]
        families = _Families()
        for series in [*shown, self._rest] if self._crowded else shown:
            families.add(series)
        return families.all


class _Families:
    """What one scrape tells, filled subscription by subscription."""

    def __init__(self) -> None:
        self._attempts = CounterMetricFamily(
            "hookline_subscription_delivery_attempts", "HTTP attempts, by outcome.", labels=[*LABELS, "outcome"]
        )
        self._failures = CounterMetricFamily(
            "hookline_subscription_delivery_failures",
            "Attempts that failed, and messages that expired, by reason.",
            labels=[*LABELS, "reason"],
        )
        self._dead = CounterMetricFamily(
            "hookline_subscription_messages_dead_lettered", "Messages given up, without pings.", labels=LABELS
        )
        self._messages = GaugeMetricFamily(
            "hookline_subscription_messages", "Messages in the outbox, by state.", labels=[*LABELS, "state"]
        )
        self._oldest = GaugeMetricFamily(
            "hookline_subscription_oldest_due_timestamp_seconds",
            "When the message that is due longest became due, if it may be sent; 0 with none.",
            labels=LABELS,
        )
        self._duration = SummaryMetricFamily(
            "hookline_subscription_delivery_attempt_duration_seconds",
            "Time of one attempt, DNS to the last byte.",
            labels=LABELS,
        )
        self._latency = SummaryMetricFamily(
            "hookline_subscription_delivery_latency_seconds",
            "From the change as received to its successful delivery.",
            labels=LABELS,
        )

    @property
    def all(self) -> Sequence[Metric]:
        return (
            *(self._attempts, self._failures, self._dead, self._messages),
            *(self._oldest, self._duration, self._latency),
        )

    def add(self, series: _Series) -> None:
        labels = [*series.labels]
        for outcome, count in series.attempts.items():
            self._attempts.add_metric([*labels, outcome.value], count)
        for reason, count in list(series.failures.items()):
            self._failures.add_metric([*labels, reason], count)
        self._dead.add_metric(labels, series.dead)
        for state in ("pending", "delivered", "dead"):
            self._messages.add_metric([*labels, state], getattr(series.counts, state))
        self._oldest.add_metric(labels, series.oldest)
        self._duration.add_metric(labels, sum(series.attempts.values()), series.duration)
        self._latency.add_metric(labels, series.delivered, series.latency)
