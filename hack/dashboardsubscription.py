"""The panels of one subscription, which the dashboard repeats for each; ``@`` stands for it, too, in their queries."""

from __future__ import annotations

from collections.abc import Sequence

from dashboardpanels import Panel, rate, top

_ONE = "hookline_subscription"
_ONE_TRIED = f"{_ONE}_delivery_attempts_total"
_ONE_DELIVERED = rate(_ONE_TRIED, matcher='outcome="delivered"')
_ONE_DUE = f"{_ONE}_oldest_due_timestamp_seconds{{@}}"


def _mean(summary: str) -> str:
    return f"{rate(f'{summary}_sum')} / ({rate(f'{summary}_count')} > 0)"


SUBSCRIPTION: Sequence[Panel] = [
    Panel(
        "Rate",
        "HTTP requests of this subscription: delivered, to be tried again (retry), given up (dead).",
        "reqps",
        {"{{outcome}}": rate(_ONE_TRIED, "outcome")},
        width=6,
        stacked=True,
    ),
    Panel(
        "Success",
        "The part of its attempts that was delivered; empty while nothing is sent.",
        "percentunit",
        {"delivered": f"{_ONE_DELIVERED} / ({rate(_ONE_TRIED)} > 0)"},
        width=6,
    ),
    Panel(
        "Latency",
        "Means: from the change as received to its successful delivery, retries included, and of one request.",
        "s",
        {
            "change to delivery": _mean(f"{_ONE}_delivery_latency_seconds"),
            "one attempt": _mean(f"{_ONE}_delivery_attempt_duration_seconds"),
        },
        width=6,
    ),
    Panel(
        "Backlog",
        "Messages that wait for this endpoint, those that wait for a retry among them.",
        "short",
        {"waiting": f'sum({_ONE}_messages{{state="pending", @}})'},
        width=6,
    ),
    Panel(
        "Oldest due",
        "For how long its message that is due longest has been due; 0 with none, and while nothing may be sent.",
        "s",
        {"oldest": f"max(clamp_min(time() - {_ONE_DUE}, 0) * ({_ONE_DUE} > bool 0))"},
        width=6,
    ),
    Panel(
        "Retried",
        "Attempts that failed and will be made again.",
        "reqps",
        {"retries": rate(_ONE_TRIED, matcher='outcome="retry"')},
        width=6,
    ),
    Panel(
        "Given up",
        "Messages given up in the chosen interval, and those kept for a replay.",
        "short",
        {
            "given up": f"sum(increase({_ONE}_messages_dead_lettered_total{{@}}[$__rate_interval]))",
            "kept": f'sum({_ONE}_messages{{state="dead", @}})',
        },
        width=6,
    ),
    top(
        "Top reasons",
        "Its five most frequent answers or failures in the chosen time. The first failure for a reason since the "
        "start can't be seen, because its series begins with it.",
        f"{_ONE}_delivery_failures_total",
    ),
]
