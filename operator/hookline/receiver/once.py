"""Each message only once: the Protocol of a store of message ids, and what its backends share.

In: the id of a verified message, and a scope (the endpoint): ids of one sender never hide those of another. Two ways:

- ``with store.once(id) as tx:`` for what writes to the same database: the handler's rows and the id commit together,
  so that a crash at any moment neither loses nor repeats. A second request with the same id waits for the first.
- ``begin``, then ``finish`` or ``release``, for what no transaction covers (a mail, a script): a claim with a lease.
  After a crash in between, the message is processed again once the lease has run out: at least once.

Backends: ``hookline.receiver.once_sqlite``, ``hookline.receiver.once_postgres``.
"""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

KEEP_SECONDS = 35 * 86400.0
"""How long an id is remembered: longer than the 30 days for which a subscription may ask for retries."""

LEASE_SECONDS = 240.0
"""How long a claim holds off others: longer than any action, shorter than the sender's third pause (5 minutes)."""

WAIT_SECONDS = 10.0
"""How long ``once`` waits for another request with the same id: shorter than the sender's deadline of 15 s."""

Transaction_co = TypeVar("Transaction_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that is being processed by whoever holds this; ``token`` tells it from a later claim."""

    scope: str
    id: str
    token: str = field(default_factory=lambda: secrets.token_hex(16))


class OnceStore(Protocol[Transaction_co]):
    """A durable store of ids. Blocking: call it from a thread. Safe to share between threads and processes."""

    def once(self, message_id: str, scope: str = "") -> AbstractContextManager[Transaction_co]:
        """One transaction that holds the id; the body may write with it and must not commit it.

        Committed when the body ends; rolled back, id included, when it raises. Raises AlreadyProcessed, InProgress
        (waited in vain) or OnceUnavailable before the body; OnceUnavailable when the commit fails.
        """

    def begin(self, message_id: str, scope: str = "", lease: float = LEASE_SECONDS) -> Claim:
        """Claim a message for ``lease`` seconds. Raises AlreadyProcessed, InProgress or OnceUnavailable."""

    def finish(self, claim: Claim) -> bool:
        """Record it as done. False when the lease ran out and somebody else claimed it: it may have happened twice."""

    def release(self, claim: Claim) -> None:
        """Give an unfinished claim back, so that the next attempt need not wait for the lease."""

    def purge(self) -> int:
        """Delete what has run out; returns how many. Call it now and then, once an hour will do."""
