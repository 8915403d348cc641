"""The status of a replay: which conditions stand for which state."""

import pytest

from hookline.status.replay import replay_status
from hookline.stored import ReplayCounts, ReplayFinding

START, NOW = 1_767_225_600.0, 1_767_225_700.0


def obj(status=None):
    return {"metadata": {"generation": 1}, "status": status or {}}


def true_ones(status):
    return {c["type"]: c["reason"] for c in status["conditions"] if c["status"] == "True"}


@pytest.mark.parametrize(
    ("finding", "conditions", "ended"),
    [
        (ReplayFinding(ReplayCounts(3, 1, 1, START)), {"Reconciling": "Replaying"}, False),
        (ReplayFinding(ReplayCounts(3, 3, 0, START)), {"Complete": "Replayed"}, True),
        (ReplayFinding(ReplayCounts(0, 0, 0, START)), {"Complete": "NothingSelected"}, True),
        (
            ReplayFinding(ReplayCounts(3, 2, 1, START)),
            {"Failed": "NotAllDelivered", "Stalled": "NotAllDelivered"},
            True,
        ),
        (ReplayFinding(None, "SubscriptionNotFound", "m"), {"Reconciling": "SubscriptionNotFound"}, False),
        (ReplayFinding(None, "InvalidSpec", "m"), {"Failed": "InvalidSpec", "Stalled": "InvalidSpec"}, True),
    ],
)
def test_each_state_has_its_conditions(finding, conditions, ended):
    status = replay_status(obj(), finding, NOW)
    assert true_ones(status) == conditions
    assert status["conditions"][0]["type"] == "Complete", "is always there"
    assert ("completionTime" in status) is finding.final is ended


def test_the_numbers_and_times_are_told():
    status = replay_status(obj(), ReplayFinding(ReplayCounts(3, 2, 1, START)), NOW)
    told = {key: value for key, value in status.items() if key != "conditions"}
    assert told == {
        "observedGeneration": 1,
        "total": 3,
        "replayed": 2,
        "failed": 1,
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:01:40Z",
    }


def test_the_same_finding_later_gives_the_same_status():
    for finding in (ReplayFinding(ReplayCounts(1, 1, 0, START)), ReplayFinding(None, "SubscriptionNotFound", "m")):
        first = replay_status(obj(), finding, NOW)
        assert replay_status(obj(first), finding, NOW + 500) == first
