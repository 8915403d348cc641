"""What the API server says a ServiceAccount may do: SubjectAccessReviews, asked once for all who need the answer.

In: a ``Question``. Out: an ``Answer`` with the time at which it was asked for. At most ``rate`` calls are made per
second, ``PARALLEL`` at the same time. ``access`` decides which questions there are, and how old an answer may be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from hookline.controller.queue import in_turn
from hookline.errors import ApiError

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
PARALLEL = 16
TIMEOUT_SECONDS = 5.0


class Api(Protocol):
    """The part of the Kubernetes client that is used here."""

    async def request(self, method: str, path: str, *, body: Any = None, timeout: float = 30.0) -> Any:  # noqa: ASYNC109
        """One request; raises ApiError."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """May this ServiceAccount (``account`` in ``home``) do this to all objects of a resource?

    ``namespace`` is where; empty for all namespaces, or for a resource that has none.
    """

    home: str
    account: str
    verb: str
    group: str
    version: str
    plural: str
    namespace: str

    def review(self) -> dict[str, Any]:
        """The body of the call. The groups are those that the API server gives every ServiceAccount.

        No name is asked about: rules that are restricted to names (``resourceNames``) let nobody list or watch.
        """
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{self.home}:{self.account}",
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{self.home}",
                    "system:authenticated",
                ],
                "resourceAttributes": {
                    "verb": self.verb,
                    "group": self.group,
                    "version": self.version,
                    "resource": self.plural,
                    "namespace": self.namespace,
                },
            },
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """``asked`` is when the call began: what was true then may have changed since."""

    allowed: bool
    asked: float


class Places:
    """Places for so many at the same time. Who is ``first`` goes before the others, who never take more than half.

    Of the others each namespace has its turn, however many of one wait.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._kept = places // 2
        self._first: deque[asyncio.Future[None]] = deque()
        self._others: dict[str, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def one(self, namespace: str, *, first: bool) -> AsyncIterator[None]:
        """While this lasts, a place is taken."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._first if first else self._others.setdefault(namespace, deque())
        queue.append(turn)
        self._fill()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._free += 1
                self._fill()

    def _fill(self) -> None:
        while self._first and self._free:
            self._give(self._first.popleft())
        while self._others and self._free > self._kept:
            namespace = next(iter(self._others))
            queue = self._others.pop(namespace)
            turn = queue.popleft()
            if queue:
                self._others[namespace] = queue  # behind the other namespaces
            self._give(turn)

    def _give(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._free -= 1
            turn.set_result(None)


class Reviews:
    """The answers, by question. ``clock`` is monotonic seconds; ``on_review`` is told how each call ended.

    ``problem`` says why the last call failed, empty when it did not.
    """

    def __init__(
        self, api: Api, rate: float, clock: Callable[[], float], on_review: Callable[[str], None] = lambda _: None
    ) -> None:
        self._api = api
        self._interval = 1.0 / rate
        self._clock = clock
        self._on_review = on_review
        self._answers: dict[Question, Answer] = {}
        self._tried: dict[Question, float] = {}
        self._asking: dict[Question, asyncio.Task[None]] = {}
        self._unwanted: set[Question] = set()  # of those that are asked now
        self._places = Places(PARALLEL)
        self._next = clock()
        self.problem = ""

    def answer(self, question: Question) -> Answer | None:
        """The last answer, however old; None when there was none yet."""
        return self._answers.get(question)

    def is_asked(self, question: Question) -> bool:
        """Whether a call is under way."""
        return question in self._asking

    def due(self, questions: Iterable[Question], age: float) -> list[Question]:
        """Those whose answer is missing or was asked for ``age`` seconds ago.

        In turn from each namespace, however many another has; of each first what was tried longest ago.
        """
        since = self._clock() - age
        old = [question for question in questions if not self._is_newer(question, since)]
        old.sort(key=lambda question: self._tried.get(question, float("-inf")))
        return in_turn(old, lambda question: question.home)

    async def ask(self, questions: Iterable[Question], *, first: bool = False) -> bool:
        """Ask all of these; who asks the same at the same time shares the call. Returns whether all were answered.

        ``first``: before all that wait without it.
        """
        tasks = [self._begin(question, first) for question in questions]
        ended = await asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True)
        for result in ended:
            if isinstance(result, BaseException) and not isinstance(result, ApiError):
                raise result
        return not any(isinstance(result, ApiError) for result in ended)

    def forget(self, questions: Iterable[Question]) -> None:
        """Nobody needs these answers any more, nor that of a call under way."""
        for question in questions:
            self._answers.pop(question, None)
            self._tried.pop(question, None)
            if question in self._asking:
                self._unwanted.add(question)

    def _is_newer(self, question: Question, since: float) -> bool:
        answer = self._answers.get(question)
        return answer is not None and answer.asked > since

    def _begin(self, question: Question, first: bool) -> asyncio.Task[None]:
        task = self._asking.get(question)
        if task is None:
            task = self._asking[question] = asyncio.create_task(self._ask(question, first))
            task.add_done_callback(lambda ended: self._end(question, ended))
        self._unwanted.discard(question)
        return task

    def _end(self, question: Question, task: asyncio.Task[None]) -> None:
        del self._asking[question]
        if question in self._unwanted:
            self._unwanted.discard(question)
            self.forget([question])
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left who does

    async def _ask(self, question: Question, first: bool) -> None:
        async with self._places.one(question.home, first=first):
            await self._slot()
            asked = self._tried[question] = self._clock()
            try:
                review = await self._api.request("POST", PATH, body=question.review(), timeout=TIMEOUT_SECONDS)
                status = review["status"]
                allowed = status.get("allowed") is True and status.get("denied") is not True
            except (ApiError, TypeError, KeyError, AttributeError) as error:
                self.problem = str(error) if isinstance(error, ApiError) else "the review makes no sense"
                self._on_review("failed")
                raise ApiError(getattr(error, "status", 0), self.problem) from None
        self.problem = ""
        self._answers[question] = Answer(allowed, asked)
        self._on_review("allowed" if allowed else "denied")

    async def _slot(self) -> None:
        """Wait until one more call keeps to the rate."""
        now = self._clock()
        at = max(self._next, now)
        self._next = at + self._interval
        if at > now:
            await asyncio.sleep(at - now)
