"""What the answer to one attempt means: pure, with clock, randomness and the retry schedule as arguments.

In: a ``Response`` or ``Failure`` from the client. Out: a ``Verdict``; the worker records it in the outbox.
Rules: Standard Webhooks ("Response status codes"), RFC 9110 §10.2.3 (Retry-After) and §6.6.1 (Date).
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from hookline.model import Claimed, Outcome, Verdict
from hookline.spec import RetryPolicy


class Reason(StrEnum):
    """The reasons that are no HTTP status; the others are ``HTTP`` and the code, such as ``HTTP503``."""

    DELIVERED = "Delivered"
    TIMEOUT = "Timeout"
    TLS_FAILED = "TLSFailed"
    UNREACHABLE = "Unreachable"
    NAME_NOT_RESOLVED = "NameNotResolved"
    DESTINATION_REFUSED = "DestinationRefused"
    PROXY_FAILED = "ProxyFailed"
    PROTOCOL = "Protocol"
    INVALID_HEADER = "InvalidHeader"
    INTERNAL_ERROR = "InternalError"
    ACCESS_DENIED = "AccessDenied"
    ACCESS_UNKNOWN = "AccessUnknown"
    EXPIRED = "Expired"
    TOKEN_FAILED = "TokenFailed"  # noqa: S105 (a reason, no secret)


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer: its status code, and the two headers that matter, None when absent."""

    status: int
    retry_after: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """No complete answer came, or none was asked for."""

    reason: Reason


Result = Response | Failure


class NextAttempt(Protocol):
    """The retry schedule, as ``hookline.outbox.schedule.next_attempt`` has it."""

    def __call__(
        self, policy: RetryPolicy, attempts_made: int, stored: float, now: float, floor: float, rand: float, /
    ) -> float | None:
        """The Unix time of the next attempt, or None when there is none."""


def judge(
    claimed: Claimed,
    policy: RetryPolicy,
    result: Result,
    now: float,
    *,
    rand: Callable[[], float],
    next_attempt: NextAttempt,
) -> Verdict:
    """The verdict on an attempt that ended at ``now``; ``rand`` gives numbers in [0, 1).

    Only 2xx is success. 410 is dead and ``gone``. Everything else is retried as long as the policy has attempts, no
    earlier than the Retry-After of a 429 or 503, and dead with the same reason when it has none. A ping has
    one attempt.
    """
    if isinstance(result, Failure):
        reason, status, floor = str(result.reason), None, 0.0
    else:
        status = result.status
        if 200 <= status < 300:
            return Verdict(Outcome.DELIVERED, str(Reason.DELIVERED), status)
        reason = f"HTTP{status}"
        if status == 410:
            return Verdict(Outcome.DEAD, reason, status, gone=True)
        floor = retry_after_seconds(result.retry_after, now) if status in (429, 503) else 0.0
    if claimed.message.is_ping:  # somebody waits for the answer to it, and asks again
        return Verdict(Outcome.DEAD, reason, status)
    retry_at = next_attempt(policy, claimed.attempts + 1, claimed.stored, now, floor, rand())
    if retry_at is None:
        return Verdict(Outcome.DEAD, reason, status)
    return Verdict(Outcome.RETRY, reason, status, retry_at)


_OUR_OWN = frozenset({Reason.INVALID_HEADER, Reason.INTERNAL_ERROR})
"""Failures on our own side: nobody was asked."""

MAX_THROTTLE_SECONDS = 86_400.0
"""An endpoint may ask for at most 24 hours of silence."""


def trouble(result: Result) -> bool | None:
    """Whether a result says that the endpoint is in trouble (no answer, 5xx, 429); None when it says nothing of it."""
    if isinstance(result, Failure):
        return None if result.reason in _OUR_OWN else True
    return result.status >= 500 or result.status == 429


def throttled_until(result: Result, now: float) -> float:
    """Until when the endpoint wants no request at all: the Retry-After of a 429 or 503; 0 without one."""
    if isinstance(result, Failure) or result.status not in (429, 503):
        return 0.0
    seconds = retry_after_seconds(result.retry_after, now)
    return now + min(seconds, MAX_THROTTLE_SECONDS) if seconds > 0 else 0.0


_DELTA_SECONDS = re.compile(r"[0-9]{1,12}")


def retry_after_seconds(value: str | None, now: float) -> float:
    """Seconds to wait by a Retry-After header, in either form; 0 when it is absent, malformed, negative or past."""
    if value is None:
        return 0.0
    text = value.strip()
    if _DELTA_SECONDS.fullmatch(text):
        return float(text)
    date = http_date(text)
    return max(date - now, 0.0) if date is not None else 0.0


def clock_skew(date: str | None, started: float, now: float) -> float | None:
    """By how many seconds the receiver's clock is ahead of ours at least, by its Date; None when there is none.

    The answer was made at some moment between ``started`` and ``now``, and Date cuts off fractions (RFC 9110 §6.6.1):
    what that explains is no skew, however long the answer took.
    """
    then = http_date(date) if date is not None else None
    return None if then is None else max(then - now, 0.0) + min(then + 1 - started, 0.0)


@lru_cache(maxsize=64)  # every answer within a second carries the same text
def http_date(text: str) -> float | None:
    """The Unix time of an HTTP-date, None when it is malformed."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
