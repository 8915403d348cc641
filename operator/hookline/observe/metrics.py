"""The metrics, in an own registry, named as Prometheus wants it, with bounded labels and known series from the start.

https://prometheus.io/docs/practices/naming/ No label holds a name, a URL, a uid or an unbounded code. Series of single
subscriptions, which are opt-in, are in ``subscriptions``.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector

from hookline import __version__
from hookline.expressions.worker import Cause
from hookline.model import Attempt, Counts, Outcome
from hookline.observe.failures import FAILURE_REASONS, failure_reason
from hookline.observe.subscriptions import SubscriptionMetrics
from hookline.reasons import DROP_REASONS, SubscriptionState
from hookline.spec import Operation
from hookline.stored import Pruned

ATTEMPT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 86400.0)


class Metrics:
    """All metrics of one process. Every method records a fact; ``render`` gives the exposition.

    ``store_operations`` are the names of all that can be asked of the outbox. At most so many ``subscriptions`` have
    series of their own, in ``each``.
    """

    def __init__(self, store_operations: Sequence[str] = (), subscriptions: int = 0) -> None:
        registry = self.registry = CollectorRegistry()
        self.each = SubscriptionMetrics(subscriptions)
        if subscriptions:
            registry.register(self.each)
        ProcessCollector(registry=registry)
        Info("hookline_build", "Version of Hookline and of Python.", registry=registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        self._received = Counter(
            "hookline_changes_received", "Changes of watched objects.", ["operation"], registry=registry
        )
        self._matched = Counter("hookline_events_matched", "Changes that matched a subscription.", registry=registry)
        self._dropped = Counter(
            "hookline_events_dropped", "Events that were not stored, by reason.", ["reason"], registry=registry
        )
        self._outbox = Gauge(
            "hookline_outbox_messages", "Messages in the outbox, by state.", ["state"], registry=registry
        )
        self._outbox_bytes = Gauge("hookline_outbox_bytes", "Size of the outbox on its volume.", registry=registry)
        self._outbox_free = Gauge(
            "hookline_outbox_free_bytes",
            "How much of that size holds nothing: what comes next goes there before the file grows.",
            registry=registry,
        )
        self._oldest = Gauge(
            "hookline_outbox_oldest_due_timestamp_seconds",
            "When the message that is due longest became due, of those that may be sent, or could be sent, if that was "
            "later; 0 with none. Those whose endpoint is in trouble (its circuit breaker is open) or asked to wait "
            "(Retry-After), or that their own rate limit holds back, do not count.",
            registry=registry,
        )
        self._attempts = Counter(
            "hookline_delivery_attempts", "HTTP attempts, by outcome.", ["outcome"], registry=registry
        )
        self._failures = Counter(
            "hookline_delivery_failures",
            "Attempts that failed, and messages that expired, by reason.",
            ["reason"],
            registry=registry,
        )
        self._dead = Counter("hookline_messages_dead_lettered", "Messages given up, without pings.", registry=registry)
        self._pruned = Counter(
            "hookline_messages_pruned",
            "Finished messages deleted, by state, for their age or for the room they took (size).",
            ["state", "reason"],
            registry=registry,
        )
        self._refused = Counter(
            "hookline_destinations_refused",
            "Destinations that the address policy refused, by where it was seen.",
            ["stage"],
            registry=registry,
        )
        self._duration = Histogram(
            "hookline_delivery_attempt_duration_seconds",
            "Time of one attempt, DNS to the last byte.",
            buckets=ATTEMPT_BUCKETS,
            registry=registry,
        )
        self._latency = Histogram(
            "hookline_delivery_latency_seconds",
            "From the change as received to its successful delivery.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge("hookline_delivery_attempts_in_flight", "Attempts under way.", registry=registry)
        self._breakers = Gauge(
            "hookline_circuit_breakers_open", "Endpoints in trouble that get one attempt at a time.", registry=registry
        )
        self._staleness = Gauge(
            "hookline_watch_staleness_seconds", "Longest time since a watch was heard of.", registry=registry
        )
        self._watches = Gauge("hookline_watches", "Open watches.", registry=registry)
        self._watch_failing = Gauge("hookline_watches_failing", "Watches whose last try failed.", registry=registry)
        self._repairs = Counter(
            "hookline_watch_repairs", "Changes that a watch left out, by operation.", ["operation"], registry=registry
        )
        self._subscriptions = Gauge(
            "hookline_subscriptions",
            "Subscriptions: ready, suspended, disabled (their endpoint was given up or is gone), or not ready.",
            ["state"],
            registry=registry,
        )
        self._patches = Counter("hookline_status_patches", "Status patches written.", registry=registry)
        self._patch_errors = Counter(
            "hookline_status_patch_errors", "Status patches that failed, by class of code.", ["code"], registry=registry
        )
        self._reviews = Counter(
            "hookline_access_reviews",
            "SubjectAccessReviews of subscriptions' ServiceAccounts, by result.",
            ["result"],
            registry=registry,
        )
        self._api_requests = Counter(
            "hookline_api_requests",
            "Requests to the API for deliveries, by verb and code; a watch when it begins.",
            ["verb", "code"],
            registry=registry,
        )
        self._expression_deaths = Counter(
            "hookline_expression_worker_restarts",
            "Processes for expressions that were replaced, by what ended them.",
            ["cause"],
            registry=registry,
        )
        self._kopf_restarts = Counter("hookline_controller_restarts", "Restarts of the controller.", registry=registry)
        self._store_errors = Counter(
            "hookline_store_errors", "Calls of the outbox that failed, by operation.", ["operation"], registry=registry
        )
        self._store_failing = Gauge(
            "hookline_store_failing", "1 while the outbox can't be read or written.", registry=registry
        )
        self._leading = Gauge(
            "hookline_leading", "1 while this process is the one to work, 0 while it stands by.", registry=registry
        )
        self._ready = Gauge(
            "hookline_ready",
            "1 while /readyz answers 200; a process works where hookline_leading is 1, too.",
            registry=registry,
        )
        self._lag = Gauge(
            "hookline_event_loop_lag_seconds",
            "How late the event loop was at worst since last asked.",
            registry=registry,
        )
        self._skew = Gauge(
            "hookline_clock_skew_seconds",
            "By how much the endpoints' clocks are ahead of ours; a median far from 0 says that ours is wrong.",
            ["statistic"],
            registry=registry,
        )
        self._skewed = Gauge(
            "hookline_clock_skewed_subscriptions",
            "Subscriptions whose endpoint's clock is off by more than receivers tolerate.",
            registry=registry,
        )
        self._spans = Counter(
            "hookline_trace_spans",
            "Spans of traces, by what became of them: exported, or dropped (queue_full, export_failed).",
            ["result"],
            registry=registry,
        )
        self.clocks([], 0)
        self.spans("exported", 0)
        self.spans("queue_full", 0)
        self.spans("export_failed", 0)
        for name in store_operations:
            self._store_errors.labels(name)
        self._received_of = {operation: self._received.labels(operation.value) for operation in Operation}
        self._attempts_of = {outcome: self._attempts.labels(outcome.value) for outcome in Outcome}
        for operation in Operation:
            self._repairs.labels(operation.value)
        for reason in FAILURE_REASONS:
            self._failures.labels(reason)
        for reason in DROP_REASONS:
            self._dropped.labels(reason)
        for stage in ("url", "resolve", "connect", "peer"):
            self._refused.labels(stage)
        for state in ("pending", "delivered", "dead"):
            self._outbox.labels(state)
        self.pruned(Pruned())
        for code in ("0", "4xx", "5xx"):
            self._patch_errors.labels(code)
        _begin(self._api_requests, ("list", "get", "watch"), ("200", "401", "403", "404", "429", "503"))
        _begin(self._reviews, ("allowed", "denied", "failed"))
        for cause in Cause:
            self._expression_deaths.labels(cause.value)
        for state in SubscriptionState:
            self._subscriptions.labels(state.value)

    def received(self, operation: Operation) -> None:
        """A change came from a watch."""
        self._received_of[operation].inc()

    def matched(self, count: int) -> None:
        """A change matched so many subscriptions."""
        if count:
            self._matched.inc(count)

    def dropped(self, reason: str) -> None:
        """An event was not stored; ``reason`` is a key of ``reasons.DROP_REASONS``."""
        self._dropped.labels(reason).inc()

    def repaired(self, operation: Operation) -> None:
        """A change that a watch had left out was told after all."""
        self._repairs.labels(operation.value).inc()

    def attempt(self, attempt: Attempt) -> None:
        """One attempt ended, or a message without one."""
        latency, outcome = None, attempt.verdict.outcome
        if attempt.made:
            self._attempts_of[outcome].inc()
            self._duration.observe(attempt.duration)
        if outcome is Outcome.DELIVERED:
            finished = attempt.started + attempt.duration
            latency = max(0.0, finished - attempt.claimed.message.observed)
            self._latency.observe(latency)
        else:
            self._failures.labels(failure_reason(attempt.verdict)).inc()
            if outcome is Outcome.DEAD and not attempt.claimed.message.is_ping:
                self._dead.inc()
        self.each.attempt(attempt, latency)

    def spans(self, result: str, count: int) -> None:
        """So many spans of traces were ``exported``, or dropped: ``queue_full``, ``export_failed``."""
        self._spans.labels(result).inc(count)

    def pruned(self, pruned: Pruned) -> None:
        """Finished messages were deleted."""
        for reason, counts in (("age", pruned.aged), ("size", pruned.crowded)):
            self._pruned.labels("delivered", reason).inc(counts.delivered)
            self._pruned.labels("dead", reason).inc(counts.dead)

    def reviewed(self, result: str) -> None:
        """One SubjectAccessReview ended: ``allowed``, ``denied`` or ``failed``."""
        self._reviews.labels(result).inc()

    def api_answered(self, verb: str, code: int) -> None:
        """The API for deliveries answered: ``list``, ``get``, ``watch`` or ``other``, with one of its few codes."""
        self._api_requests.labels(verb, str(code)).inc()

    def expression_worker_died(self, cause: Cause) -> None:
        """A process for expressions ended in its work."""
        self._expression_deaths.labels(cause.value).inc()

    def destination_refused(self, stage: str) -> None:
        """A destination was refused; ``stage`` is a value of ``hookline.deliver.guard.Stage``."""
        self._refused.labels(stage).inc()

    def store_failed(self, operation: str) -> None:
        """A call of the outbox failed."""
        self._store_errors.labels(operation).inc()

    def life(self, *, leading: bool, ready: bool, store_failing: bool, lag: float) -> None:
        """Whether the process leads or stands by, is ready for that, its outbox fails, and how late its loop was."""
        self._leading.set(leading)
        self._ready.set(ready)
        self._store_failing.set(store_failing)
        self._lag.set(lag)

    def status_patch_failed(self, code: int) -> None:
        """A status patch failed with this HTTP code; 0: no answer."""
        self._patch_errors.labels(f"{code // 100}xx" if code else "0").inc()

    def status_patched(self, count: int) -> None:
        """So many status patches were written since the last call."""
        self._patches.inc(count)

    def outbox(self, counts: Mapping[str, Counts], size: int, free: int, oldest_due: float | None) -> None:
        """The state of the outbox: messages by subscription, bytes, of these those that are free, the oldest due."""
        self._outbox.labels("pending").set(sum(item.pending for item in counts.values()))
        self._outbox.labels("delivered").set(sum(item.delivered for item in counts.values()))
        self._outbox.labels("dead").set(sum(item.dead for item in counts.values()))
        self._outbox_bytes.set(size)
        self._outbox_free.set(free)
        self._oldest.set(oldest_due or 0)

    def controller_restarted(self, count: int) -> None:
        """The controller's thread began anew so many times since the last call."""
        self._kopf_restarts.inc(count)

    def gauges(self, *, in_flight: int, breakers: int, watches: int, failing: int, staleness: float) -> None:
        """What is measured by looking rather than by counting."""
        self._in_flight.set(in_flight)
        self._breakers.set(breakers)
        self._watches.set(watches)
        self._watch_failing.set(failing)
        self._staleness.set(staleness)

    def clocks(self, skews: Sequence[int], exceeding: int) -> None:
        """By how many seconds each endpoint's clock is ahead of ours, where known; of how many that is too much."""
        self._skew.labels("median").set(statistics.median(skews) if skews else 0)
        self._skew.labels("worst").set(max(skews, key=abs, default=0))
        self._skewed.set(exceeding)

    def subscriptions(self, states: Mapping[SubscriptionState, int]) -> None:
        """How many subscriptions there are in each state."""
        for state in SubscriptionState:
            self._subscriptions.labels(state.value).set(states.get(state, 0))

    def render(self) -> bytes:
        """The exposition in Prometheus' text format. Takes milliseconds: call it off the event loop."""
        return generate_latest(self.registry)


def _begin(metric: Counter, *values: Sequence[str]) -> None:
    """Let a series exist for each combination of these labels."""
    for labels in product(*values):
        metric.labels(*labels)
