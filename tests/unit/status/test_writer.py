"""Claims about the writer: what a patch holds, and which attempts say something of the present endpoint."""

from __future__ import annotations

import pytest

from hookline.errors import NotServed
from hookline.model import Attempt, Claimed, Finding, Message, Outcome, Resource, Scope, Verdict
from hookline.status.writer import StatusWriter, merge_patch
from support.controlling import ScriptedApi, webhook
from support.samples import CONFIG_MAPS

GONE = Verdict(Outcome.DEAD, "HTTP410", 410, gone=True)
TIMEOUT = Verdict(Outcome.RETRY, "Timeout", None, 9.0)
UNAVAILABLE = Verdict(Outcome.RETRY, "HTTP503", 503, 9.0)


def attempt(verdict, current=True):
    message = Message("msg_a", "u1", 1, "object", "type", (), b"{}", observed=0.0)
    return Attempt(Claimed(1, message, 0, 0.0), verdict, started=1.0, duration=1.0, current=current)


@pytest.fixture
def api():
    return ScriptedApi()


@pytest.fixture
def writer(api):
    made = StatusWriter(api, 1.0, lambda: 1767225600.0)
    made.report(webhook(), Finding(1, True, "Valid", ""))
    return made


def last_status(api):
    return api.patches[-1][1]["status"]


def test_a_patch_removes_what_vanished_at_any_depth():
    before = {"a": 1, "b": {"c": 1, "d": {"e": 1}}, "f": {"g": 1}, "h": [1]}
    after = {"b": {"d": {"i": 2}}, "f": 3, "h": []}
    assert merge_patch(before, after) == {"a": None, "b": {"c": None, "d": {"e": None, "i": 2}}, "f": 3, "h": []}


async def test_a_failure_without_an_answer_removes_the_status_code_of_the_one_before(api, writer):
    writer.attempt(attempt(UNAVAILABLE))
    await writer.flush()
    assert last_status(api)["lastFailure"]["statusCode"] == 503
    writer.attempt(attempt(TIMEOUT))
    await writer.flush()
    assert last_status(api)["lastFailure"]["statusCode"] is None


@pytest.mark.parametrize("code", [0, 99, 1000])
async def test_a_status_code_that_the_schema_refuses_is_left_out(api, writer, code):
    writer.attempt(attempt(Verdict(Outcome.RETRY, f"HTTP{code}", code, 9.0)))
    await writer.flush()
    assert "statusCode" not in last_status(api)["lastFailure"]
    assert last_status(api)["lastFailure"]["reason"] == f"HTTP{code}"


async def test_a_404_forgets_nothing_of_one_that_may_live(api, writer):
    api.refusal = NotServed(404, "not found")
    writer.attempt(attempt(GONE))
    await writer.flush()
    api.refusal = None
    writer.attempt(attempt(UNAVAILABLE))
    await writer.flush()
    assert len(api.patches) == 2
    assert last_status(api)["disabled"]["reason"] == "EndpointGone"


def test_a_late_answer_of_a_former_endpoint_is_not_held_against_the_present_one(writer):
    assert not writer.attempt(attempt(GONE, current=False))
    assert writer.may_send("u1", 1)


def test_the_control_an_answer_of_the_present_endpoint_is(writer):
    assert writer.attempt(attempt(GONE))
    assert not writer.may_send("u1", 1)


@pytest.mark.parametrize(
    ("scope", "namespaces"),
    [
        (Scope(CONFIG_MAPS, "shop"), ["shop"]),
        (Scope(CONFIG_MAPS), ["*"]),
        (Scope(Resource("v1", "Node", "nodes", namespaced=False)), None),
    ],
)
async def test_namespaces_are_told_only_of_a_kind_that_has_them(api, writer, scope, namespaces):
    writer.wants("u1", frozenset({scope.key}))
    writer.watching("u1", scope)
    await writer.flush()
    (watched,) = last_status(api)["watching"]
    assert (watched["resource"], watched.get("namespaces")) == (scope.resource.plural, namespaces)
