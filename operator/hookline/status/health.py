"""Whether an endpoint is still worth attempts: failing since when, and given up when. Pure; the status keeps it.

In: verdicts in the order of their recording. Out: the moment at which an endpoint is given up, once. ``facts`` holds
it, ``report`` shows it, and ``hookline.flow`` pauses what is given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hookline import reasons
from hookline.model import Outcome, Verdict

LEAST_FAILURES = 3
"""So many failures in this process, at least, before an endpoint is given up: one slow retry is no evidence."""


@dataclass(slots=True)
class Health:
    """What is known of the endpoint of one ``generation`` of a spec.

    ``failing_since`` is when the first failure since the last success began. ``disabled`` is the reason why nothing is
    sent any more, empty while it is, ``disabled_since`` since when. Times are Unix seconds.
    """

    generation: int
    failing_since: float | None = None
    failures: int = 0
    disabled: str = ""
    disabled_since: float = 0.0

    @classmethod
    def of(cls, status: Mapping[str, Any], generation: int) -> Health:
        """As a status tells it, if that is about this generation of the spec."""
        health = cls(generation)
        if status.get("observedGeneration") == generation:
            health.failing_since = seconds(status.get("failingSince"))
            disabled = status.get("disabled") or {}
            health.disabled = disabled.get("reason") or ""
            health.disabled_since = seconds(disabled.get("since")) or 0.0
        return health

    def renew(self, generation: int) -> None:
        """Forget everything bad: the spec is another one, or somebody asked for another try."""
        self.generation = generation
        self.failing_since = None
        self.failures = 0
        self.disabled = ""

    def note(self, verdict: Verdict, started: float, ended: float, disable_after: float) -> bool:
        """Take in one verdict. Returns whether the endpoint is given up just now.

        That is: it answered 410 Gone, or all attempts failed for ``disable_after`` seconds (0: that never matters).
        """
        if verdict.outcome is Outcome.DELIVERED:
            self.failing_since, self.failures = None, 0
            return False
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = started
        if self.disabled:
            return False
        lasted = ended - self.failing_since
        if verdict.gone:
            self.disabled = reasons.ENDPOINT_GONE
        elif 0 < disable_after <= lasted and self.failures >= LEAST_FAILURES:
            self.disabled = reasons.ENDPOINT_DISABLED
        else:
            return False
        self.disabled_since = ended
        return True


def seconds(text: Any) -> float | None:
    """Unix seconds of a metav1.Time; None when there is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
