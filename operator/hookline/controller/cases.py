"""What subscriptions need to be allowed: the values that ``access`` works with.

In: what messages rest on. Out: the questions for ``reviews``, and the records of who shares which, and since when.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from hookline.controller.reviews import Question
from hookline.model import Grant, Ground

VERBS = ("get", "list", "watch")


@dataclass(eq=False, slots=True)
class Case:
    """All that some subscriptions need to be allowed.

    ``asked`` is when the oldest answer was asked for that is not a denial: infinity without any, minus infinity while
    one has no answer. ``denied`` is since when there is a denial: infinity while there is none.
    """

    questions: frozenset[Question]
    ordered: tuple[Question, ...]
    uids: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    """Of the uids those that were in force with it, and may have messages that came of it."""
    grant: Grant = field(default_factory=lambda: Grant(None, "it was not asked yet"))
    asked: float = -math.inf
    denied: float = math.inf
    grounds: set[str] = field(default_factory=set)
    """Of messages, those whose questions are known to be among these."""
    decided: bool | None = None
    """The last grant that was not unknown."""


@dataclass(slots=True)
class Debt:
    """What messages of earlier specs need that may wait.

    ``since`` is when any may have come last, ``begun`` when the first did. ``given_up`` says that a right has been
    missing for so long, and was waited for, that the messages which need it are.
    """

    case: Case
    since: float
    begun: float
    given_up: bool = False


def questions_of(home: str, grounds: Iterable[str]) -> frozenset[Question]:
    """What must be asked for who rests on this, a spec or messages; ``home`` is the subscription's namespace."""
    return frozenset(
        Question(home, ground.account, verb, ground.group, ground.version, ground.plural, ground.namespace)
        for ground in map(Ground.parse, grounds)
        for verb in VERBS
    )
