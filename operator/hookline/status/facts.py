"""What is known of one subscription, collected from all rooms until the next patch. Plain data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hookline import reasons
from hookline.model import Consent, Counts, Finding, Grant, Object
from hookline.status.clock import Clock
from hookline.status.health import Health, seconds


@dataclass(slots=True)
class Facts:
    """Everything that the status of one subscription is made of.

    ``status`` is the status as last read or written. ``watching`` maps a scope's key to resource, namespace ("*": all;
    empty for a cluster-scoped resource) and the time since when; ``problems`` maps a scope's key to what is wrong with
    its watch. ``full`` says that as many messages wait as may, ``broken`` that the circuit breaker is open; ``handled``
    is the last request carried out. ``consent`` is None where the endpoint's owner is not asked;
    ``access`` before the ServiceAccount's rights were looked up, and ``was_granted`` what was last known of them.
    ``logged`` are status and reason of Ready as last written to the log.
    """

    namespace: str
    name: str
    status: dict[str, Any]
    finding: Finding
    watching: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    problems: dict[str, str] = field(default_factory=dict)
    store_fails: bool = False
    counts: Counts = field(default_factory=Counts)
    last_delivery: dict[str, Any] | None = None
    last_failure: dict[str, Any] | None = None
    failing: bool | None = None
    health: Health = field(default_factory=lambda: Health(0))
    full: bool = False
    broken: bool = False
    handled: str = ""
    dropped: int = 0
    last_drop: dict[str, Any] | None = None
    clock: Clock = field(default_factory=Clock)
    consent: Consent | None = None
    access: Grant | None = None
    was_granted: bool = False
    logged: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, obj: Object, finding: Finding) -> Facts:
        """Begin with what the object's status says, so that a restart forgets nothing that it told before."""
        metadata, status = obj["metadata"], dict(obj.get("status") or {})
        conditions = {item.get("type"): item for item in status.get("conditions") or ()}
        delivering = conditions.get(reasons.DELIVERING, {}).get("status")
        ready = conditions.get(reasons.READY, {})
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            status=status,
            finding=finding,
            last_delivery=status.get("lastDelivery"),
            last_failure=status.get("lastFailure"),
            logged=(ready.get("status", ""), ready.get("reason", "")),
            was_granted=conditions.get(reasons.AUTHORIZED, {}).get("status") == "True",
            failing={"True": False, "False": True}.get(delivering),
            health=Health.of(status, finding.generation),
            handled=status.get("lastHandledRequestedAt") or "",
            dropped=status.get("dropped") or 0,
            last_drop=status.get("lastDrop"),
            clock=Clock.of(status),
            consent=_consent(status.get("handshake")),
        )


def _consent(told: dict[str, Any] | None) -> Consent | None:
    if told is None:
        return None
    return Consent(told.get("proof") or "", seconds(told.get("time")) or 0.0, told.get("allowedPerMinute"))
