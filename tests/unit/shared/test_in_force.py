"""Claims about what is in force, at the seams: watches, dispatcher and store only note what they are told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from hookline.flow import Flow
from hookline.model import Finding
from hookline.observe.metrics import Metrics
from hookline.settings import Settings
from hookline.spec import NamespacesFrom, Source
from hookline.status.writer import StatusWriter
from support.controlling import ScriptedApi, webhook
from support.samples import CONFIG_MAPS, subscription

OURS = subscription(uid="u1")


class Notes:
    """Stands for watches, dispatcher and store."""

    def __init__(self) -> None:
        self.newly_served: list[set[str]] = []
        self.told: list[str] = []

    def set_wanted(self, uid, scopes, *, needs_full, newly_served):
        self.newly_served.append({scope.key for scope in newly_served})

    def reset(self, uid):
        self.told.append("reset")

    def again(self, uid):
        self.told.append("ask")

    def notify(self, uids):
        self.told.append("notify")

    async def commit(self, commit):
        self.told.append("commit")


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def flow(notes):
    status = StatusWriter(ScriptedApi(), 1.0, lambda: 0.0)
    status.report(webhook(), Finding(1, True, "Valid", ""))
    namespaces: Any = SimpleNamespace(labels=lambda _: {})
    discovery: Any = None  # nobody asks it
    made = Flow(Settings(), notes, {}, namespaces, discovery, status, Metrics(), lambda: 0.0)
    made.join(notes, notes, notes)
    return made


async def test_only_the_first_scopes_of_a_kind_that_came_to_be_served_are_newly_served(flow, notes):
    await flow.activate(OURS, [None])
    await flow.activate(OURS, [CONFIG_MAPS])
    elsewhere = Source("v1", "ConfigMap", NamespacesFrom.NAMES, frozenset({"other"}))
    await flow.activate(replace(OURS, generation=2, sources=(elsewhere,)), [CONFIG_MAPS])
    assert notes.newly_served == [set(), {"v1/configmaps@shop"}, set()]


async def test_a_request_gives_the_lane_another_chance_before_its_ping_is_sent(flow, notes):
    await flow.activate(OURS, [CONFIG_MAPS])
    asking = replace(OURS, requested_at="now")
    await flow.requested(asking)
    await flow.requested(asking)
    assert notes.told == ["commit", "reset", "ask", "notify"]


@pytest.mark.parametrize(("gap", "told"), [("no place for it", 1), ("", 0)])
async def test_what_is_put_out_of_force_by_a_quota_is_told_of_the_gap(flow, notes, monkeypatch, gap, told):
    dropped: list[str] = []
    notes.drop = notes.drop_target = notes.forget = lambda uid: None
    notes.set_target = lambda target: None
    monkeypatch.setattr(flow._metrics, "dropped", dropped.append)
    await flow.activate(OURS, [CONFIG_MAPS])
    flow.withdraw("u1", gap)
    flow.withdraw("u1", gap)
    assert dropped == ["gap"] * told
