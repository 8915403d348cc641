"""The panels of the dashboard, in the order of the data's way, each with its queries; ``hack/dashboard.py`` draws.

``ROWS`` are those of the whole; those of one subscription are in ``hack/dashboardsubscription.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``queries`` maps each legend to its query, where ``@`` stands for the chosen jobs and instances.

    ``limits`` are the values from which on a number is yellow and red. ``instant`` asks for the whole range at once.
    """

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    instant: bool = False
    limits: Sequence[float] = field(default=())


def rate(metric: str, by: str = "", matcher: str = "") -> str:
    """The sum of a counter's rates, by a label or in all."""
    chosen = f"{matcher}, @" if matcher else "@"
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{chosen}}}[$__rate_interval]))"


def _stat(title: str, description: str, query: str, unit: str = "short", limits: Sequence[float] = ()) -> Panel:
    """A number of now, with its past behind it."""
    return Panel(title, description, unit, {title.lower(): query}, kind="stat", width=3, limits=limits)


def top(title: str, description: str, metric: str) -> Panel:
    """The five most frequent reasons that a counter has, in the chosen time."""
    query = f"topk(5, sum by (reason) (increase({metric}{{@}}[$__range])) > 0)"
    return Panel(title, description, "short", {"{{reason}}": query}, kind="bargauge", width=6, instant=True)


def _quantile(q: float, metric: str) -> str:
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', 'le')})"


_ATTEMPTS = "hookline_delivery_attempts_total"
_DELIVERED = rate(_ATTEMPTS, matcher='outcome="delivered"')
_SUCCESS = f"{_DELIVERED} / ({rate(_ATTEMPTS)} > 0)"
_DUE = "hookline_outbox_oldest_due_timestamp_seconds{@}"
_OLDEST = f"max(clamp_min(time() - {_DUE}, 0) * ({_DUE} > bool 0))"
_PENDING = 'sum(hookline_outbox_messages{state="pending", @})'

ROWS: Mapping[str, Sequence[Panel]] = {
    "Now": [
        _stat(
            "Working processes",
            "Processes that work: they lead and are ready. Others stand by, or say at /readyz why they do not work. "
            "Alert: HooklineDown.",
            "sum(hookline_leading{@} * hookline_ready{@})",
        ),
        _stat(
            "Subscriptions ready",
            "Subscriptions whose changes are watched and whose messages are sent.",
            'sum(hookline_subscriptions{state="ready", @})',
        ),
        _stat(
            "Not ready",
            "Subscriptions that are refused, or wait for something; each one's status says why. "
            "Alert: HooklineSubscriptionsNotReady.",
            'sum(hookline_subscriptions{state="not_ready", @})',
            limits=(1,),
        ),
        _stat(
            "Suspended",
            "Subscriptions that their owners suspended: nothing is sent, and their messages are kept.",
            'sum(hookline_subscriptions{state="suspended", @})',
        ),
        _stat(
            "Endpoints given up",
            "Subscriptions to whose endpoint nothing is sent any more, since it is gone or failed for too long. "
            "Alert: HooklineEndpointDisabled.",
            'sum(hookline_subscriptions{state="disabled", @})',
            limits=(1,),
        ),
        _stat(
            "Messages waiting",
            "Messages in the outbox that are not delivered yet, those that wait for a retry among them.",
            _PENDING,
        ),
        _stat(
            "Oldest due message",
            "For how long the message that is due longest has been due. Alert: HooklineDeliveryDelayed.",
            _OLDEST,
            "s",
            limits=(60, 600),
        ),
        _stat(
            "Dead letters kept",
            "Messages given up that can still be sent again by a WebhookReplay. Alert: HooklineDeadLetters.",
            'sum(hookline_outbox_messages{state="dead", @})',
            limits=(1,),
        ),
    ],
    "Changes": [
        Panel(
            "Changes received",
            "Changes of watched objects as the API server told them, by operation.",
            "cps",
            {"{{operation}}": rate("hookline_changes_received_total", "operation")},
            stacked=True,
        ),
        Panel(
            "Events matched",
            "Changes that matched a subscription; one that matches several counts for each.",
            "cps",
            {"matched": rate("hookline_events_matched_total")},
        ),
        Panel(
            "Events dropped",
            "Matching events that were not stored and will not be delivered, by reason. Alert: HooklineEventsDropped.",
            "cps",
            {"{{reason}}": rate("hookline_events_dropped_total", "reason")},
        ),
        replace(
            top(
                "Top reasons for dropped events",
                "The five most frequent reasons in the chosen time.",
                "hookline_events_dropped_total",
            ),
            width=8,
        ),
        Panel(
            "Watch staleness",
            "Longest time since a watch was heard of; API servers say something about every minute. "
            "Alert: HooklineWatchStale.",
            "s",
            {"{{instance}}": "max by (instance) (hookline_watch_staleness_seconds{@})"},
        ),
        Panel(
            "Watches",
            "Open watches, those whose last try failed, and changes that a watch had left out and that were repaired.",
            "short",
            {
                "open": "sum(hookline_watches{@})",
                "failing": "sum(hookline_watches_failing{@})",
                "repaired": "sum(increase(hookline_watch_repairs_total{@}[$__rate_interval]))",
            },
        ),
    ],
    "Deliveries": [
        Panel(
            "Attempts by outcome",
            "HTTP requests: delivered, to be tried again (retry), given up (dead). Alert: HooklineDeliveriesFailing.",
            "reqps",
            {"{{outcome}}": rate(_ATTEMPTS, "outcome")},
            stacked=True,
        ),
        Panel(
            "Success ratio",
            "The part of all attempts that was delivered; empty while nothing is sent.",
            "percentunit",
            {"delivered": _SUCCESS},
        ),
        Panel(
            "Attempts under way, endpoints in trouble",
            "Requests in flight, and endpoints that get one attempt at a time because they failed too often.",
            "short",
            {
                "in flight": "sum(hookline_delivery_attempts_in_flight{@})",
                "endpoints in trouble": "sum(hookline_circuit_breakers_open{@})",
            },
        ),
        Panel(
            "Delivery latency",
            "From the change as it was received to its successful delivery, retries included.",
            "s",
            {
                "{{le}}": "sum by (le) (increase(hookline_delivery_latency_seconds_bucket{@}[$__rate_interval]))",
            },
            kind="heatmap",
            width=12,
        ),
        Panel(
            "Delivery latency, quantiles",
            "Half, 95 and 99 of 100 deliveries were quicker than this, from the change to its delivery.",
            "s",
            {f"p{q * 100:.0f}": _quantile(q, "hookline_delivery_latency_seconds") for q in (0.5, 0.95, 0.99)},
            width=6,
        ),
        Panel(
            "Duration of an attempt, quantiles",
            "Time of one request, from the look-up of the name to the last byte of the answer.",
            "s",
            {f"p{q * 100:.0f}": _quantile(q, "hookline_delivery_attempt_duration_seconds") for q in (0.5, 0.95, 0.99)},
            width=6,
        ),
        Panel(
            "Retries",
            "Attempts that failed and will be made again.",
            "reqps",
            {"retries": rate(_ATTEMPTS, matcher='outcome="retry"')},
            width=6,
        ),
        Panel(
            "Dead letters",
            "Messages given up, by a refusal that no retry heals or since their time was over.",
            "cps",
            {"dead letters": rate("hookline_messages_dead_lettered_total")},
            width=6,
        ),
        top(
            "Top reasons for failed attempts",
            "The five most frequent answers or failures in the chosen time.",
            "hookline_delivery_failures_total",
        ),
        Panel(
            "Destinations refused",
            "Destinations that the address policy refused, by where it was seen.",
            "cps",
            {"{{stage}}": rate("hookline_destinations_refused_total", "stage")},
            width=6,
        ),
    ],
    "Outbox": [
        Panel(
            "Messages by state",
            "Messages that wait (pending), and finished ones that are kept for a replay (delivered, dead).",
            "short",
            {"{{state}}": "sum by (state) (hookline_outbox_messages{@})"},
        ),
        Panel(
            "Age of the oldest due message",
            "For how long the message that is due longest has been due; 0 with none. Alert: HooklineDeliveryDelayed.",
            "s",
            {"oldest": _OLDEST},
        ),
        Panel(
            "Size on the volume",
            "Bytes of the outbox, and how many of them are used: the rest is free for what comes next. "
            "Alert: HooklineOutboxNearlyFull.",
            "bytes",
            {
                "{{instance}}": "max by (instance) (hookline_outbox_bytes{@})",
                "{{instance}}, used": "max by (instance) (hookline_outbox_bytes{@} - hookline_outbox_free_bytes{@})",
            },
        ),
        Panel(
            "Finished messages deleted",
            "For their age, or for the room that they took (size): dead ones can't be sent again then.",
            "cps",
            {"{{state}}, {{reason}}": rate("hookline_messages_pruned_total", "state, reason")},
            width=12,
        ),
        Panel(
            "Failures of the outbox",
            "Calls that failed, by operation; nothing is lost while it fails, and nothing moves. "
            "Alert: HooklineOutboxFailing.",
            "cps",
            {"{{operation}}": rate("hookline_store_errors_total", "operation")},
            width=12,
        ),
    ],
    "Operator": [
        Panel(
            "Event loop lag",
            "How late the event loop was at worst between two scrapes: near 0 unless the processor is short.",
            "s",
            {"{{instance}}": "max by (instance) (hookline_event_loop_lag_seconds{@})"},
        ),
        Panel(
            "Memory",
            "Resident memory of the operator's process, without the processes for expressions.",
            "bytes",
            {"{{instance}}": "max by (instance) (process_resident_memory_bytes{@})"},
        ),
        Panel(
            "Processor",
            "Cores that the operator's process uses.",
            "short",
            {"{{instance}}": "max by (instance) (rate(process_cpu_seconds_total{@}[$__rate_interval]))"},
        ),
        Panel(
            "Status patches",
            "Patches of subscriptions' status, and those that failed, by class of code (0: no answer).",
            "reqps",
            {
                "written": rate("hookline_status_patches_total"),
                "failed {{code}}": rate("hookline_status_patch_errors_total", "code"),
            },
        ),
        Panel(
            "Access reviews",
            "SubjectAccessReviews of subscriptions' ServiceAccounts, by result.",
            "reqps",
            {"{{result}}": rate("hookline_access_reviews_total", "result")},
        ),
        Panel(
            "Parts started anew",
            "Processes for expressions that were replaced, by what ended them, and restarts of the controller.",
            "short",
            {
                "expressions, {{cause}}": "sum by (cause) "
                "(increase(hookline_expression_worker_restarts_total{@}[$__rate_interval]))",
                "controller": "sum(increase(hookline_controller_restarts_total{@}[$__rate_interval]))",
            },
        ),
        Panel(
            "Clock skew",
            "By how much the endpoints' clocks are ahead of ours. A median far from 0 says that ours is wrong. "
            "Alert: HooklineClockSkewed.",
            "s",
            {"{{statistic}}": "max by (statistic) (hookline_clock_skew_seconds{@})"},
            width=12,
        ),
        Panel(
            "Endpoints with a wrong clock",
            "Subscriptions whose endpoint's clock is off by more than receivers tolerate.",
            "short",
            {"subscriptions": "sum(hookline_clock_skewed_subscriptions{@})"},
            width=12,
        ),
    ],
}
