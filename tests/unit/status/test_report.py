"""Status: conditions as the API conventions and kstatus want them, from facts alone."""

import pytest

from hookline import reasons
from hookline.model import Consent, Counts, Finding, Scope
from hookline.status.conditions import Condition, merge
from hookline.status.facts import Facts
from hookline.status.health import Health
from hookline.status.report import state_of, status_of
from support.samples import CONFIG_MAPS

SCOPE = Scope(CONFIG_MAPS, "shop")


def facts(finding=None, status=None, **fields):
    finding = finding or Finding(generation=2, accepted=True, reason="Valid", message="", endpoint="https://a.example")
    known = Facts.of({"metadata": {"namespace": "shop", "name": "orders"}, "status": status or {}}, finding)
    known.wanted = frozenset({SCOPE.key})
    known.watching = {SCOPE.key: ("configmaps", "shop", 1767225600.0)}
    for name, value in fields.items():
        setattr(known, name, value)
    return known


def conditions(known, now=1767225600.0):
    return {item["type"]: item for item in status_of(known, now)["conditions"]}


def test_a_subscription_that_watches_is_ready():
    found = conditions(facts())
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("True", "Watching")
    assert found["Accepted"]["status"] == "True"
    assert found["Delivering"]["status"] == "Unknown"
    assert "Reconciling" not in found
    assert "Stalled" not in found


def test_a_subscription_is_not_ready_before_its_watch_is_open():
    found = conditions(facts(watching={}))
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("Unknown", "Pending")
    assert found["Reconciling"]["status"] == "True"


@pytest.mark.parametrize(
    ("reason", "abnormal"), [("InvalidExpression", "Stalled"), ("ResourceNotServed", "Reconciling")]
)
def test_a_refused_spec_is_neither_accepted_nor_ready_and_kstatus_can_tell_why(reason, abnormal):
    found = conditions(facts(Finding(2, accepted=False, reason=reason, message="spec.filter: line 1")))
    assert found["Accepted"]["reason"] == found["Ready"]["reason"] == found[abnormal]["reason"] == reason
    assert found["Ready"]["status"] == "False"


def test_while_a_spec_is_refused_nobody_claims_to_look_up_rights():
    found = conditions(facts(Finding(2, accepted=False, reason="InvalidSpec", message="no")))
    assert found["Authorized"]["status"] == "Unknown"
    assert found["Authorized"]["message"] == "the spec is refused, so the ServiceAccount's rights are not looked up"
    assert conditions(facts())["Authorized"]["message"] == "the ServiceAccount's rights are looked up"


def test_before_the_first_attempt_nothing_is_said_of_what_matched():
    waiting = facts(counts=Counts(pending=3))
    assert conditions(waiting)["Delivering"]["message"] == "nothing was sent yet"


def test_a_failing_watch_makes_it_not_ready():
    found = conditions(facts(problems={SCOPE.key: "configmaps in shop: forbidden"}))
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "WatchFailing")


@pytest.mark.parametrize("reason", ["EndpointGone", "EndpointDisabled"])
def test_an_endpoint_that_was_given_up_stalls(reason):
    found = conditions(facts(health=Health(2, failing_since=0.0, disabled=reason, disabled_since=9.0)))
    assert found["Ready"]["reason"] == found["Stalled"]["reason"] == reason
    assert "hookline.dev/requested-at" in found["Ready"]["message"]


def test_a_full_share_of_the_outbox_is_not_ready_and_may_heal():
    found = conditions(facts(full=True, counts=Counts(pending=7)))
    assert found["Ready"]["reason"] == found["Reconciling"]["reason"] == "Overflow"
    assert found["Ready"]["message"].startswith("7 messages wait")


def test_an_open_breaker_is_told_beside_the_last_failure():
    failing = {"failing": True, "last_failure": {"reason": "HTTP503"}}
    assert "one attempt at a time" not in conditions(facts(**failing))["Delivering"]["message"]
    assert "one attempt at a time" in conditions(facts(**failing, broken=True))["Delivering"]["message"]


def test_a_destination_that_is_refused_when_it_is_sent_to_has_a_reason_of_its_own():
    refused = {"failing": True, "last_failure": {"reason": "DestinationRefused"}}
    found = conditions(facts(**refused))["Delivering"]
    assert (found["status"], found["reason"]) == ("False", "DestinationRefused")
    assert "administrator" in found["message"]


SUSPENDED = Finding(2, True, "Valid", "suspended", blocked=reasons.SUSPENDED)


def test_suspended_is_as_the_spec_wants_it_and_no_failure():
    found = conditions(facts(SUSPENDED))
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("True", "Suspended")
    assert "Stalled" not in found
    assert "Reconciling" not in found


def test_nobody_is_asked_for_consent_while_suspended_so_nothing_waits_for_it():
    assert conditions(facts(SUSPENDED, consent=Consent()))["Ready"]["reason"] == "Suspended"
    assert conditions(facts(consent=Consent()))["Ready"]["reason"] == "HandshakePending"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"watching": {}}, "Pending"),
        ({"problems": {SCOPE.key: "can't be watched"}}, "WatchFailing"),
        ({"full": True}, "Overflow"),
        ({"store_fails": True}, "StoreFailing"),
    ],
)
def test_a_suspended_subscription_that_records_nothing_is_not_ready(more, reason):
    found = conditions(facts(SUSPENDED, **more))
    assert found["Ready"]["status"] != "True"
    assert found["Ready"]["reason"] == found["Reconciling"]["reason"] == reason


def test_every_condition_carries_the_generation_it_speaks_of():
    assert {item["observedGeneration"] for item in conditions(facts()).values()} == {2}
    assert status_of(facts(), 0.0)["observedGeneration"] == 2


def test_the_transition_time_moves_only_with_the_status():
    first = merge((), [Condition("Ready", "True", "A", "")], 1, 100.0)
    same = merge(first, [Condition("Ready", "True", "B", "")], 2, 200.0)
    other = merge(same, [Condition("Ready", "False", "C", "")], 2, 300.0)
    assert same[0]["lastTransitionTime"] == first[0]["lastTransitionTime"] == "1970-01-01T00:01:40Z"
    assert other[0]["lastTransitionTime"] == "1970-01-01T00:05:00Z"


def test_the_same_facts_give_the_same_status():
    known = facts()
    known.status = status_of(known, 100.0)
    assert status_of(known, 999.0) == known.status


def test_a_restart_forgets_nothing_that_the_status_told():
    told = {
        "lastDelivery": {"id": "msg_a", "time": "2026-01-01T00:00:00Z", "statusCode": 200},
        "dropped": 3,
        "observedGeneration": 2,
        "failingSince": "2026-01-01T00:00:00Z",
        "disabled": {"reason": "EndpointGone", "since": "2026-01-02T00:00:00Z"},
        "lastHandledRequestedAt": "now",
        "conditions": [{"type": "Delivering", "status": "True"}],
    }
    status = status_of(facts(status=told), 0.0)
    assert status["lastDelivery"]["id"] == "msg_a"
    assert status["dropped"] == 3
    assert {key: status[key] for key in ("failingSince", "disabled", "lastHandledRequestedAt")} == {
        key: told[key] for key in ("failingSince", "disabled", "lastHandledRequestedAt")
    }
    assert conditions(facts(status=told))["Ready"]["reason"] == "EndpointGone"


SIGNING = {"secretName": "orders-signing", "publicKeys": ["whpk_a"]}


@pytest.mark.parametrize(
    ("finding", "shown"),
    [
        (Finding(2, True, "Valid", "", "SecretNotFound"), SIGNING),
        (Finding(2, False, "InvalidSpec", ""), SIGNING),
        (Finding(2, True, "Valid", "", signing_secret="orders-signing"), SIGNING),
        (Finding(2, True, "Valid", "", signing_secret="other"), {"secretName": "other", "publicKeys": []}),
        (
            Finding(2, True, "Valid", "", signing_secret="orders-signing", public_keys=()),
            {"secretName": "orders-signing", "publicKeys": []},
        ),
    ],
)
def test_how_to_verify_stays_in_the_status_while_the_keys_can_not_be_read(finding, shown):
    assert status_of(facts(finding, status={"signing": SIGNING}), 0.0)["signing"] == shown


def test_before_any_key_was_read_nothing_is_said_of_them():
    assert "signing" not in status_of(facts(), 0.0)


def test_a_corrected_spec_gives_a_gone_endpoint_another_chance():
    told = {
        "observedGeneration": 1,
        "failingSince": "2026-01-01T00:00:00Z",
        "disabled": {"reason": "EndpointGone", "since": "2026-01-02T00:00:00Z"},
    }
    assert conditions(facts(status=told))["Ready"]["status"] == "True"
    assert "failingSince" not in status_of(facts(status=told), 0.0)


def test_in_short_a_subscription_is_ready_suspended_disabled_or_not_ready():
    suspended = Finding(2, accepted=True, reason="Valid", message="", blocked="Suspended")
    missing = Finding(2, accepted=True, reason="Valid", message="", blocked="SecretNotFound")
    assert state_of(facts()) == "ready"
    assert state_of(facts(suspended)) == "suspended"
    assert state_of(facts(missing)) == state_of(facts(watching={})) == "not_ready"
    for reason in ("EndpointGone", "EndpointDisabled"):
        assert state_of(facts(health=Health(2, disabled=reason))) == "disabled"
    # The outbox concerns all: what its owner suspended is no exception.
    assert state_of(facts(suspended, store_fails=True)) == "not_ready"
