"""Replays from end to end: what was given up, or lost on the other side, arrives again as it was, and once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from support.cluster import Kubectl, eventually
from support.receiver import Answer

ONE_ATTEMPT = {"retry": {"maxAttempts": 1}}
DEAD = 'hookline_outbox_messages{state="dead"}'


class Replays:
    """Makes replays in the test's namespace, and looks at them."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self._namespace = namespace

    def create(self, name: str = "again", **spec: Any) -> None:
        head = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookReplay", "metadata": {"name": name}}
        self._kubectl.apply(head | {"spec": {"subscriptionName": "orders", **spec}}, namespace=self._namespace)

    def status(self, name: str = "again") -> Any:
        return self._kubectl.json("get", "whreplay", name, "-n", self._namespace)["status"]

    def numbers(self, name: str = "again") -> tuple[int, int, int]:
        status = self.status(name)
        return status.get("total", -1), status.get("replayed", -1), status.get("failed", -1)

    def conditions(self, name: str = "again") -> dict[str, str]:
        return {c["type"]: c["reason"] for c in self.status(name)["conditions"] if c["status"] == "True"}

    def wait(self, kind: str, reason: str, name: str = "again") -> None:
        eventually(lambda: self.conditions(name).get(kind) == reason, f"{name} is {kind} because {reason}", 90)

    def delete(self, name: str = "again") -> None:
        self._kubectl("delete", "whreplay", name, "-n", self._namespace)


@pytest.fixture
def replays(kubectl: Kubectl, namespace: str) -> Replays:
    return Replays(kubectl, namespace)


def sent(receiver) -> list[tuple[str, bytes]]:
    return [(request.id, request.body) for request in receiver.requests]


def dead_letters(operator, subscriptions, receiver, make: Callable[[], None], number: int) -> list[tuple[str, bytes]]:
    """Let so many messages be given up by an endpoint that refuses them, then repair it; returns ids and bodies.

    A refusal, not a 5xx: that would open the breaker, and make the many slow.
    """
    receiver.do(lambda live: live.answer(422))
    subscriptions.ready(delivery=ONE_ATTEMPT)
    make()
    eventually(lambda: operator.metric(DEAD) == number, f"{number} dead letters", 90)
    receiver.do(lambda live: live.answer(200))
    return sent(receiver)


def test_a_dead_letter_is_delivered_by_a_replay_with_the_same_id_and_bytes(
    operator, subscriptions, receiver, config_map, replays
):
    lost = dead_letters(operator, subscriptions, receiver, lambda: config_map("web", a="1"), 1)
    replays.create()
    replays.wait("Complete", "Replayed")
    assert replays.numbers() == (1, 1, 0)
    assert sent(receiver) == lost * 2
    first, second = (request.headers for request in receiver.requests)
    assert second["hookline-sequence"] == first["hookline-sequence"]
    status = replays.status()
    assert status["startTime"] <= status["completionTime"]
    assert operator.metric(DEAD) == 0


def test_what_fails_again_is_a_dead_letter_again_and_the_replay_says_so(
    operator, subscriptions, receiver, config_map, replays
):
    dead_letters(operator, subscriptions, receiver, lambda: config_map("web", a="1"), 1)
    receiver.do(lambda live: live.answer(422))
    replays.create()
    replays.wait("Failed", "NotAllDelivered")
    assert replays.numbers() == (1, 0, 1)
    assert operator.metric(DEAD) == 1
    receiver.do(lambda live: live.answer(200))
    replays.create("once-more")
    replays.wait("Complete", "Replayed", "once-more")
    assert replays.numbers() == (1, 0, 1), "a replay that ended is not touched by a later one"


def test_a_replay_killed_halfway_is_completed_after_the_restart_and_counted_once(
    make_operator, subscriptions, receiver, kubectl, namespace, replays
):
    number, early = 40, 10

    def make() -> None:
        objects = ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"web-{n}"}} for n in range(number))
        kubectl.apply(*objects, namespace=namespace)

    operator = make_operator().start()
    lost = dead_letters(operator, subscriptions, receiver, make, number)
    release = receiver.do(lambda live: asyncio.Event())
    receiver.do(lambda live: live.answers(*[Answer(200)] * early))
    receiver.do(lambda live: live.answer_with(Answer(200, hold=release)))
    replays.create()
    eventually(lambda: replays.numbers() == (number, early, 0), "the first are delivered, the others hang", 90)
    operator.kill()
    receiver.do(lambda live: (live.answer(200), release.set()))
    before = len(receiver.requests)
    operator.start()
    replays.wait("Complete", "Replayed")
    assert replays.numbers() == (number, number, 0)
    again = sent(receiver)[number:]
    assert set(again) == set(lost), "each, with the same id and bytes"
    assert Counter(sent(receiver)[before:]).most_common(1)[0][1] == 1
    assert len(sent(receiver)[before:]) == number - early, "what was recorded before the kill is not sent again"


def test_a_replay_that_ended_is_not_carried_out_again_by_a_restart(
    make_operator, subscriptions, receiver, config_map, replays
):
    operator = make_operator().start()
    dead_letters(operator, subscriptions, receiver, lambda: config_map("web", a="1"), 1)
    replays.create()
    replays.wait("Complete", "Replayed")
    before = replays.status()
    operator.stop()
    operator.start()
    replays.create("another")  # has its turn after the first one's
    replays.wait("Complete", "NothingSelected", "another")
    assert len(receiver.requests) == 2
    assert replays.status() == before


def test_delivered_messages_of_a_time_span_are_delivered_again(operator, subscriptions, receiver, config_map, replays):
    subscriptions.ready()
    marks = []
    for number, name in enumerate(("early", "wanted", "late"), 1):
        marks.append(datetime.now(UTC).isoformat())
        config_map(name, a="1")
        eventually(partial(receiver.has, number), f"{name} arrives")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 0, "all are recorded")
    replays.create(states=["Delivered"], **{"from": marks[1], "to": marks[2]})
    replays.wait("Complete", "Replayed")
    assert replays.numbers() == (1, 1, 0)
    assert sent(receiver)[3:] == [sent(receiver)[1]]


def test_a_replay_waits_for_its_subscription_and_while_that_is_suspended(
    operator, subscriptions, receiver, config_map, replays
):
    replays.create()
    replays.wait("Reconciling", "SubscriptionNotFound")
    subscriptions.ready()
    replays.wait("Complete", "NothingSelected")

    dead_letters(operator, subscriptions, receiver, lambda: config_map("web", a="1"), 1)
    subscriptions.apply(suspend=True, delivery=ONE_ATTEMPT)
    subscriptions.wait("Suspended")
    replays.create("later", ids=[receiver.ids[0]])
    replays.wait("Reconciling", "Replaying", "later")
    assert len(receiver.requests) == 1
    subscriptions.ready(suspend=False, delivery=ONE_ATTEMPT)
    replays.wait("Complete", "Replayed", "later")


def test_a_deleted_replay_leaves_what_it_began_and_the_same_name_is_another_one(
    operator, subscriptions, receiver, config_map, replays
):
    dead_letters(operator, subscriptions, receiver, lambda: config_map("web", a="1"), 1)
    for _ in range(2):
        replays.create(states=["Dead", "Delivered"])
        replays.wait("Complete", "Replayed")
        replays.delete()
    assert len(receiver.requests) == 3


def test_a_subscription_deleted_during_a_replay_ends_it(
    operator, subscriptions, receiver, config_map, replays, kubectl, namespace
):
    dead_letters(operator, subscriptions, receiver, lambda: config_map("web", a="1"), 1)
    subscriptions.apply(suspend=True, delivery=ONE_ATTEMPT)
    subscriptions.wait("Suspended")
    replays.create()
    replays.wait("Reconciling", "Replaying")
    kubectl("delete", "whsub", "orders", "-n", namespace)
    replays.wait("Failed", "NotAllDelivered")
    assert replays.numbers() == (1, 0, 1)
