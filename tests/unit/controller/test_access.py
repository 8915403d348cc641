"""Claims about access: how few calls it takes, how old an answer may be, and what holds messages back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hookline.controller.access import (
    GIVE_UP_SECONDS,
    LEAST_SECONDS,
    LOOK_SECONDS,
    OWED_QUESTIONS,
    ROUND_SECONDS,
    SEND_SECONDS,
    SETTLE_SECONDS,
    Access,
    begin_within,
)
from hookline.controller.reviews import PARALLEL, PATH, Question, Reviews
from hookline.errors import ApiError, SpecError
from hookline.model import Counts, Grant, Message, Resource, Scope, Standing
from hookline.scopes import scopes_of
from hookline.spec import NamespacesFrom, Source, Subscription
from support.samples import CONFIG_MAPS, DEPLOYMENTS, subscription
from support.turns import turns

THREE = ["get", "list", "watch"]
DEPLOYED = Source("apps/v1", "Deployment")
WITHIN = begin_within(subscription().timeout)


def basis(wanted: Subscription, resource: Resource) -> str:
    return Scope(resource, wanted.namespace).ground(wanted.service_account)


def said(wanted: Subscription, resource: Resource) -> Message:
    return Message("msg_1", wanted.uid, 1, "object", "type", (), b"{}", 1.0, basis(wanted, resource))


class Authorizer:
    """Answers reviews as ``allowed`` says, by resource, when ``answering`` is set; ``down`` refuses, ``odd`` is mad."""

    def __init__(self) -> None:
        self.allowed = {"configmaps": True, "deployments": True}
        self.down = self.odd = False
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked: list[dict[str, Any]] = []

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        assert (method, path) == ("POST", PATH)
        self.asked.append(body["spec"])
        await self.answering.wait()
        if self.down:
            raise ApiError(0, "no usable answer")
        if self.odd:
            return None
        return {"status": {"allowed": self.allowed[body["spec"]["resourceAttributes"]["resource"]]}}


class Ground:
    def __init__(self, rate: float = 1e9) -> None:
        self.api = Authorizer()
        self.now = 1000.0
        self.grants: dict[str, Grant] = {}
        self.turned: list[tuple[frozenset[str], bool]] = []
        self.reviews = Reviews(self.api, rate, lambda: self.now)
        self.access = Access(
            self.reviews,
            scopes_of,
            lambda: self.now,
            self.grants.__setitem__,
            lambda uids, flipped: self.turned.append((frozenset(uids), flipped)),
        )

    async def admit(self, wanted: Subscription, *resources: Resource | None) -> Grant:
        return await self.access.admit(wanted, resources or [CONFIG_MAPS])

    def may_send(self, uid: str, timeout: float = subscription().timeout) -> bool:
        return self.access.may_send(uid, timeout)

    async def after(self, seconds: float) -> None:
        self.now += seconds
        await self.access.look()


@pytest.fixture
def ground() -> Ground:
    return Ground()


def places(*names: str) -> Subscription:
    source = Source("v1", "ConfigMap", NamespacesFrom.NAMES, frozenset(names))
    return subscription(sources=(source,))


async def test_a_thousand_subscriptions_of_one_service_account_cost_three_calls_a_round(ground: Ground):
    for number in range(1000):
        await ground.admit(subscription(uid=f"u{number}"))
    assert len(ground.api.asked) == 3
    await ground.after(ROUND_SECONDS)
    assert len(ground.api.asked) == 6
    await ground.after(1.0)
    assert len(ground.api.asked) == 6
    assert sorted(item["resourceAttributes"]["verb"] for item in ground.api.asked[:3]) == THREE


async def test_the_control_a_thousand_service_accounts_cost_three_calls_each(ground: Ground):
    for number in range(1000):
        await ground.admit(subscription(uid=f"u{number}", service_account=f"sa{number}"))
    assert len(ground.api.asked) == 3000


async def test_who_asks_at_the_same_time_shares_the_calls():
    question = Question("shop", "default", "list", "", "v1", "configmaps", "shop")
    ground = Ground()
    assert all(await asyncio.gather(*(ground.reviews.ask([question]) for _ in range(10))))
    assert len(ground.api.asked) == 1
    await ground.reviews.ask([question])
    assert len(ground.api.asked) == 2, "who asks later asks anew"


async def test_the_service_account_is_asked_about_with_its_groups(ground: Ground):
    await ground.admit(subscription(service_account="watcher"), None)
    assert ground.api.asked == []
    await ground.admit(subscription(service_account="watcher"))
    asked = ground.api.asked[0]
    assert asked["user"] == "system:serviceaccount:shop:watcher"
    assert asked["groups"] == ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]


@pytest.mark.parametrize(
    ("source", "where"),
    [
        (Source("v1", "ConfigMap"), ["shop"]),
        (Source("v1", "ConfigMap", NamespacesFrom.ALL), [""]),
        (Source("v1", "ConfigMap", NamespacesFrom.SELECTOR), [""]),
        (Source("v1", "ConfigMap", NamespacesFrom.NAMES, frozenset({"a", "b"})), ["a", "b"]),
    ],
    ids=["Same", "All", "Selector", "Names"],
)
async def test_one_call_for_all_namespaces_or_one_for_each_that_is_named(
    ground: Ground, source: Source, where: list[str]
):
    await ground.admit(subscription(sources=(source,)))
    asked = [(item["resourceAttributes"]["verb"], item["resourceAttributes"]["namespace"]) for item in ground.api.asked]
    assert sorted(asked) == sorted((verb, name) for verb in THREE for name in where)


async def test_an_attempt_begins_only_while_each_review_is_so_young_that_it_ends_within_30_seconds(ground: Ground):
    wanted = subscription()
    assert not ground.may_send(wanted.uid), "before it was asked"
    await ground.admit(wanted)
    ground.now += WITHIN - 0.1
    assert ground.may_send(wanted.uid)
    ground.now += 0.2
    assert not ground.may_send(wanted.uid)


@pytest.mark.parametrize("timeout", [1.0, 14.0, 15.0, 19.0])
def test_an_attempt_that_begins_in_time_ends_within_30_seconds_of_its_review(timeout: float):
    assert LEAST_SECONDS <= begin_within(timeout) < SEND_SECONDS - timeout


@pytest.mark.parametrize("timeout", [20.0, 30.0])
def test_a_longer_attempt_still_begins_while_rounds_go_well(timeout: float):
    assert ROUND_SECONDS < begin_within(timeout) == LEAST_SECONDS


async def test_attempts_that_may_take_longer_are_held_sooner_and_go_on_with_the_next_answers(ground: Ground):
    slow, quick = subscription(uid="slow", timeout=30.0), subscription(uid="quick")
    for wanted in (slow, quick):
        await ground.admit(wanted)
    ground.turned.clear()
    ground.now += LEAST_SECONDS
    assert (ground.may_send("slow", slow.timeout), ground.may_send("quick", quick.timeout)) == (False, True)
    await ground.access.look()
    assert ground.may_send("slow", slow.timeout)
    assert ground.turned == [(frozenset({"slow", "quick"}), False)]
    await ground.after(1.0)
    assert len(ground.turned) == 1, "it is told once"


async def test_what_was_never_reviewed_is_not_sent_as_long_as_no_source_is_served(ground: Ground):
    wanted = subscription()
    assert (await ground.admit(wanted, None)).granted, "it is in force, and waits for its source"
    assert not ground.may_send(wanted.uid), "messages may be left from before the start"
    await ground.admit(wanted)
    assert ground.may_send(wanted.uid), "the control: reviewed"
    await ground.admit(wanted, None)
    assert ground.may_send(wanted.uid), "by the rights of the source that was served"
    ground.api.allowed["configmaps"] = False
    await ground.after(ROUND_SECONDS)
    assert not ground.may_send(wanted.uid)


async def test_while_the_api_server_does_not_answer_messages_are_held_and_then_go_on(ground: Ground):
    wanted = subscription()
    await ground.admit(wanted)
    ground.api.down = True
    await ground.after(SEND_SECONDS)
    assert not ground.may_send(wanted.uid)
    assert ground.grants[wanted.uid].granted is None
    assert "messages are kept" in ground.grants[wanted.uid].message
    ground.api.down = False
    ground.turned.clear()
    await ground.after(1.0)
    assert ground.may_send(wanted.uid)
    assert ground.turned == [(frozenset({wanted.uid}), False)], "nothing has to be set up again"


async def test_what_was_held_goes_on_after_a_round_that_took_longer_than_an_answer_lasts(ground: Ground):
    wanted = subscription()
    await ground.admit(wanted)
    ground.turned.clear()
    ground.api.answering.clear()
    ground.now += WITHIN - 1.0
    look = asyncio.create_task(ground.access.look())
    await turns()
    ground.now += 2.0
    assert not ground.may_send(wanted.uid), "attempts are held, which nobody was told"
    ground.api.answering.set()
    await look
    assert ground.may_send(wanted.uid)
    assert ground.turned == [(frozenset({wanted.uid}), False)]


async def test_what_was_held_goes_on_when_it_is_a_change_of_the_spec_that_asks(ground: Ground):
    wanted = subscription()
    await ground.admit(wanted)
    ground.turned.clear()
    await ground.admit(places("a", "b"))
    assert ground.turned == [(frozenset({wanted.uid}), False)], (
        "its lane may have stopped while the new rights were asked for"
    )


async def test_what_can_not_be_asked_is_neither_granted_nor_refused(ground: Ground):
    ground.api.down = True
    with pytest.raises(ApiError, match="can't be asked"):
        await ground.admit(subscription())
    assert not ground.may_send("uid-subscription")


async def test_a_namespace_with_more_questions_than_can_be_asked_holds_up_no_other(ground: Ground, monkeypatch):
    for number in range(2000):
        await ground.admit(subscription(uid=f"loud{number}", namespace="loud", service_account=f"sa{number}"))
    await ground.admit(subscription(uid="quiet"))
    ask = ground.api.request

    async def slowly(*arguments: Any, **options: Any) -> Any:
        ground.now += 1 / 300
        return await ask(*arguments, **options)

    monkeypatch.setattr(ground.api, "request", slowly)
    end = ground.now + 60
    while ground.now < end:
        if await ground.access.look():
            ground.now += LOOK_SECONDS
        assert ground.may_send("quiet")
    held = sum(not ground.may_send(f"loud{number}") for number in range(2000))
    assert held > 100, "the control: 6,000 answers a round are more than 300 a second"


async def test_a_round_that_fails_ends_early(ground: Ground):
    for number in range(100):
        await ground.admit(subscription(uid=f"u{number}", service_account=f"sa{number}"))
    ground.api.down = True
    ground.api.asked.clear()
    await ground.after(ROUND_SECONDS)
    assert len(ground.api.asked) <= 16


async def test_a_right_that_is_taken_holds_messages_at_once_and_tells_all_whom_it_concerns(ground: Ground):
    for uid in ("a", "b"):
        await ground.admit(subscription(uid=uid))
    ground.turned.clear()
    ground.api.allowed["configmaps"] = False
    await ground.after(ROUND_SECONDS)
    assert [ground.may_send(uid) for uid in ("a", "b")] == [False, False]
    assert ground.turned == [(frozenset({"a", "b"}), True)]
    ground.api.allowed["configmaps"] = True
    await ground.after(ROUND_SECONDS)
    assert [ground.may_send(uid) for uid in ("a", "b")] == [True, True]
    assert ground.turned[1:] == [(frozenset({"a", "b"}), True)]


async def test_messages_of_an_earlier_spec_need_its_rights_until_none_of_them_waits(ground: Ground):
    before = subscription()
    after = replace(before, sources=(DEPLOYED,))
    await ground.admit(before)
    await ground.admit(after, DEPLOYMENTS)
    ground.api.allowed["configmaps"] = False
    await ground.after(ROUND_SECONDS)
    assert not ground.may_send(before.uid)
    assert "earlier spec" in ground.access.grant(before.uid).message
    ground.access.counted({before.uid: Counts(pending=1)})
    assert not ground.may_send(before.uid)
    ground.access.counted({})
    assert ground.may_send(before.uid)
    assert "earlier spec" not in ground.access.grant(before.uid).message


async def test_rights_that_only_an_earlier_spec_needs_hold_messages_and_leave_the_present_one_in_force(ground: Ground):
    before = subscription()
    after = replace(before, sources=(DEPLOYED,))
    await ground.admit(before)
    await ground.admit(after, DEPLOYMENTS)
    ground.api.allowed["configmaps"] = False
    await ground.after(ROUND_SECONDS)
    assert ground.grants[before.uid].granted, "whoever is told withdraws nothing"
    assert (await ground.admit(after, DEPLOYMENTS)).granted
    assert not ground.may_send(before.uid)
    ground.api.allowed["deployments"] = False
    await ground.after(ROUND_SECONDS)
    assert ground.grants[before.uid].granted is False, "the control: its own rights decide"


async def test_messages_from_before_the_start_need_what_they_rest_on_until_none_of_them_waits(ground: Ground):
    here = subscription()
    ground.access.remember({here.uid: [Scope(DEPLOYMENTS, here.namespace).ground(here.service_account)]})
    ground.api.allowed["deployments"] = False
    assert (await ground.admit(here)).granted, "they hold themselves, not the spec"
    assert not ground.may_send(here.uid)
    ground.now += SETTLE_SECONDS + 1
    ground.access.counted({here.uid: Counts(pending=1)})
    await ground.after(ROUND_SECONDS)
    assert not ground.may_send(here.uid)
    ground.api.allowed["deployments"] = True
    await ground.after(ROUND_SECONDS)
    assert ground.may_send(here.uid)
    ground.access.counted({})
    assert len(ground.access._cases) == 1, "the control: nothing waits, nothing is owed"


async def test_what_a_source_that_is_not_served_any_more_left_needs_the_rights_to_it(ground: Ground):
    here = subscription()
    ground.access.remember({here.uid: [Scope(CONFIG_MAPS, here.namespace).ground(here.service_account)]})
    await ground.admit(here, None)
    assert ground.may_send(here.uid)
    ground.api.allowed["configmaps"] = False
    await ground.after(ROUND_SECONDS)
    assert not ground.may_send(here.uid)


async def test_what_is_replayed_needs_the_rights_of_the_spec_that_it_came_of(ground: Ground):
    here = subscription(sources=(DEPLOYED,))
    await ground.admit(here, DEPLOYMENTS)
    ground.api.allowed["configmaps"] = False
    own, earlier = (Scope(one, here.namespace).ground(here.service_account) for one in (DEPLOYMENTS, CONFIG_MAPS))
    ground.access.owe(here.uid, here.namespace, [own])
    assert ground.may_send(here.uid), "the control: what the present spec needs is owed by nobody"
    ground.access.owe(here.uid, here.namespace, [own, earlier])
    await ground.after(1)
    assert not ground.may_send(here.uid)


async def test_what_is_replayed_while_its_right_is_missing_is_not_sent_under_a_later_spec(ground: Ground):
    earlier, later = subscription(), subscription(sources=(DEPLOYED,))
    await ground.admit(earlier)
    await ground.admit(later, DEPLOYMENTS)
    ground.now += SETTLE_SECONDS + 1
    ground.access.counted({})
    ground.api.allowed["configmaps"] = False
    assert (await ground.admit(earlier)).granted is False
    ground.access.owe(earlier.uid, earlier.namespace, [basis(earlier, CONFIG_MAPS)])
    assert (await ground.admit(later, DEPLOYMENTS)).granted
    assert not ground.may_send(earlier.uid)


async def test_messages_of_an_earlier_spec_are_given_up_when_their_right_stays_away(ground: Ground):
    before = subscription()
    await ground.admit(before)
    await ground.admit(replace(before, sources=(DEPLOYED,)), DEPLOYMENTS)
    theirs, own = said(before, CONFIG_MAPS), said(before, DEPLOYMENTS)
    assert [ground.access.standing(one) for one in (theirs, own)] == [Standing.GOOD, Standing.GOOD], "the control"
    ground.api.allowed["configmaps"] = False
    await ground.after(ROUND_SECONDS)
    since = ground.now
    while ground.now < since + GIVE_UP_SECONDS:
        assert not ground.may_send(before.uid), "the right may come back"
        assert ground.grants[before.uid].holds
        await ground.after(ROUND_SECONDS)
    assert ground.may_send(before.uid), "the present spec is not locked out"
    assert not ground.grants[before.uid].holds
    assert ground.turned[-1] == (frozenset({before.uid}), False), "and whoever sends looks at it at once"
    assert [ground.access.standing(one) for one in (theirs, own)] == [Standing.DENIED, Standing.GOOD]
    ground.api.allowed["deployments"] = False
    await ground.after(ROUND_SECONDS)
    assert not ground.may_send(before.uid), "its own rights hold it as ever"


async def test_a_message_of_which_nobody_knew_waits_until_it_was_asked_for(ground: Ground):
    here = subscription()
    await ground.admit(here)
    unknown = said(here, DEPLOYMENTS)
    assert ground.access.standing(unknown) is Standing.UNKNOWN
    assert not ground.may_send(here.uid)
    await ground.after(1)
    assert ground.may_send(here.uid)
    assert ground.access.standing(unknown) is Standing.GOOD
    assert ground.access.standing(replace(unknown, ground="")) is Standing.GOOD, "a ping rests on nothing"


async def test_while_nothing_can_be_stored_a_message_of_an_earlier_spec_may_still_come(ground: Ground):
    before = subscription()
    await ground.admit(before)
    await ground.admit(replace(before, sources=(DEPLOYED,)), DEPLOYMENTS)
    ground.now += SETTLE_SECONDS + 1
    ground.access.counted({}, storing=False)
    ground.access.counted({})
    assert len(ground.access._cases) == 2
    ground.now += SETTLE_SECONDS + 1
    ground.access.counted({})
    assert len(ground.access._cases) == 1


async def test_a_replay_that_would_owe_too_much_is_refused(ground: Ground):
    here = subscription()
    await ground.admit(here)
    many = [Scope(DEPLOYMENTS, f"n{number}").ground("default") for number in range(OWED_QUESTIONS // 3 + 1)]
    with pytest.raises(SpecError, match="select fewer"):
        ground.access.owe(here.uid, here.namespace, many)
    assert ground.may_send(here.uid)
    ground.access.owe(here.uid, here.namespace, many[1:])


async def test_what_is_replayed_before_a_spec_is_admitted_is_owed_when_it_is(ground: Ground):
    here = subscription()
    ground.access.owe(here.uid, here.namespace, [Scope(DEPLOYMENTS, here.namespace).ground("default")])
    ground.api.allowed["deployments"] = False
    await ground.admit(here)
    assert not ground.may_send(here.uid)


async def test_however_often_a_spec_is_changed_while_a_message_waits_it_owes_one_case(ground: Ground):
    for number in range(20):
        await ground.admit(places(f"n{number % 5}", f"m{number % 7}"))
        ground.access.counted({"uid-subscription": Counts(pending=1)})
    assert len(ground.access._cases) == 2, "what it needs, and what all specs before needed"
    await ground.admit(places(*(f"n{number}" for number in range(5)), *(f"m{number}" for number in range(7))))
    assert len(ground.access._cases) == 1, "who needs all of it anyway owes nothing"


async def test_a_spec_that_would_owe_too_much_is_refused_and_the_one_before_stays(ground: Ground):
    half = OWED_QUESTIONS // 3 // 2
    for start in (0, half):
        await ground.admit(places(*(f"n{number}" for number in range(start, start + half))))
    await ground.admit(places("last"))
    asked = len(ground.api.asked)
    with pytest.raises(SpecError, match="delete the subscription"):
        await ground.admit(places("another"))
    assert len(ground.api.asked) == asked
    assert ground.may_send("uid-subscription"), "so that what waits can be sent"
    ground.now += ROUND_SECONDS
    ground.access.counted({})
    assert ground.turned[-1] == (frozenset({"uid-subscription"}), True), "it is looked at again"
    assert (await ground.admit(places("another"))).granted


async def test_a_wider_spec_that_is_refused_does_not_free_from_what_the_one_before_it_needs(ground: Ground):
    narrow = subscription()
    await ground.admit(narrow)
    ground.api.allowed["configmaps"] = False
    wide = replace(narrow, sources=(*narrow.sources, DEPLOYED))
    ground.now += ROUND_SECONDS
    assert (await ground.admit(wide, CONFIG_MAPS, DEPLOYMENTS)).granted is False
    assert (await ground.admit(replace(narrow, sources=(DEPLOYED,)), DEPLOYMENTS)).granted
    assert not ground.may_send(narrow.uid)


async def test_a_spec_that_was_never_in_force_left_nothing_to_wait_for(ground: Ground):
    ground.api.allowed["configmaps"] = False
    assert (await ground.admit(subscription())).granted is False
    after = subscription(sources=(DEPLOYED,))
    assert (await ground.admit(after, DEPLOYMENTS)).granted
    assert ground.may_send(after.uid)


async def test_nobody_is_asked_about_who_is_gone(ground: Ground):
    await ground.admit(subscription())
    ground.access.forget("uid-subscription")
    ground.api.asked.clear()
    await ground.after(ROUND_SECONDS)
    assert ground.api.asked == []
    assert not ground.may_send("uid-subscription")


async def test_calls_keep_to_the_rate():
    ground = Ground(rate=1000.0)
    await ground.admit(places(*map(str, range(40))))
    assert ground.reviews._next >= ground.now + 0.119, "120 calls take 119 intervals of 1 ms"


class Gate:
    """An API server that answers when it is told to; ``calls`` has who asked, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._open: list[asyncio.Event] = []

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        self.calls.append(body["spec"]["user"].split(":")[2])
        self._open.append(opened := asyncio.Event())
        await opened.wait()
        return {"status": {"allowed": True}}

    async def answer(self, count: int) -> None:
        """The oldest calls that have no answer yet."""
        for _ in range(count):
            self._open.pop(0).set()
        await turns()


def many(home: str, count: int = 4 * PARALLEL) -> list[Question]:
    return [Question(home, "default", "list", "", "v1", "configmaps", str(number)) for number in range(count)]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def gated(gate: Gate) -> Reviews:
    return Reviews(gate, 1e9, lambda: 1000.0)


async def test_rounds_go_before_what_changed_specs_ask_and_those_take_half_the_places(gate: Gate, gated: Reviews):
    greedy = asyncio.create_task(gated.ask(many("greedy")))
    await turns()
    assert gate.calls == ["greedy"] * (PARALLEL // 2)
    rounds = asyncio.create_task(gated.ask(many("round", PARALLEL), first=True))
    await turns()
    assert gate.calls.count("round") == PARALLEL // 2
    await gate.answer(PARALLEL // 2)
    assert gate.calls == ["greedy"] * (PARALLEL // 2) + ["round"] * PARALLEL
    while not (greedy.done() and rounds.done()):
        await gate.answer(1)
    assert await greedy
    assert await rounds
    assert len(gate.calls) == 5 * PARALLEL


async def test_each_namespace_has_its_turn_however_much_another_one_asks(gate: Gate, gated: Reviews):
    greedy = asyncio.create_task(gated.ask(many("greedy")))
    await turns()
    modest = asyncio.create_task(gated.ask(many("modest", 2)))
    await turns()
    await gate.answer(4)
    assert gate.calls[PARALLEL // 2 :].count("modest") == 2
    while not greedy.done():
        await gate.answer(1)
    assert await modest


async def test_a_place_comes_back_from_who_no_longer_waits_for_it(gate: Gate, gated: Reviews):
    asking = asyncio.create_task(gated.ask(many("gone")))
    await turns()
    for task in list(gated._asking.values()):
        task.cancel()
    await asyncio.wait([asking])
    gate.calls.clear()
    again = asyncio.create_task(gated.ask(many("next", PARALLEL), first=True))
    await turns()
    assert len(gate.calls) == PARALLEL
    again.cancel()
    for task in list(gated._asking.values()):
        task.cancel()
    await turns()


async def test_a_round_does_not_wait_for_what_a_changed_spec_asks_already(gate: Gate):
    access = Access(Reviews(gate, 1e9, lambda: 1000.0), scopes_of, lambda: 1000.0)
    admit = asyncio.create_task(access.admit(subscription(), [CONFIG_MAPS]))
    await turns()
    look = asyncio.create_task(access.look())
    await turns()
    assert look.done()
    await gate.answer(3)
    assert (await admit).granted


async def test_an_answer_that_comes_after_nobody_needs_it_is_not_kept(gate: Gate, gated: Reviews):
    for needed in (False, True):
        (question,) = many("shop", 1)
        first = asyncio.create_task(gated.ask([question]))
        await turns()
        gated.forget([question])
        second = asyncio.create_task(gated.ask([question])) if needed else first
        await turns()
        await gate.answer(1)
        await asyncio.wait([first, second])
        await turns()
        assert (gated.answer(question) is not None) == needed, "the control: somebody needs it again"


async def test_a_denial_from_before_an_outage_gives_nothing_up(ground: Ground):
    before = subscription()
    await ground.admit(before)
    await ground.admit(replace(before, sources=(DEPLOYED,)), DEPLOYMENTS)
    ground.api.allowed["configmaps"] = False
    await ground.after(ROUND_SECONDS)
    ground.api.down = True
    await ground.after(GIVE_UP_SECONDS + 30)
    ground.api.down, ground.api.allowed["configmaps"] = False, True
    await ground.admit(subscription(uid="neighbour", sources=(DEPLOYED,)), DEPLOYMENTS)  # asks what both need
    assert ground.access.standing(said(before, CONFIG_MAPS)) is Standing.UNKNOWN
    await ground.after(1)
    assert ground.access.standing(said(before, CONFIG_MAPS)) is Standing.GOOD


async def test_a_spec_that_is_mended_long_after_its_right_was_lost_has_its_two_minutes_too(ground: Ground):
    old = subscription(service_account="old")
    await ground.admit(old)
    ground.api.allowed["configmaps"] = False
    for _ in range(40):
        await ground.after(ROUND_SECONDS)
    assert (await ground.admit(replace(old, sources=(DEPLOYED,)), DEPLOYMENTS)).granted
    assert ground.grants[old.uid].holds
    assert not ground.may_send(old.uid)
    for _ in range(20):
        await ground.after(ROUND_SECONDS)
    assert ground.may_send(old.uid)


async def test_a_ping_is_not_sent_for_who_may_nothing(ground: Ground):
    here = subscription()
    await ground.admit(here)
    ping = replace(said(here, CONFIG_MAPS), ground="")
    assert ground.access.standing(ping) is Standing.GOOD, "the control"
    await ground.admit(here, None)
    assert ground.access.standing(ping) is Standing.UNKNOWN


async def test_a_busy_subscription_owes_only_what_something_that_waits_rests_on(ground: Ground):
    for number in range(OWED_QUESTIONS // 3 + 2):
        spec = places(f"n{number}")
        await ground.admit(spec)
        ground.now += 60
        await ground.access.look()
        ground.access.counted({spec.uid: Counts(pending=1)})
        waits = [Scope(CONFIG_MAPS, f"n{number}").ground(spec.service_account)]
        ground.access.rests({spec.uid: waits}, ground.now)
        assert len(ground.access._cases) == 1
    await ground.admit(places("last"))
    ground.now += 60
    ground.access.rests({spec.uid: waits}, ground.now)
    assert len(ground.access._cases) == 2, "the control: what still waits is owed"


async def test_an_answer_that_makes_no_sense_is_as_good_as_none(ground: Ground):
    await ground.admit(subscription())
    ground.api.odd = True
    for _ in range(3):
        await ground.after(ROUND_SECONDS)
    assert not ground.may_send("uid-subscription")
    assert ground.access.grant("uid-subscription").granted is None
    ground.api.odd = False
    await ground.after(ROUND_SECONDS)
    assert ground.may_send("uid-subscription"), "the loop goes on"
