"""How far a replay is, as the status of its object. Pure, but for the patch that ``writer`` makes.

In: what the controller found, and the object with the status that it had. Out: the object with its new status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hookline import reasons
from hookline.model import Object
from hookline.status.conditions import Condition, merge, timestamp
from hookline.status.writer import StatusWriter
from hookline.stored import ReplayCounts, ReplayFinding


def replay_status(obj: Object, finding: ReplayFinding, now: float) -> dict[str, Any]:
    """The whole status; fields without a value are absent."""
    before: dict[str, Any] = obj.get("status") or {}
    generation = obj["metadata"].get("generation", 0)
    conditions = _conditions(finding)
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merge(before.get("conditions") or (), conditions, generation, now),
    }
    if (counts := finding.counts) is not None:
        status |= {"total": counts.total, "replayed": counts.replayed, "failed": counts.failed}
        status["startTime"] = timestamp(counts.started)
    if finding.final:
        status["completionTime"] = before.get("completionTime") or timestamp(now)
    return status


def _conditions(finding: ReplayFinding) -> list[Condition]:
    if finding.counts is not None:
        return _progress(finding.counts)
    complete = Condition(reasons.COMPLETE, "False", finding.reason, finding.message)
    if finding.final:
        return [complete, *_both(reasons.FAILED, reasons.STALLED, complete)]
    return [complete, Condition(reasons.RECONCILING, "True", finding.reason, finding.message)]


def _progress(counts: ReplayCounts) -> list[Condition]:
    total, replayed, failed = counts.total, counts.replayed, counts.failed
    if not counts.finished:
        text = f"{replayed} of {total} messages were delivered again, {failed} given up; the others wait to be sent"
        complete = Condition(reasons.COMPLETE, "False", reasons.REPLAYING, text)
        return [complete, Condition(reasons.RECONCILING, "True", reasons.REPLAYING, text)]
    if failed:
        text = f"{failed} of {total} messages were not delivered again: see the subscription's `status.lastFailure`"
        complete = Condition(reasons.COMPLETE, "False", reasons.NOT_ALL_DELIVERED, text)
        return [complete, *_both(reasons.FAILED, reasons.STALLED, complete)]
    if total:
        return [Condition(reasons.COMPLETE, "True", reasons.REPLAYED, f"all {total} messages were delivered again")]
    text = "no message was selected: none is stored that the spec asks for"
    return [Condition(reasons.COMPLETE, "True", reasons.NOTHING_SELECTED, text)]


def _both(first: str, second: str, like: Condition) -> list[Condition]:
    """Two conditions that are true for the same reason."""
    return [Condition(kind, "True", like.reason, like.message) for kind in (first, second)]


class ReplayStatus:
    """Shows findings about replays in their objects."""

    def __init__(self, writer: StatusWriter, clock: Callable[[], float]) -> None:
        self._writer = writer
        self._clock = clock

    async def show(self, obj: Object, finding: ReplayFinding) -> Object:
        """Patch the status when it changes. Returns the object with the status that it has now; raises ApiError."""
        before, after = obj.get("status") or {}, replay_status(obj, finding, self._clock())
        if before != after:
            metadata = obj["metadata"]
            where = (reasons.REPLAY_PLURAL, metadata["namespace"], metadata["name"])
            await self._writer.write(where, metadata["uid"], before, after)
        return {**obj, "status": after}
