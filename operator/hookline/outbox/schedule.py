"""When to try again: pure arithmetic over a ``RetryPolicy``; clock and randomness are arguments.

In: how often and since when a message was tried. Out: the time of the next attempt, or None when it is over.
The deliver room's verdict calls ``next_attempt``; ``app`` hands it over.
"""

from __future__ import annotations

from hookline.spec import RetryPolicy

MAX_FLOOR = 86_400.0
"""A receiver may ask for at most 24 hours of patience."""

JITTER = 0.1
"""The largest part of a wait that chance adds to it."""


def next_attempt(
    policy: RetryPolicy, attempts_made: int, stored: float, now: float, floor: float, rand: float
) -> float | None:
    """The Unix time of the next attempt, None when attempts or age are exhausted.

    ``attempts_made`` counts the one that just ended (1 or more); ``stored`` is when the message was stored; ``floor``
    is the receiver's Retry-After in seconds (0: none), capped at 24 hours; ``rand`` is in [0, 1). The result is never
    earlier than the schedule or the floor ask for: jitter only adds. No attempt is made after ``stored + max_age``.
    """
    if attempts_made > len(policy.schedule):
        return None
    wait = max(policy.schedule[attempts_made - 1], min(floor, MAX_FLOOR), 0.0)
    deadline = stored + policy.max_age
    if now + wait > deadline:
        return None
    return min(now + wait * (1 + JITTER * rand), deadline)
