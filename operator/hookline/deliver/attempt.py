"""One attempt, from a claimed message to the verdict on what came of it.

In: a ``Claimed`` message and its ``Target``. Out: an ``Attempt``, and the ``Result`` that was judged.
``worker`` decides when, and what the result means for later messages; ``recorder`` makes the verdict durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from hookline.deliver.recorder import where
from hookline.deliver.verdict import Failure, Reason, Response, Result, clock_skew
from hookline.model import Attempt, Claimed, Message, Outcome, Standing, Target, Verdict
from hookline.spec import RetryPolicy

logger = logging.getLogger(__name__)

Judge = Callable[[Claimed, RetryPolicy, Result, float], Verdict]
"""``verdict.judge`` with its randomness and schedule bound."""

OVERDUE_SECONDS = 1.0
"""A last attempt may be due exactly when the message's time is over: it begins a little later than that."""

_UNJUDGED_RETRY_SECONDS = 300.0
_UNKNOWN_RETRY_SECONDS = 2.0

Headers = tuple[tuple[str, str], ...]
Trace = Callable[[Message, float], Headers]
"""What an attempt that begins then (Unix seconds) sends on, so that the receiver can go on with its trace."""


class Sender(Protocol):
    """What is needed of ``hookline.deliver.client.Client``."""

    async def send(self, target: Target, message: Message, timestamp: int, headers: Headers) -> Result:
        """Make one attempt, with these headers, too."""

    def forget(self, subscription: str) -> None:
        """Drop what is kept for a subscription."""


def expired(claimed: Claimed, target: Target, now: float) -> Attempt | None:
    """The end of a message whose ``max_age`` passed while it waited, as an attempt that was not made; else None."""
    if now <= claimed.stored + target.retry.max_age + OVERDUE_SECONDS:
        return None
    return Attempt(claimed, Verdict(Outcome.DEAD, str(Reason.EXPIRED)), now, 0.0, current=False, made=False)


class Attempts:
    """Makes attempts. ``clock`` gives Unix time; ``in_flight`` is how many are under way.

    ``standing`` is asked of each message right before.
    """

    def __init__(
        self,
        client: Sender,
        judge: Judge,
        clock: Callable[[], float],
        trace: Trace | None = None,
        standing: Callable[[Message], Standing] = lambda _: Standing.GOOD,
    ) -> None:
        self._trace = trace
        self._standing = standing
        self._client = client
        self._judge = judge
        self._clock = clock
        self.in_flight = 0

    def unmade(self, claimed: Claimed, target: Target) -> Attempt | None:
        """What comes of a message of which no attempt may be made now, as an attempt that was not made; else None."""
        now = self._clock()
        if (end := expired(claimed, target, now)) is not None:
            return end
        match self._standing(claimed.message):
            case Standing.GOOD:
                return None
            case Standing.DENIED:
                verdict = Verdict(Outcome.DEAD, str(Reason.ACCESS_DENIED))
            case Standing.UNKNOWN:
                verdict = Verdict(Outcome.RETRY, str(Reason.ACCESS_UNKNOWN), retry_at=now + _UNKNOWN_RETRY_SECONDS)
        return Attempt(claimed, verdict, now, 0.0, current=False, made=False)

    async def make(self, claimed: Claimed, target: Target) -> tuple[Attempt, Result]:
        """Send the message once. Raises nothing but CancelledError: an error of our own is a result as well."""
        loop = asyncio.get_running_loop()
        started, begun = self._clock(), loop.time()
        self.in_flight += 1
        try:
            headers = () if self._trace is None else self._trace(claimed.message, started)
            result = await self._client.send(target, claimed.message, int(started), headers)
        except Exception as error:  # noqa: BLE001 (one message must not end the lane)
            logger.error("an attempt broke: %s", where(error), extra=_about(claimed, target))  # noqa: TRY400
            result = Failure(Reason.INTERNAL_ERROR)
        finally:
            self.in_flight -= 1
        now = self._clock()
        verdict = self._judged(claimed, target, result, now)
        skew = clock_skew(result.date, started, now) if isinstance(result, Response) else None
        return Attempt(claimed, verdict, started, loop.time() - begun, skew), result

    def _judged(self, claimed: Claimed, target: Target, result: Result, now: float) -> Verdict:
        try:
            return self._judge(claimed, target.retry, result, now)
        except Exception as error:  # noqa: BLE001 (as above)
            logger.error("no verdict: %s", where(error), extra=_about(claimed, target))  # noqa: TRY400
            return Verdict(Outcome.RETRY, str(Reason.INTERNAL_ERROR), retry_at=now + _UNJUDGED_RETRY_SECONDS)


def _about(claimed: Claimed, target: Target) -> dict[str, object]:
    return {
        "subscription": f"{target.namespace}/{target.name}",
        "webhook_id": claimed.message.id,
        "attempt": claimed.attempts + 1,
    }
