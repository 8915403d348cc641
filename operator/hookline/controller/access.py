"""Who may watch what: a subscription gets no more than its ServiceAccount, as Kubernetes' own authorization has it.

In: a subscription and the resources of its sources. Out: a ``Grant``, asked for again every ``ROUND_SECONDS``, and
``may_send``, which is true only while every answer is recent. ``reviews`` makes the calls. Subscriptions that need the
same answers share a ``Case``.

How old a review may be when an attempt begins follows from the deadline of the attempt (``begin_within``), so that no
request is later than ``SEND_SECONDS`` after the review that allowed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from hookline import reasons
from hookline.controller.cases import Case, Debt, questions_of
from hookline.controller.permission import permission, refusal
from hookline.controller.reviews import PARALLEL, Question, Reviews
from hookline.errors import ApiError, SpecError
from hookline.model import Counts, Grant, Message, Resource, Scope, Standing
from hookline.spec import Source, Subscription

log = logging.getLogger(__name__)

ROUND_SECONDS = 7.0
SEND_SECONDS = 30.0
LOOK_SECONDS = 1.0
OLDEST_SECONDS = 15.0
"""No attempt begins with an older review, however soon it must end."""
LEAST_SECONDS = 10.0
"""So old reviews become while all is well: a round, the time between two looks, the calls themselves."""
BEGIN_SLACK = 1.0
"""What may pass between the question whether an attempt may begin and its beginning."""
SETTLE_SECONDS = 5.0
"""A message that was made under the spec before is stored, and counted, by then."""
GIVE_UP_SECONDS = 120.0
"""So long a right must be missing before messages of earlier specs are given up: a RoleBinding may be replaced."""
OWED_QUESTIONS = 300
"""Specs that were changed while messages wait may need so many answers together, or those of one spec."""

ScopesOf = Callable[[Subscription, Source, Resource], list[Scope]]


def begin_within(timeout: float) -> float:
    """How many seconds after a review an attempt may begin that takes ``timeout`` seconds at most."""
    return min(OLDEST_SECONDS, max(LEAST_SECONDS, SEND_SECONDS - timeout - BEGIN_SLACK))


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
        self._owed: dict[str, Debt] = {}
        self._left: dict[str, frozenset[str]] = {}

    def remember(self, grounds: Mapping[str, Iterable[str]]) -> None:
        """What the messages rest on that wait from before the start, by uid: asked as soon as a spec is admitted."""
        for uid, texts in grounds.items():
            self._left[uid] = self._left.get(uid, frozenset()) | frozenset(texts)

    def owe(self, uid: str, namespace: str, grounds: Iterable[str]) -> None:
        """Messages are about to wait again that rest on this. Raises SpecError when it is too much together."""
        case = self._of.get(uid)
        if case is None:
            self.remember({uid: grounds})
            return
        needed, debt = questions_of(namespace, grounds), self._owed.get(uid)
        if needed <= case.questions and uid in case.granted:  # else a later spec would not answer for them
            return
        owed = needed if debt is None else debt.case.questions | needed
        if len(owed) > OWED_QUESTIONS:
            text = (
                f"they were made under specs that need {len(owed)} rights: select fewer, or wait until others are sent"
            )
            raise SpecError(reasons.QUOTA_EXCEEDED, "spec", text)
        self._lend(uid, owed, self._clock())

    async def admit(self, subscription: Subscription, resources: Sequence[Resource | None]) -> Grant:
        """Whether this spec may be in force; it is asked until ``forget``.

        Raises ApiError when that can't be asked, SpecError when messages of too many earlier specs wait: then the one
        before stays.
        """
        uid = subscription.uid
        left = questions_of(subscription.namespace, self._left.pop(uid, ()))
        case = self._change(uid, self._questions(subscription, resources), left)
        answered = await self._reviews.ask(self._reviews.due(self._all(uid), ROUND_SECONDS))
        self._settle(self._of_uid(uid), besides=uid)
        if case.grant.granted:
            case.granted.add(uid)
            self._repay(uid)
        grant = self.grant(uid)
        self._on_grant(uid, grant)
        if grant.granted is None or not (grant.granted or answered):
            raise ApiError(0, f"what the ServiceAccount may do can't be asked: {self._reviews.problem or 'no answer'}")
        return grant

    def grant(self, uid: str) -> Grant:
        """Whether its spec may be in force, as far as is known now. What earlier specs left holds messages only."""
        own, debt = self._of[uid].grant, self._owed.get(uid)
        if not own.granted or debt is None or debt.case.grant.granted:
            return own
        what = "messages of an earlier spec wait, and are given up after two minutes without the rights"
        return Grant(True, f"{own.message}. But {what}: {debt.case.grant.message}", holds=not debt.given_up)

    def may_send(self, uid: str, timeout: float) -> bool:
        """Whether an attempt that takes ``timeout`` seconds at most may begin now.

        What is not reviewed at all, as no source is served, is not sent.
        """
        cases = self._of_uid(uid)
        if not any(case.questions for case in cases):
            return False
        oldest = self._clock() - begin_within(timeout)
        if not all(oldest < case.asked for case in cases):
            return False
        own, debt = self._of.get(uid), self._owed.get(uid)
        lacking = own is None or own.denied < math.inf
        return not lacking and (debt is None or debt.case.denied == math.inf or debt.given_up)

    def standing(self, message: Message) -> Standing:
        """Whether this message may be sent, when its subscription's may: by what it rests on itself."""
        uid, ground = message.subscription, message.ground
        own = self._of.get(uid)
        if own is not None and ground in own.grounds:
            return Standing.GOOD
        if not ground:  # a ping: whoever may nothing may not have that sent, either
            return Standing.GOOD if own is not None and own.questions else Standing.UNKNOWN
        debt = self._owed.get(uid)
        owed = debt.case.questions if debt is not None else frozenset[Question]()
        if own is None or not own.questions | owed:
            return Standing.UNKNOWN
        home = next(iter(own.questions | owed)).home
        needed = questions_of(home, [ground])
        if needed <= own.questions:
            own.grounds.add(ground)
            return Standing.GOOD
        if not needed <= owed:  # nobody knew of it: it waits until it was asked for
            with contextlib.suppress(SpecError):  # too much at once: it waits until others are sent
                self.owe(uid, home, [ground])
            return Standing.UNKNOWN
        answers = [self._reviews.answer(question) for question in needed]
        recent = self._clock() - OLDEST_SECONDS
        if any(answer is None or answer.asked < recent for answer in answers):
            return Standing.UNKNOWN
        return Standing.GOOD if all(answer is not None and answer.allowed for answer in answers) else Standing.DENIED

    def forget(self, uid: str) -> None:
        """The subscription is gone."""
        cases = self._of_uid(uid)
        self._of.pop(uid, None)
        self._owed.pop(uid, None)
        self._left.pop(uid, None)
        for case in cases:
            self._leave(uid, case)

    def counted(self, counts: Mapping[str, Counts], *, storing: bool = True) -> None:
        """The outbox was counted: where nothing waits, nothing waits that came of an earlier spec.

        Without ``storing`` nothing can be stored now, so that more may come of it later.
        """
        settled = self._clock() - SETTLE_SECONDS
        for uid, debt in list(self._owed.items()):
            if not storing:
                debt.since = self._clock()
            elif debt.since < settled and not counts.get(uid, Counts()).pending:
                self._settle_debt(uid, debt)

    @property
    def indebted(self) -> bool:
        """Whether messages of earlier specs may wait, so that it is worth to ask what those that wait rest on."""
        return bool(self._owed)

    def rests(self, grounds: Mapping[str, Iterable[str]], asked: float) -> None:
        """What all that waits rested on at ``asked``, or later: what nothing needs any more is owed no more."""
        for uid, debt in list(self._owed.items()):
            own = self._of.get(uid)
            if own is None or debt.since >= asked - SETTLE_SECONDS:
                continue
            home = next(iter(debt.case.questions)).home
            needed = debt.case.questions & questions_of(home, grounds.get(uid, ()))
            if needed <= own.questions and (not needed or uid in own.granted):
                self._settle_debt(uid, debt)
            elif needed != debt.case.questions:
                self._lend(uid, needed, debt.since)

    def _settle_debt(self, uid: str, debt: Debt) -> None:
        del self._owed[uid]
        self._leave(uid, debt.case)
        self._on_grant(uid, self.grant(uid))
        self._on_turn([uid], True)

    def _give_up(self) -> None:
        """See which messages of earlier specs waited long enough for their rights."""
        latest = self._clock() - GIVE_UP_SECONDS
        for uid, debt in list(self._owed.items()):
            given_up = debt.case.denied <= latest and debt.begun <= latest
            if given_up != debt.given_up and uid in self._of:
                debt.given_up = given_up
                self._on_grant(uid, self.grant(uid))
                self._on_turn([uid], False)

    async def run(self) -> None:
        """Ask again, round after round, for ever."""
        while True:
            if await self.look():
                await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> bool:
        """Ask what was asked too long ago. Ends early when the API server does not answer.

        And after ``LOOK_SECONDS`` (then False): what became due meanwhile in another namespace has its turn.
        """
        began = self._clock()
        self._settle(self._cases.values())
        self._give_up()
        wanted = {question for key in self._cases for question in key if not self._reviews.is_asked(question)}
        due = self._reviews.due(wanted, ROUND_SECONDS)
        for start in range(0, len(due), PARALLEL):
            # Before the questions of changed specs: whoever changes theirs all the time must not hold everybody.
            answered = await self._reviews.ask(due[start : start + PARALLEL], first=True)
            self._settle(list(self._cases.values()))
            if not answered:
                log.warning("what ServiceAccounts may do can't be asked: %s", self._reviews.problem)
                return True
            if self._clock() >= began + LOOK_SECONDS:
                return start + PARALLEL >= len(due)
        return True

    def _questions(self, subscription: Subscription, resources: Sequence[Resource | None]) -> frozenset[Question]:
        return questions_of(
            subscription.namespace,
            {
                scope.ground(subscription.service_account)
                for source, resource in zip(subscription.sources, resources, strict=True)
                if resource is not None
                for scope in self._scopes_of(subscription, source, resource)
            },
        )

    def _case(self, questions: frozenset[Question]) -> Case:
        case = self._cases.get(questions)
        if case is None:
            case = self._cases[questions] = Case(questions, tuple(sorted(questions)))
        return case

    def _change(self, uid: str, questions: frozenset[Question], left: frozenset[Question]) -> Case:
        """This is what it needs from now on, and what specs before needed as long as messages of those may wait.

        ``left`` is what messages rest on that wait from before the start, which nothing of this life knows.
        """
        before, debt = self._of.get(uid), self._owed.get(uid)
        if before is not None and before.questions == questions and not left:
            return before
        owed = left | (debt.case.questions if debt is not None else frozenset[Question]())
        if before is not None and uid in before.granted:
            owed = self._with(owed, before.questions)
        case = self._of[uid] = self._join(uid, questions)
        if owed:
            self._lend(uid, owed, self._clock())
        if before is not None:
            self._leave(uid, before)
        return case

    def _lend(self, uid: str, owed: frozenset[Question], since: float) -> None:
        """This is what messages of earlier specs need from now on, together with those of before."""
        debt = self._owed.get(uid)
        begun = self._clock() if debt is None else debt.begun
        self._owed[uid] = Debt(self._join(uid, owed), since, begun)
        if debt is not None:
            self._leave(uid, debt.case)

    def _with(self, owed: frozenset[Question], more: frozenset[Question]) -> frozenset[Question]:
        both = owed | more
        if owed and both != owed and len(both) > OWED_QUESTIONS:
            text = f"messages of earlier specs wait that need {len(owed)} rights: change it when they are sent"
            raise SpecError(reasons.QUOTA_EXCEEDED, "spec.sources", f"{text}, or delete the subscription")
        return both

    def _repay(self, uid: str) -> None:
        """A spec in force that needs all that earlier ones did answers for their messages, too."""
        debt = self._owed.get(uid)
        if debt is not None and debt.case.questions <= self._of[uid].questions:
            del self._owed[uid]
            self._leave(uid, debt.case)

    def _join(self, uid: str, questions: frozenset[Question]) -> Case:
        case = self._case(questions)
        case.uids.add(uid)
        return case

    def _leave(self, uid: str, case: Case) -> None:
        if case in self._of_uid(uid):
            return
        case.uids.discard(uid)
        case.granted.discard(uid)
        if not case.uids and self._cases.pop(case.questions, None) is not None:
            self._reviews.forget(case.questions.difference(*self._cases))

    def _of_uid(self, uid: str) -> list[Case]:
        case, debt = self._of.get(uid), self._owed.get(uid)
        return [*([case] if case is not None else ()), *([debt.case] if debt is not None else ())]

    def _all(self, uid: str) -> Iterator[Question]:
        for case in self._of_uid(uid):
            yield from case.questions

    def _settle(self, cases: Iterable[Case], besides: str = "") -> None:
        """See what the answers say now, and tell whom it concerns."""
        for case in list(cases):
            before, asked = case.grant, case.asked
            case.asked = self._judge(case)
            if case.grant == before:
                if case.grant.granted and case.asked > asked and self._clock() >= asked + LEAST_SECONDS:
                    self._on_turn(frozenset(case.uids), False)  # attempts may have been held, unseen
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
        """Set the grant of a case; returns when it was asked for."""
        answers = [(question, self._reviews.answer(question)) for question in case.ordered]
        denied = [question for question, answer in answers if answer is not None and not answer.allowed]
        others = [answer for _, answer in answers if answer is None or answer.allowed]
        asked = min((-math.inf if answer is None else answer.asked for answer in others), default=math.inf)
        if denied:
            case.denied = min(case.denied, self._clock())
            case.grant = Grant(False, refusal(denied))
            return asked
        case.denied = math.inf
        if self._clock() < asked + OLDEST_SECONDS:
            case.grant = Grant(True, permission(case.questions))
        else:
            why = f": {self._reviews.problem}" if self._reviews.problem else ""
            text = f"the API server does not say what the ServiceAccount may do{why}; messages are kept until it does"
            case.grant = Grant(None, text)
        return asked
