"""The table of ids, and the statements that both backends of ``hookline.receiver.once`` speak; parameters are ``?``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from hookline.receiver.errors import AlreadyProcessed, InProgress
from hookline.receiver.once import Claim

# One row per message. ``until`` (Unix seconds) is when it counts no more: the lease of a claim, or the memory of an id.
CREATE = """
CREATE TABLE IF NOT EXISTS hookline_once (
  scope TEXT NOT NULL, id TEXT NOT NULL, token TEXT NOT NULL, done INTEGER NOT NULL, until DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (scope, id))"""
CREATE_INDEX = "CREATE INDEX IF NOT EXISTS hookline_once_until ON hookline_once (until)"
CLAIM = """
INSERT INTO hookline_once (scope, id, token, done, until) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (scope, id) DO UPDATE SET token = excluded.token, done = excluded.done, until = excluded.until
WHERE hookline_once.until <= ? RETURNING 1"""
LOOK = "SELECT done FROM hookline_once WHERE scope = ? AND id = ?"
FINISH = "UPDATE hookline_once SET done = 1, until = ? WHERE scope = ? AND id = ? AND token = ? AND done = 0"
RELEASE = "DELETE FROM hookline_once WHERE scope = ? AND id = ? AND token = ? AND done = 0"
PURGE = "DELETE FROM hookline_once WHERE until <= ?"


class Ending(ABC):
    """How a claim ends, the same in both backends: one statement in a transaction of its own.

    ``keep`` in seconds; ``clock`` gives Unix time.
    """

    def __init__(self, keep: float, clock: Callable[[], float]) -> None:
        self._keep = keep
        self._clock = clock

    def finish(self, claim: Claim) -> bool:
        """See ``OnceStore.finish``."""
        return self._write(FINISH, (self._clock() + self._keep, claim.scope, claim.id, claim.token)) == 1

    def release(self, claim: Claim) -> None:
        """See ``OnceStore.release``."""
        self._write(RELEASE, (claim.scope, claim.id, claim.token))

    def purge(self) -> int:
        """See ``OnceStore.purge``."""
        return self._write(PURGE, (self._clock(),))

    @abstractmethod
    def _write(self, statement: str, values: Sequence[object]) -> int:
        """Run one statement. Returns how many rows it changed."""


def refusal(row: tuple[int, ...] | None) -> AlreadyProcessed | InProgress:
    """Why a claim got no row: by the row of LOOK, which is None when the other one was released meanwhile."""
    if row is not None and row[0]:
        return AlreadyProcessed("this message was processed before")
    return InProgress("this message is being processed; try again")
