"""How far an endpoint's clock is off, from the Date headers of its answers. Pure.

In: differences in seconds, each as small as its answer allows. Out: their median, so that one odd answer says nothing,
and the condition on it. An endpoint that lies about its time is told so of itself alone. ``facts`` holds it.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hookline import reasons
from hookline.status.conditions import Condition

ENOUGH = 3
KEPT = 5
TOLERANCE_SECONDS = 300
"""Standard Webhooks: receivers refuse a timestamp that is further off than this."""
WARNING_SECONDS = 60


@dataclass(slots=True)
class Clock:
    """``seconds`` are those by which the endpoint is ahead, None while nothing is known; ``settled``: it is certain."""

    seconds: int | None = None
    settled: bool = False
    answers: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Clock:
        """As a status tells it."""
        told = {item.get("type"): item.get("status") for item in status.get("conditions") or ()}
        seconds = status.get("clockSkewSeconds")
        return cls(seconds, seconds is not None and told.get(reasons.CLOCK_SYNCHRONIZED) in ("True", "False"))

    def note(self, skew: float) -> None:
        """One more answer. What was settled before, by another process, stays until there are enough again."""
        self.answers.append(skew)
        enough = len(self.answers) >= ENOUGH
        if enough or not self.settled:
            self.seconds = round(statistics.median(self.answers))
        self.settled = self.settled or enough

    @property
    def exceeds(self) -> bool:
        """Whether receivers with this clock refuse what is signed now."""
        return self.settled and abs(self.seconds or 0) > TOLERANCE_SECONDS

    def condition(self) -> Condition:
        """What the status says of it."""
        kind = reasons.CLOCK_SYNCHRONIZED
        if self.seconds is None:
            return Condition(kind, "Unknown", reasons.CLOCK_NOT_MEASURED, "no answer told the endpoint's time yet")
        if not self.settled:
            message = f"fewer than {ENOUGH} answers told the endpoint's time yet"
            return Condition(kind, "Unknown", reasons.CLOCK_NOT_MEASURED, message)
        where = f"the endpoint's clock is {abs(self.seconds)} s {'ahead' if self.seconds > 0 else 'behind'}"
        if self.exceeds:
            message = (
                f"{where}; receivers refuse signatures beyond {TOLERANCE_SECONDS} s: set the endpoint's clock, or, "
                "when other subscriptions say the same, that of the operator's node"
            )
            return Condition(kind, "False", reasons.CLOCK_SKEWED, message)
        if abs(self.seconds) > WARNING_SECONDS:
            message = f"{where}; beyond {TOLERANCE_SECONDS} s receivers refuse signatures: look at both clocks"
            return Condition(kind, "True", reasons.CLOCK_DRIFTING, message)
        return Condition(kind, "True", reasons.CLOCK_IN_STEP, f"the clocks differ by at most {WARNING_SECONDS} s")
