"""Claims about the reconciler: a list is older than the events that come while it is awaited, and failures are told."""

from __future__ import annotations

import pytest

from hookline import reasons
from hookline.errors import StoreError
from support.controlling import NotingApplier, ScriptedApi, controller, secret, webhook


@pytest.fixture
def api():
    return ScriptedApi()


@pytest.fixture
def applier():
    return NotingApplier()


@pytest.fixture
def reconciler(api, applier):
    return controller(api, applier)


def happening(reconciler, kind, obj):
    """An event that comes, and is dealt with, while a list is awaited."""

    async def happen():
        reconciler.observe(kind, obj)
        await reconciler.drain()

    return happen


async def test_one_that_is_made_while_the_list_is_awaited_is_not_lost(api, applier, reconciler):
    api.during_list = happening(reconciler, "ADDED", webhook())
    await reconciler.resync()
    await reconciler.drain()
    await reconciler.sweep()
    assert [subscription.uid for subscription in applier.activated] == ["u1"]
    assert applier.forgotten == []
    assert applier.swept == {"u1"}


async def test_the_control_one_that_vanished_before_the_list_is_lost(api, applier, reconciler):
    reconciler.observe("ADDED", webhook())
    await reconciler.resync()
    await reconciler.drain()
    assert applier.forgotten == ["u1"]


async def test_one_that_is_changed_while_the_list_is_awaited_keeps_its_newer_spec(api, applier, reconciler):
    api.listed = [webhook(version="9", generation=1)]
    api.during_list = happening(reconciler, "MODIFIED", webhook(version="10", generation=2))
    await reconciler.resync()
    await reconciler.drain()
    assert [subscription.generation for subscription in applier.activated] == [2]
    assert applier.findings[-1].generation == 2


async def test_versions_that_are_no_numbers_are_taken_as_they_come(applier, reconciler):
    for version, generation in (("b", 1), ("a", 2)):
        reconciler.observe("MODIFIED", webhook(version=version, generation=generation))
    await reconciler.drain()
    assert applier.activated[-1].generation == 2


async def test_one_that_is_deleted_while_the_list_is_awaited_does_not_come_back(api, applier, reconciler):
    api.listed = [webhook()]
    await reconciler.resync()
    await reconciler.drain()
    api.during_list = happening(reconciler, "DELETED", webhook())
    await reconciler.resync()
    await reconciler.drain()
    assert applier.forgotten == ["u1"]
    assert reconciler.uid_of("shop", "orders") is None


async def test_a_late_event_of_a_deleted_one_does_not_bring_it_back(api, applier, reconciler):
    reconciler.observe("ADDED", webhook())
    reconciler.observe("DELETED", webhook())
    await reconciler.drain()
    reconciler.observe("MODIFIED", webhook(version="11", generation=2))
    await reconciler.drain()
    assert (applier.activated, applier.forgotten) == ([], ["u1"])


async def test_the_memory_of_a_deleted_one_ends_with_a_list_that_began_later(api, applier, reconciler):
    reconciler.observe("DELETED", webhook())
    await reconciler.resync()
    reconciler.observe("ADDED", webhook())
    await reconciler.drain()
    assert [subscription.uid for subscription in applier.activated] == ["u1"]


async def test_an_unexpected_error_is_told_in_the_status_and_tried_again(applier, reconciler):
    applier.trouble = RuntimeError("hooks.example.com/secret")
    reconciler.observe("ADDED", webhook())
    await reconciler.drain()
    finding = applier.findings[-1]
    assert (finding.blocked, finding.blocked in reasons.TRANSIENT) == ("InternalError", True)
    assert "RuntimeError" in finding.message
    assert "secret" not in finding.message
    applier.trouble = None
    reconciler.enqueue_unresolved()
    await reconciler.drain()
    assert applier.findings[-1].blocked == ""


async def test_an_outbox_that_fails_is_told_as_such(applier, reconciler):
    applier.trouble = StoreError("the volume is full")
    reconciler.observe("ADDED", webhook())
    await reconciler.drain()
    assert applier.findings[-1].blocked == "StoreFailing"
    assert reconciler.failed == {"u1"}


async def test_a_subscription_waits_for_the_end_of_its_predecessors_secret(api, applier, reconciler):
    api.secrets["orders-signing"] = secret("u0", v1="whsec_old", v1a="whsk_old")
    reconciler.observe("ADDED", webhook())
    await reconciler.drain()
    assert (applier.targets, applier.findings[-1].blocked) == ({"u1": None}, "Pending")
    assert applier.findings[-1].public_keys == ()
    del api.secrets["orders-signing"]
    reconciler.enqueue_unresolved()
    await reconciler.drain()
    assert applier.targets["u1"] is not None
    assert applier.findings[-1].public_keys


async def test_a_list_says_whether_it_told_what_no_event_had(api, reconciler):
    api.listed = [webhook()]
    assert await reconciler.resync(), "one that no event told"
    await reconciler.drain()
    assert not await reconciler.resync(), "the same again"
    api.listed = [webhook(version="99", generation=2)]
    assert await reconciler.resync(), "a change that no event told"
    await reconciler.drain()
    api.listed = []
    assert await reconciler.resync(), "a deletion that no event told"
