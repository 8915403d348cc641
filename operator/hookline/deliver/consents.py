"""Asks the owners of endpoints whether they want messages, and lets none be sent before they said so.

In: targets whose subscription asks for the handshake, and what is remembered of an earlier consent. Out: the targets
to send to, paused until consent, and each change as a ``Consent``, which the status keeps. ``handshake`` has the words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from hookline.deliver.handshake import Answer, Granted, capped, proofs, question, read_consent
from hookline.deliver.recorder import where
from hookline.deliver.verdict import Failure, Reason
from hookline.model import Consent, Target

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 3600.0


class Asker(Protocol):
    """What is needed of ``hookline.deliver.client.Client``."""

    async def options(self, target: Target, headers: tuple[tuple[str, str], ...]) -> Answer | Failure:
        """Make one OPTIONS request."""


@dataclass(slots=True)
class _Question:
    target: Target
    task: asyncio.Task[None] | None = None
    again: asyncio.Event = field(default_factory=asyncio.Event)


class Consents:
    """One question at a time for each subscription, repeated with growing pauses until it is granted.

    ``origin`` is the name that asks. ``on_change`` is told each result. ``rand`` gives numbers in [0, 1).
    """

    def __init__(
        self,
        asker: Asker,
        origin: str,
        clock: Callable[[], float],
        rand: Callable[[], float],
        on_change: Callable[[str, Consent], None],
    ) -> None:
        self._asker = asker
        self._origin = origin
        self._clock = clock
        self._rand = rand
        self._on_change = on_change
        self._open: dict[str, _Question] = {}

    def gate(self, target: Target, known: Consent) -> tuple[Target, Consent]:
        """The target to send to now, and what is known of the consent to it.

        Without a consent to this very URL the target is paused, and its owner is asked, unless it was paused already.
        """
        accepted = proofs(target, self._origin)
        if known.proof in accepted:
            self.forget(target.subscription)
            rate = capped(target.rate, known.per_minute)
            # The newest key, so that the proof outlives the older ones.
            return replace(target, origin=self._origin, rate=rate), replace(known, proof=accepted[0], problem="")
        if target.paused:
            self.forget(target.subscription)
        else:
            self._ask(target)
        return replace(target, paused=True), Consent(problem="" if known.proof else known.problem)

    def again(self, subscription: str) -> None:
        """Ask now, without waiting for the end of a pause."""
        if (question := self._open.get(subscription)) is not None:
            question.again.set()

    def forget(self, subscription: str) -> None:
        """Ask no more."""
        question = self._open.pop(subscription, None)
        if question is not None and question.task is not None:
            question.task.cancel()

    async def close(self) -> None:
        """End all questions."""
        tasks = [question.task for question in self._open.values() if question.task is not None]
        for subscription in list(self._open):
            self.forget(subscription)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, target: Target) -> None:
        under_way = self._open.get(target.subscription)
        if under_way is not None and under_way.target == target:
            return
        self.forget(target.subscription)
        question = self._open[target.subscription] = _Question(target)
        question.task = asyncio.create_task(self._repeat(question))

    async def _repeat(self, open_question: _Question) -> None:
        target, pause = open_question.target, FIRST_PAUSE_SECONDS
        while True:
            open_question.again.clear()
            consent = await self._result(target)
            if consent.proof:
                del self._open[target.subscription]
                self._on_change(target.subscription, consent)
                return
            about = {"subscription": f"{target.namespace}/{target.name}"}
            logger.info("no consent of the endpoint yet: %s", consent.problem, extra=about)
            self._on_change(target.subscription, consent)
            try:
                async with asyncio.timeout(pause * (1 + self._rand() / 10)):
                    await open_question.again.wait()
                pause = FIRST_PAUSE_SECONDS
            except TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _result(self, target: Target) -> Consent:
        try:
            answer = await self._asker.options(target, question(self._origin, target.rate))
        except Exception as error:  # noqa: BLE001 (one endpoint's trouble must not end the asking)
            about = {"subscription": f"{target.namespace}/{target.name}"}
            logger.error("the handshake broke: %s", where(error), extra=about)  # noqa: TRY400
            answer = Failure(Reason.INTERNAL_ERROR)
        if isinstance(answer, Failure):
            return Consent(problem=f"OPTIONS failed: {answer.reason}")
        granted = read_consent(answer, self._origin)
        if isinstance(granted, Granted):
            return Consent(proofs(target, self._origin)[0], self._clock(), granted.per_minute)
        return Consent(problem=granted)
