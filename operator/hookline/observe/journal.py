"""What becomes of messages, told line by line to the log and span by span to the traces, if there are any.

In: messages that were stored, attempts that were recorded. Out: log lines (docs/logs.md), calls of a ``Tracer``
(docs/tracing.md). A verdict is a line at debug, a dead letter a warning; ``DeadLetters`` bounds how many.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from hookline.model import Attempt, Message, Outcome, Target
from hookline.observe.tracing import Tracer
from hookline.spec import Subscription

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60.0
MAX_LINES = 60
"""Dead letters get so many lines of their own in a window at most, and each subscription one."""


class DeadLetters:
    """Warns of messages that were given up. What gets no line of its own in a window is summed up after it.

    ``clock`` is monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = -WINDOW_SECONDS
        self._told: set[str] = set()
        self._untold: dict[str, int] = {}

    def note(self, attempt: Attempt, subscription: str | None) -> None:
        """A message is dead."""
        self.tick()
        uid = attempt.claimed.message.subscription
        if uid in self._told or len(self._told) >= MAX_LINES:
            self._untold[uid] = self._untold.get(uid, 0) + 1
            return
        self._told.add(uid)
        log.warning("a message is dead: it is sent again only by a replay", extra=_fields(attempt, subscription))

    def tick(self) -> None:
        """Time passes: sum up a window that is over. Call it now and then, and before each line."""
        if self._clock() < self._began + WINDOW_SECONDS:
            return
        if self._untold:
            facts = {"count": sum(self._untold.values()), "subscriptions": len(self._untold)}
            log.warning("further messages are dead that got no line of their own", extra=facts)
        self._began = self._clock()
        self._told.clear()
        self._untold.clear()


class Journal:
    """Told of all messages, in the event loop. ``named`` finds a subscription by uid, None when it is not in force."""

    def __init__(self, named: Callable[[str], Subscription | None], tracer: Tracer | None = None) -> None:
        self._named = named
        self._tracer = tracer
        self._dead = DeadLetters()

    def stored(self, messages: Sequence[Message]) -> None:
        """These messages are durable."""
        if self._tracer is not None:
            for message in messages:
                self._tracer.stored(message, self._name(message.subscription))

    def attempted(self, attempt: Attempt, target: Target | None) -> None:
        """An attempt was recorded. ``target`` is the subscription's present one, if it has any."""
        if self._tracer is not None and attempt.made:
            uid = attempt.claimed.message.subscription
            self._tracer.attempted(attempt, self._name(uid), target if attempt.current else None)
        if attempt.verdict.outcome is Outcome.DEAD:
            self._dead.note(attempt, self._name(attempt.claimed.message.subscription))
        if log.isEnabledFor(logging.DEBUG):
            name = self._name(attempt.claimed.message.subscription)
            fields = {**_fields(attempt, name), "outcome": attempt.verdict.outcome.value}
            log.debug("verdict", extra={**fields, "duration": attempt.duration})

    def tick(self) -> None:
        """Time passes; call it every few seconds."""
        self._dead.tick()

    def about(self, uid: str) -> dict[str, object]:
        """Which subscription, as fields of a line."""
        return {"uid": uid, "subscription": self._name(uid)}

    def _name(self, uid: str) -> str | None:
        subscription = self._named(uid)
        return "/".join(subscription.key) if subscription is not None else None


def _fields(attempt: Attempt, subscription: str | None) -> dict[str, object]:
    message, verdict = attempt.claimed.message, attempt.verdict
    return {
        "subscription": subscription,
        "uid": message.subscription if subscription is None else None,
        "webhook_id": message.id,
        "reason": verdict.reason,
        "status_code": verdict.status_code,
        "attempt": attempt.claimed.attempts + attempt.made,
    }
