"""How much processor time the expressions of each namespace take, and what is done about one that takes too much.

In: what each evaluation took. Out: for how long a namespace has to wait, whether it is asked apart from others, and
blown fuses. Pure: ``evaluator`` asks before each turn and tells afterwards.

A namespace has a bucket of BURST_SECONDS, which fills by its share of a core. When it is empty, its expressions wait,
and the dearest of them are switched off: those of which single evaluations take more than DEAR_SECONDS, if it is they
that took the time. Many cheap ones are never switched off for what they take together.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from hookline.expressions.expression import Expression, Fuse

log = logging.getLogger(__name__)
BURST_SECONDS = 5.0
"""What a namespace may take at once, beyond its share: 250,000 or more evaluations of an ordinary filter."""
DEAR_SECONDS = 0.00025
"""An evaluation that takes more is dear; an ordinary one takes 0.00001 s."""
EVIDENCE_SECONDS = 0.5
"""Dear evaluations must have taken so much before one is switched off for it."""
APART_SECONDS = 0.5
"""Who lately took so much more than its share is not asked together with others any more."""
FORGET_SECONDS = 60.0
"""Who took the time is judged by so much of the past, or less."""
ORDINARY_SHARE = 0.25
"""By which it is known who takes much, where there is no bound."""

Spent = tuple[Expression, float, float]
"""An expression that was evaluated: seconds for itself, and with all that was done for it."""


class Budgets:
    """The buckets. ``share`` is what a namespace may take of a core, 0 for any; ``clock`` is monotonic seconds."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounded = share > 0
        self._share = share or ORDINARY_SHARE
        self._clock = clock
        self._accounts: dict[str, _Account] = {}  # of those whose bucket is not full
        self._many = 256

    def spend(self, spent: Iterable[Spent]) -> None:
        """These were evaluated."""
        sums: dict[str, float] = {}
        dear: list[tuple[Expression, float]] = []
        for expression, own, whole in spent:
            namespace = expression.namespace
            sums[namespace] = sums.get(namespace, 0.0) + whole
            if own > DEAR_SECONDS:
                dear.append((expression, own))
        accounts = {namespace: self._account(namespace) for namespace in sums}
        for namespace, seconds in sums.items():
            accounts[namespace].took(seconds)
        for expression, own in dear:
            accounts[expression.namespace].dear(expression.fuse, own)
        if self._bounded:
            for namespace, account in accounts.items():
                if account.level < 0 and (count := account.cut(self._share)):
                    log.warning(
                        "a namespace's dearest expressions are switched off",
                        extra={"namespace": namespace, "count": count},
                    )

    def wait(self, namespace: str) -> float:
        """Seconds that the expressions of a namespace have to wait; 0: none."""
        account = self._known(namespace) if self._bounded else None
        return 0.0 if account is None or account.level >= 0 else -account.level / self._share

    def is_apart(self, namespace: str) -> bool:
        """Whether a namespace takes so much that others should not wait until all of its expressions are evaluated."""
        account = self._known(namespace)
        return account is not None and account.level < BURST_SECONDS - APART_SECONDS

    def _known(self, namespace: str) -> _Account | None:
        account = self._accounts.get(namespace)
        if account is not None and account.fill(self._clock(), self._share):
            del self._accounts[namespace]
            return None
        return account

    def _account(self, namespace: str) -> _Account:
        account = self._known(namespace)
        if account is None:
            if len(self._accounts) >= self._many:
                for other in list(self._accounts):
                    self._known(other)
                self._many = 256 + 2 * len(self._accounts)
            account = self._accounts[namespace] = _Account(self._clock())
        return account


class _Account:
    """The bucket of one namespace, as long as it is not full, and what its dear expressions took lately."""

    def __init__(self, now: float) -> None:
        self.level = BURST_SECONDS
        self._filled = self._since = now
        self._dear: dict[Fuse, float] = {}
        self._total = 0.0
        self._forgiven = False

    def fill(self, now: float, share: float) -> bool:
        """Whether it is full."""
        self.level += (now - self._filled) * share
        self._filled = now
        if now > self._since + FORGET_SECONDS:
            self._dear.clear()
            self._total, self._since = 0.0, now
        return self.level >= BURST_SECONDS

    def took(self, seconds: float) -> None:
        self.level -= seconds
        self._total += seconds

    def dear(self, fuse: Fuse, seconds: float) -> None:
        self._dear[fuse] = self._dear.get(fuse, 0.0) + seconds

    def cut(self, share: float) -> int:
        """Blow the fuses of the dearest, which took half of the time; none if it was not the dear ones that took it.

        The first time since the bucket was full the rest, which is not to blame, gets back what these took, up to half
        of the bucket. Not again: else a spec that is changed each time would make the time endless.
        """
        half = self._total / 2
        if sum(self._dear.values()) < max(half, EVIDENCE_SECONDS):
            return 0
        count, blamed = 0, 0.0
        for fuse, seconds in sorted(self._dear.items(), key=lambda item: -item[1]):
            if blamed >= half:
                break
            fuse.blow(f"took most of the processor time that its namespace's expressions have ({share:g} of a core)")
            count += 1
            blamed += seconds
        if not self._forgiven:
            self.level = min(self.level + blamed, BURST_SECONDS / 2)
            self._forgiven = True
        self._dear.clear()
        self._total = 0.0
        return count
