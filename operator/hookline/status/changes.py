"""Changes of a subscription's state, one line in the log for each.

In: facts, and what is about to be true of them. Out: log lines with the subscription's name and the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from hookline import reasons
from hookline.status.facts import Facts

log = logging.getLogger(__name__)


def ready(facts: Facts, conditions: Sequence[Mapping[str, Any]]) -> None:
    """Log status and reason of Ready, if they are other ones than were logged last."""
    condition = next(item for item in conditions if item["type"] == reasons.READY)
    now = (condition["status"], condition["reason"])
    if now == facts.logged:
        return
    facts.logged = now
    word = {"True": "ready", "False": "not ready"}.get(condition["status"], "not ready yet")
    log.info("the subscription is %s: %s", word, condition["message"], extra=_fields(facts, condition["reason"]))


def breaker(facts: Facts, *, is_open: bool) -> None:
    """Log that the endpoint's circuit breaker opens or closes, if it does."""
    if is_open == facts.broken:
        return
    if is_open:
        last = (facts.last_failure or {}).get("reason")
        log.info("the circuit breaker opens: one attempt at a time until one succeeds", extra=_fields(facts, last))
    else:
        log.info("the circuit breaker closes", extra=_fields(facts, None))


def disabled(facts: Facts, why: str) -> None:
    """Log that the endpoint is given up."""
    log.warning("the endpoint is given up: %s", why, extra=_fields(facts, facts.health.disabled))


def _fields(facts: Facts, reason: str | None) -> dict[str, str | None]:
    return {"subscription": f"{facts.namespace}/{facts.name}", "reason": reason}
