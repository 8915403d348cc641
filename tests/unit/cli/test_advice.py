"""Every reason that a status can have is explained in words, with what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hookline import reasons
from hookline.cli.advice import advice, summary
from hookline.cli.rotate import sentences
from hookline.deliver.verdict import Reason

HEALED_BY_ITSELF = {"Delivered", "Expired"}


def subscription(*conditions, generation=1, **status):
    return {
        "metadata": {"name": "orders", "namespace": "shop", "generation": generation},
        "spec": {"serviceAccountName": "watcher"},
        "status": {"observedGeneration": 1, "conditions": [*conditions], **status},
    }


def condition(kind, status, reason):
    return {"type": kind, "status": status, "reason": reason, "message": "because"}


READY_REASONS = re.findall(
    r"\b([A-Z][A-Za-z]+)\b",
    " ".join(
        [
            *("InvalidSpec InvalidExpression ResourceNotServed KindRefused DestinationRefused QuotaExceeded",),
            *("AccessDenied AccessUnknown InternalError HandshakePending HandshakeFailed EndpointGone",),
            *("EndpointDisabled Overflow Suspended SecretNotFound SecretInvalid ConfigMapNotFound",),
            *("MessagesHeld ConfigMapInvalid WatchFailing StoreFailing ApiFailing Pending",),
        ]
    ),
)


def test_the_list_above_has_every_reason_of_not_being_ready():
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    others = {
        *("Ready", "Accepted", "Delivering", "Authorized", "ClockSynchronized", "Reconciling", "Stalled", "Complete"),
        *("Failed", "Valid", "Watching", "AccessGranted", "NothingSentYet", "Delivered", "DeliveryFailing"),
        *("ClockInStep", "ClockDrifting", "ClockSkewed", "ClockNotMeasured", "Replaying", "Replayed"),
        *("NothingSelected", "NotAllDelivered", "SubscriptionNotFound", "WebhookSubscription", "WebhookReplay"),
    }
    camel = {word for word in words if re.fullmatch(r"[A-Z][A-Za-z]+", word)}
    assert camel - others - set(READY_REASONS) == set()


@pytest.mark.parametrize("reason", READY_REASONS)
def test_every_reason_of_not_being_ready_has_advice(reason):
    texts = advice(subscription(condition("Ready", "False", reason)), "kubectl hookline")
    assert texts
    assert not [text for text in texts if "{" in text.replace('{"spec"', "").replace('{"suspend"', "")]


@pytest.mark.parametrize(
    "reason", [*sorted(set(Reason) - HEALED_BY_ITSELF), "HTTP301", "HTTP404", "HTTP422", "HTTP503"]
)
def test_every_reason_of_a_failure_has_advice(reason):
    conditions = condition("Ready", "True", "Watching"), condition("Delivering", "False", "DeliveryFailing")
    failing = subscription(*conditions, lastFailure={"reason": reason})
    assert summary(failing) == ("failing", "bad")
    assert len(advice(failing, "hookline")) == 1


def test_who_is_well_gets_no_advice():
    well = subscription(condition("Ready", "True", "Watching"), condition("Delivering", "True", "Delivered"))
    assert (summary(well), advice(well, "hookline")) == (("ready", "good"), [])


def test_who_is_suspended_learns_how_to_go_on_though_that_is_as_ready_as_it_is_meant_to_be():
    (text,) = advice(subscription(condition("Ready", "True", "Suspended")), "hookline")
    assert "kubectl patch whsub orders -n shop" in text
    assert '{"spec":{"suspend":false}}' in text


def test_a_status_of_an_older_spec_is_not_believed():
    old = subscription(condition("Ready", "True", "Watching"), generation=2)
    assert summary(old) == ("not looked at yet", "unsure")
    assert "operator" in advice(old, "hookline")[0]


def test_dead_letters_come_with_the_commands_for_them():
    dead = subscription(condition("Ready", "True", "Watching"), deadLettered=2)
    assert advice(dead, "kubectl hookline") == [
        "see what was given up: kubectl hookline deliveries orders -n shop --state dead",
        "when the endpoint works, send it again: kubectl hookline replay orders -n shop",
    ]


def test_fields_that_advice_names_are_in_the_schema():
    schema = (Path(__file__).parents[3] / "crds" / "hookline.dev_webhooksubscriptions.yaml").read_text()
    source = Path(advice.__code__.co_filename).read_text()
    for path in set(re.findall(r"`spec\.([A-Za-z.]+)`", source)):
        for field in path.split("."):
            assert f"{field}:" in schema, path


def rotated(**signing):
    return {
        "metadata": {"name": "orders", "namespace": "shop"},
        "status": {"signing": {"secretName": "s", **signing}},
    }


def test_with_an_overlap_the_receiver_is_told_until_when():
    old = {"entry": "v1", "signsUntil": "2026-02-01T12:00:00Z"}
    lines = sentences(rotated(keys=[{"entry": "v1.20260131T120000Z"}, old], publicKeys=["whpk_x"]), 1769860800)
    assert lines[1] == "The old ones sign beside them until 2026-02-01 12:00:00Z, for 24h."
    assert lines[3].endswith("-o jsonpath='{.data.v1\\.20260131T120000Z}' | base64 -d")
    assert lines[4] == "  ed25519 (v1a), public: whpk_x"


@pytest.mark.parametrize(("now", "left"), [(1769860800.7, "24h"), (1769860800, "24h"), (1769947190, "10s")])
def test_an_overlap_that_began_a_moment_ago_is_told_as_long_as_it_is(now, left):
    old = {"entry": "v1", "signsUntil": "2026-02-01T12:00:00Z"}
    assert sentences(rotated(keys=[{"entry": "v1.new"}, old]), now)[1].endswith(f", for {left}.")


def test_without_an_overlap_the_receiver_is_told_to_hurry():
    old = {"entry": "v1", "signsUntil": "2026-01-31T12:00:00Z"}
    lines = sentences(rotated(keys=[{"entry": "v1.20260131T120000Z"}, old]), 1769860800)
    assert lines[1].startswith("The old ones do not sign any more")


def test_messages_that_wait_for_rights_of_an_earlier_spec_are_told():
    held = subscription(condition("Ready", "False", "MessagesHeld"))
    assert summary(held) == ("messages wait for rights", "bad")
    (text,) = advice(held, "hookline")
    assert "give back the rights that the condition's message names" in text
    assert "after two minutes" in text
