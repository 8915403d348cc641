"""Who may watch what: a subscription gets no more than its ServiceAccount, as Kubernetes' own authorization has it.

In: a subscription and the resources of its sources. Out: a ``Grant``, asked for again every ``ROUND_SECONDS``, and
``may_send``, which is true only while every answer is recent. ``reviews`` makes the calls. Subscriptions that need the
same answers share a ``Case``.

A review may be ``BEGIN_SECONDS`` old when an attempt begins; the attempt has a deadline for all that it does, 15 s by
default, so that no request is later than ``SEND_SECONDS`` after the review that allowed it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hookline.controller.reviews import PARALLEL, Question, Reviews
from hookline.errors import ApiError
from hookline.model import Counts, Grant, Resource, Scope
from hookline.spec import Source, Subscription

log = logging.getLogger(__name__)

VERBS = ("get", "list", "watch")
ROUND_SECONDS = 7.0
SEND_SECONDS = 30.0
BEGIN_SECONDS = 15.0
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 5.0
"""A message that was made under the spec before is stored, and counted, by then."""

ScopesOf = Callable[[Subscription, Source, Resource], list[Scope]]


@dataclass(eq=False, slots=True)
class Case:
    """All that some subscriptions need to be allowed. ``until`` is when attempts must not begin any more."""

    questions: frozenset[Question]
    ordered: tuple[Question, ...]
    uids: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    """Of the uids those that were in force with it, and may have messages that came of it."""
    grant: Grant = field(default_factory=lambda: Grant(None, "it was not asked yet"))
    until: float = -math.inf
    decided: bool | None = None
    """The last grant that was not unknown."""


class Access:
    """The cases of all subscriptions.

    ``scopes_of`` tells where a source watches. ``on_grant`` is told the uid and the grant whenever that changed;
    ``on_turn`` the uids of which the answer is known now, and whether it is another one than before (of whoever asked
    for it by ``admit``: False, for the answer is returned). ``clock`` is monotonic.
    """

    def __init__(
        self,
        reviews: Reviews,
        scopes_of: ScopesOf,
        clock: Callable[[], float],
        on_grant: Callable[[str, Grant], None] = lambda _, __: None,
        on_turn: Callable[[Iterable[str], bool], None] = lambda _, __: None,
    ) -> None:
        self._reviews = reviews
        self._scopes_of = scopes_of
        self._clock = clock
        self._on_grant = on_grant
        self._on_turn = on_turn
        self._cases: dict[frozenset[Question], Case] = {}
        self._of: dict[str, Case] = {}
        self._owed: dict[str, dict[Case, float]] = {}

    async def admit(self, subscription: Subscription, resources: Sequence[Resource | None]) -> Grant:
        """Whether this spec may be in force; it is asked until ``forget``. Raises ApiError when that can't be asked."""
        uid, case = subscription.uid, self._case(self._questions(subscription, resources))
        self._change(uid, case)
        answered = await self._reviews.ask(self._reviews.due(self._all(uid), ROUND_SECONDS))
        self._settle(self._of_uid(uid), besides=uid)
        grant = self.grant(uid)
        self._on_grant(uid, grant)
        if grant.granted:
            case.granted.add(uid)
        elif not answered or grant.granted is None:
            raise ApiError(0, f"what the ServiceAccount may do can't be asked: {self._reviews.problem or 'no answer'}")
        return grant

    def grant(self, uid: str) -> Grant:
        """What is known now: the worst of what it needs."""
        own, *owed = [case.grant for case in self._of_uid(uid)]
        for granted in (False, None):
            if own.granted is granted:
                return own
            if earlier := next((grant for grant in owed if grant.granted is granted), None):
                text = f"messages of an earlier spec wait (to give them up, delete the subscription): {earlier.message}"
                return Grant(granted, text)
        return own

    def may_send(self, uid: str) -> bool:
        """Whether an attempt may begin now."""
        case = self._of.get(uid)
        if case is None:
            return False
        now = self._clock()
        return now < case.until and all(now < other.until for other in self._owed.get(uid, ()))

    def forget(self, uid: str) -> None:
        """The subscription is gone."""
        for case in self._of_uid(uid):
            self._leave(uid, case)
        self._of.pop(uid, None)
        self._owed.pop(uid, None)

    def counted(self, counts: Mapping[str, Counts]) -> None:
        """The outbox was counted: where nothing waits, nothing waits that came of an earlier spec."""
        settled = self._clock() - SETTLE_SECONDS
        for uid, cases in list(self._owed.items()):
            if not counts.get(uid, Counts()).pending:
                for case in [case for case, since in cases.items() if since < settled]:
                    del cases[case]
                    self._leave(uid, case)
                if not cases:
                    del self._owed[uid]
                    self._on_grant(uid, self.grant(uid))
                    self._on_turn([uid], True)

    async def run(self) -> None:
        """Ask again, round after round, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask what was asked too long ago. Ends early when the API server does not answer."""
        self._settle(self._cases.values())
        due = self._reviews.due({question for key in self._cases for question in key}, ROUND_SECONDS)
        for start in range(0, len(due), PARALLEL):
            answered = await self._reviews.ask(due[start : start + PARALLEL])
            self._settle(list(self._cases.values()))
            if not answered:
                log.warning("what ServiceAccounts may do can't be asked: %s", self._reviews.problem)
                return

    def _questions(self, subscription: Subscription, resources: Sequence[Resource | None]) -> frozenset[Question]:
        return frozenset(
            Question(
                subscription.namespace,
                subscription.service_account,
                verb,
                scope.resource.group,
                scope.resource.api_version.rpartition("/")[2],
                scope.resource.plural,
                scope.namespace,
            )
            for source, resource in zip(subscription.sources, resources, strict=True)
            if resource is not None
            for scope in self._scopes_of(subscription, source, resource)
            for verb in VERBS
        )

    def _case(self, questions: frozenset[Question]) -> Case:
        case = self._cases.get(questions)
        if case is None:
            case = self._cases[questions] = Case(questions, tuple(sorted(questions)))
        return case

    def _change(self, uid: str, case: Case) -> None:
        """This is what it needs from now on, and what the spec before needed as long as messages of that may wait."""
        before = self._of.get(uid)
        self._of[uid] = case
        case.uids.add(uid)
        owed = self._owed.get(uid, {})
        owed.pop(case, None)
        if before is not None and before is not case:
            if uid in before.granted and not before.questions <= case.questions:
                self._owed.setdefault(uid, owed)[before] = self._clock()
            else:
                self._leave(uid, before)

    def _leave(self, uid: str, case: Case) -> None:
        case.uids.discard(uid)
        case.granted.discard(uid)
        if not case.uids and self._cases.pop(case.questions, None) is not None:
            self._reviews.forget(case.questions.difference(*self._cases))

    def _of_uid(self, uid: str) -> list[Case]:
        case = self._of.get(uid)
        return [*([case] if case is not None else ()), *self._owed.get(uid, ())]

    def _all(self, uid: str) -> Iterator[Question]:
        for case in self._of_uid(uid):
            yield from case.questions

    def _settle(self, cases: Iterable[Case], besides: str = "") -> None:
        """See what the answers say now, and tell whom it concerns."""
        for case in list(cases):
            before, held = case.grant, self._clock() >= case.until
            case.until = self._judge(case)
            if case.grant == before:
                if held and case.grant.granted:  # nobody looked while it was not known, but attempts were held
                    self._on_turn(frozenset(case.uids), False)
                continue
            concerned = case.uids - {besides}
            for uid in concerned:
                self._on_grant(uid, self.grant(uid))
            if (granted := case.grant.granted) is not None:
                flipped, case.decided = granted != case.decided, granted
                if concerned:
                    self._on_turn(concerned, flipped)
                if besides in case.uids:  # who asked knows; what was held may go on all the same
                    self._on_turn(frozenset({besides}), False)

    def _judge(self, case: Case) -> float:
        """Set the grant of a case; returns until when attempts may begin."""
        answers = [(question, self._reviews.answer(question)) for question in case.ordered]
        denied = [question for question, answer in answers if answer is not None and not answer.allowed]
        if denied:
            case.grant = Grant(False, _refusal(denied))
            return -math.inf
        asked = min((-math.inf if answer is None else answer.asked for _, answer in answers), default=math.inf)
        until = asked + SEND_SECONDS - BEGIN_SECONDS
        if self._clock() < until:
            case.grant = Grant(True, _permission(case.questions))
        else:
            why = f": {self._reviews.problem}" if self._reviews.problem else ""
            text = f"the API server does not say what the ServiceAccount may do{why}; messages are kept until it does"
            case.grant = Grant(None, text)
        return until


def _permission(questions: frozenset[Question]) -> str:
    names = sorted({_name(question) for question in questions})
    if not names:
        return "no source is served yet"
    account = next(iter(questions)).account
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"ServiceAccount {account!r} may get, list and watch {', '.join(names[:4])}{more}"


def _refusal(denied: Sequence[Question]) -> str:
    """What is missing, and the commands that add it. The same whether what it is about exists or not."""
    first = denied[0]
    same = [q for q in denied if (q.account, _name(q), q.namespace) == (first.account, _name(first), first.namespace)]
    verbs = " and ".join(question.verb for question in same)
    where = f"in namespace {first.namespace!r}" if first.namespace else "in the whole cluster"
    role, option = ("role", f" -n {first.namespace}") if first.namespace else ("clusterrole", "")
    others = f" (and {len(denied) - len(same)} more is missing)" if len(denied) > len(same) else ""
    return (
        f"ServiceAccount {first.account!r} may not {verbs} {_name(first)} {where}{others}: nothing is watched, and "
        f"messages are kept. Allow it: kubectl create {role} hookline-{first.account} --verb=get,list,watch "
        f"--resource={_name(first)}{option}; kubectl create {role}binding hookline-{first.account} "
        f"--{role}=hookline-{first.account} --serviceaccount={first.home}:{first.account}{option}"
    )


def _name(question: Question) -> str:
    return f"{question.plural}.{question.group}".rstrip(".")
