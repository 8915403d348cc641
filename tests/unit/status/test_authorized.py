"""The rights of the ServiceAccount in the status: what is lost is told once, what is unknown is not called refused."""

import pytest

from hookline.model import Finding, Grant
from hookline.status.facts import Facts
from hookline.status.report import status_of
from hookline.status.writer import StatusWriter
from support.controlling import ScriptedApi

GRANTED, DENIED, UNKNOWN = Grant(True, "may"), Grant(False, "may not"), Grant(None, "who knows")
FINDING = Finding(generation=2, accepted=True, reason="Valid", message="")


def webhook(authorized=None):
    conditions = [{"type": "Authorized", "status": authorized}] if authorized else []
    metadata = {"namespace": "shop", "name": "orders", "uid": "u"}
    return {"metadata": metadata, "status": {"conditions": conditions}}


def conditions(access):
    facts = Facts.of(webhook(), FINDING)
    facts.access = access
    return {item["type"]: (item["status"], item["reason"]) for item in status_of(facts, 0.0)["conditions"]}


@pytest.mark.parametrize(
    ("access", "status", "reason"), [(DENIED, "False", "AccessDenied"), (UNKNOWN, "Unknown", "AccessUnknown")]
)
def test_without_rights_it_is_not_ready_and_may_heal_by_itself(access, status, reason):
    found = conditions(access)
    assert found["Authorized"] == (status, reason)
    assert found["Ready"] == ("False", reason)
    assert found["Reconciling"] == ("True", reason)
    assert "Stalled" not in found


def test_with_rights_it_depends_on_the_rest():
    assert conditions(GRANTED)["Authorized"] == ("True", "AccessGranted")
    assert conditions(GRANTED)["Ready"] == conditions(None)["Ready"]
    assert conditions(None)["Authorized"] == ("Unknown", "Pending")


@pytest.mark.parametrize(
    ("before", "grants", "lost"),
    [
        (None, [GRANTED, DENIED], 1),
        (None, [GRANTED, UNKNOWN, DENIED, DENIED], 1),
        (None, [GRANTED, UNKNOWN, GRANTED], 0),
        (None, [DENIED, GRANTED], 0),
        ("True", [DENIED], 1),
        ("True", [UNKNOWN, DENIED, GRANTED, DENIED], 2),
        ("False", [DENIED], 0),
    ],
)
def test_each_loss_of_rights_is_counted_as_a_gap_also_after_a_restart(before, grants, lost):
    writer = StatusWriter(ScriptedApi(), 1.0, lambda: 0.0)
    writer.report(webhook(before), FINDING)
    assert [writer.access("u", grant) for grant in grants].count(True) == lost
