"""Who has a place in a namespace: the oldest, whatever the order in which they are looked at."""

from __future__ import annotations

import itertools

import pytest

from hookline.controller.quota import Quota
from support.controlling import NotingApplier, ScriptedApi, controller, webhook


def obj(uid: str, created: str, namespace: str = "shop") -> dict[str, object]:
    return {"metadata": {"uid": uid, "namespace": namespace, "creationTimestamp": f"2026-01-01T00:00:{created}Z"}}


AGES = {"old": "01", "middle": "02", "young": "03"}


@pytest.mark.parametrize("order", list(itertools.permutations(AGES)), ids="-".join)
def test_the_oldest_have_the_places(order):
    quota = Quota(subscriptions=2)
    for uid in order:
        quota.put(obj(uid, AGES[uid]))
    assert [uid for uid in AGES if quota.refusal(uid)] == ["young"]
    assert "number 3 by age, and the oldest 2" in quota.refusal("young")


def test_who_goes_makes_room_for_the_next():
    quota = Quota(subscriptions=1)
    for uid, created in AGES.items():
        quota.put(obj(uid, created))
    quota.drop("old")
    assert [uid for uid in AGES if quota.refusal(uid)] == ["young"]


def test_of_the_same_second_the_uid_decides_and_whoever_loses_is_named():
    lost: list[str] = []
    quota = Quota(subscriptions=1, on_lost=lost.extend)
    quota.put(obj("b", "01"))
    assert not quota.refusal("b")
    quota.put(obj("a", "01"))
    assert not quota.refusal("a")
    assert lost == ["b"]


def test_a_question_that_tells_nobody_leaves_it_to_the_next_to_name_who_lost_a_place():
    lost: list[str] = []
    quota = Quota(subscriptions=1, on_lost=lost.extend)
    quota.put(obj("b", "01"))
    assert not quota.refusal("b")
    quota.put(obj("a", "01"))
    assert (quota.is_too_young("b"), lost) == (True, [])
    assert (quota.refusal("a"), lost) == ("", ["b"])


def test_namespaces_have_places_of_their_own():
    quota = Quota(subscriptions=1)
    quota.put(obj("a", "01"))
    quota.put(obj("b", "02", "other"))
    assert not quota.refusal("b")


def test_without_bounds_everybody_has_a_place():
    quota = Quota()
    for number in range(1000):
        quota.put(obj(f"u{number}", "01"))
        quota.wants(f"u{number}", frozenset({str(number)}))
    assert not any(quota.refusal(f"u{number}") for number in range(1000))


def test_watches_that_several_need_count_once():
    quota = Quota(informers=2)
    for uid, scopes in (("old", "ab"), ("middle", "bc"), ("young", "a")):
        quota.put(obj(uid, AGES[uid]))
        quota.wants(uid, frozenset(scopes))
    assert [uid for uid in AGES if quota.refusal(uid)] == ["middle"]
    assert "would need 3 watches, and 2 are served" in quota.refusal("middle")
    quota.wants("middle", frozenset("b"))
    assert not quota.refusal("middle")


async def test_another_spec_that_needs_fewer_watches_has_a_place():
    api, applier = ScriptedApi(), NotingApplier()
    wanted = {"u1": frozenset("a"), "u2": frozenset("b")}
    reconciler = controller(api, applier, Quota(informers=1), lambda subscription, _: wanted[subscription.uid])
    for uid in wanted:
        reconciler.observe(None, webhook(uid, uid))
        await reconciler.drain()
    assert (applier.findings[-1].reason, applier.withdrawn) == ("QuotaExceeded", ["u2"])
    wanted["u2"] = frozenset("a")
    reconciler.observe(None, webhook("u2", "u2", version="11", generation=2))
    await reconciler.drain()
    assert applier.findings[-1].accepted


async def test_a_watch_counts_for_each_service_account_that_must_be_asked_about():
    api, applier = ScriptedApi(), NotingApplier()
    reconciler = controller(api, applier, Quota(informers=1), lambda _, __: frozenset("a"))
    for uid, account in (("u1", "one"), ("u2", "one"), ("u3", "two")):
        obj = webhook(uid, uid)
        obj["spec"]["serviceAccountName"] = account
        reconciler.observe(None, obj)
        await reconciler.drain()
    assert [subscription.uid for subscription in applier.activated] == ["u1", "u2"]
    assert (applier.findings[-1].reason, applier.withdrawn) == ("QuotaExceeded", ["u3"])


async def test_who_has_no_place_is_told_so_and_comes_in_when_there_is_one():
    api, applier = ScriptedApi(), NotingApplier()
    reconciler = controller(api, applier, Quota(subscriptions=1))
    first, second = webhook("a", "u1"), webhook("b", "u2")
    for item in (first, second):
        reconciler.observe(None, item)
    await reconciler.drain()
    assert [subscription.uid for subscription in applier.activated] == ["u1"]
    assert applier.withdrawn == ["u2"]
    assert (False, "QuotaExceeded") in [(finding.accepted, finding.reason) for finding in applier.findings]
    reconciler.observe("DELETED", first)
    reconciler.enqueue_unresolved()
    await reconciler.drain()
    assert [subscription.uid for subscription in applier.activated] == ["u1", "u2"]


def test_what_one_more_costs_does_not_grow_with_those_that_have_no_place():
    """Counted by how many subscriptions the quota looks at."""

    class Counting(Quota):
        looked = 0

        def _seat(self, namespace):
            super()._seat(namespace)
            self.looked += len(namespace.seated)

    quota = Counting(subscriptions=10)
    for number in range(10_000):
        quota.put(obj(f"u{number:05}", "01"))
        assert bool(quota.refusal(f"u{number:05}")) == (number >= 10)
    assert quota.looked <= 10 * 11
    quota.drop("u00000")
    assert quota.refusal("u00010") == "", "the control: the next one has a place"


async def test_those_without_a_place_are_not_looked_at_again_and_again():
    api, applier = ScriptedApi(), NotingApplier()
    reconciler = controller(api, applier, Quota(subscriptions=1))
    for number in range(5):
        reconciler.observe(None, webhook(f"n{number}", f"u{number}"))
    await reconciler.drain()
    told = len(applier.findings)
    reconciler.enqueue_unresolved()
    await reconciler.drain()
    assert len(applier.findings) == told
