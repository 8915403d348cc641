"""The API as the API server enforces it: what is accepted, what is refused and in which words, what is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane import ControlPlane, ControlPlaneError
from hookline import paths
from hookline.api.parse import parse
from hookline.api.replay import parse_replay
from hookline.spec import Subscription
from support import crd_cases
from support.auth_cases import AUTH_ACCEPTED, AUTH_REFUSED
from support.crd_cases import SMALLEST, Spec, source
from support.evaluating import evaluating
from support.schema import CRDS, SAMPLES, assert_refused, definition, merged, rules, schema_of, unbounded, walk

REFUSED = crd_cases.REFUSED | AUTH_REFUSED
ACCEPTED = crd_cases.ACCEPTED | AUTH_ACCEPTED
CRD, SCHEMA = definition("webhooksubscriptions"), schema_of("webhooksubscriptions")
BOTH = ["webhooksubscriptions", "webhookreplays"]

Send = Callable[[Spec], Any]


@pytest.fixture
def send(control_plane: ControlPlane, crds: object, namespace: str) -> Send:
    """Creates a subscription of this spec, as `kubectl` does, and returns what was stored."""
    path = f"/apis/hookline.dev/v1alpha1/namespaces/{namespace}/webhooksubscriptions?fieldValidation=Strict"

    def create(spec: Spec) -> Any:
        body = {
            "apiVersion": "hookline.dev/v1alpha1",
            "kind": "WebhookSubscription",
            "metadata": {"name": "test"},
            "spec": spec,
        }
        return control_plane.request("POST", path, body)

    return create


# ---- refused and accepted


@pytest.mark.parametrize(("patch", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_not_work_is_refused_with_what_to_write_instead(
    send: Send, patch: Spec, field: str, words: str
) -> None:
    assert_refused(lambda: send(merged(SMALLEST, patch)), field, words)


@pytest.mark.parametrize("patch", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_only_looks_odd_is_accepted(send: Send, patch: Spec) -> None:
    parse(send(merged(SMALLEST, patch)))


def test_every_rule_of_the_schema_has_its_row_in_the_table() -> None:
    assert rules(SCHEMA) - {words for _, _, words in REFUSED.values()} == set()


@pytest.mark.parametrize(
    "patch",
    [{"frobnicate": 1}, source(namespace="shop"), {"delivery": {"retry": {"attempts": 3}}}],
    ids=["in spec", "in a source", "deep down"],
)
def test_an_unknown_field_is_refused(send: Send, patch: Spec) -> None:
    with pytest.raises(ControlPlaneError, match=r"400 .*unknown field"):
        send(merged(SMALLEST, patch))


# ---- stored


def test_defaults_are_stored_so_that_everybody_sees_them(send: Send) -> None:
    assert send(SMALLEST)["spec"] == {
        "suspend": False,
        "serviceAccountName": "default",
        "sources": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "namespaces": {"from": "Same"},
                "operations": ["Created", "Updated", "Deleted"],
            }
        ],
        "payload": {"format": "CloudEvents", "exclude": ["metadata.managedFields"]},
        "destination": {
            "url": "https://hooks.example.com/x",
            "unguessablePath": "Disabled",
            "handshake": "Disabled",
        },
        "signing": {"schemes": ["v1", "v1a"]},
        "delivery": {
            "timeoutSeconds": 15,
            "retry": {"maxAgeSeconds": 604800},
            "maxInFlight": 8,
            "ordering": "None",
            "disableAfterSeconds": 432000,
        },
    }


def test_the_stored_defaults_are_those_of_the_operator(send: Send) -> None:
    """An object from before a default came to be reads the same as one from after."""
    stored = send(SMALLEST)
    assert parse(stored) == parse(stored | {"spec": SMALLEST})


def test_a_new_subscription_is_visibly_pending(send: Send, kubectl: Callable[..., str], namespace: str) -> None:
    send(SMALLEST)
    header, row = kubectl("get", "whsub", "--namespace", namespace).splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "ENDPOINT", "PENDING", "LAST", "SUCCESS", "AGE"]
    assert row.split()[:3] == ["test", "Unknown", "Pending"]
    wide = kubectl("get", "hookline", "--namespace", namespace, "--output", "wide")
    assert "Waiting for the operator; is it running?" in wide


def test_status_is_written_by_its_own_way_and_spec_is_not(
    send: Send, control_plane: ControlPlane, kubectl: Callable[..., str], namespace: str
) -> None:
    stored = send(SMALLEST)
    path = f"/apis/hookline.dev/v1alpha1/namespaces/{namespace}/webhooksubscriptions/test"
    time = "2026-01-31T12:00:00Z"
    ready = {"type": "Ready", "status": "True", "reason": "Watching", "message": "All is well", "observedGeneration": 1}
    status = {
        "observedGeneration": 1,
        "conditions": [ready | {"lastTransitionTime": time}],
        "endpoint": "https://hooks.example.com",
        "pathSecretName": "test-endpoint",
        "handshake": {"proof": "0" * 32, "time": time, "allowedPerMinute": 600},
        "signing": {"secretName": "test-signing", "publicKeys": ["whpk_" + "A" * 44]},
        "watching": [{"resource": "configmaps", "namespaces": [namespace], "since": time}],
        "lastDelivery": {"id": "msg_1", "time": time, "statusCode": 204},
        "lastFailure": {"id": "msg_0", "time": time, "reason": "HTTP503", "statusCode": 503},
        "failingSince": time,
        "disabled": {"reason": "EndpointDisabled", "since": time},
        "lastHandledRequestedAt": time,
        "pending": 3,
        "deadLettered": 1,
        "dropped": 2,
        "lastDrop": {"reason": "too_large", "time": time, "message": "the body has 3 bytes, the limit is 2"},
        "clockSkewSeconds": -4,
    }
    assert set(status) == set(SCHEMA["properties"]["status"]["properties"])

    both = stored | {"status": status, "spec": merged(SMALLEST, {"suspend": True})}
    after = control_plane.request("PUT", f"{path}/status", both)
    assert (after["status"], after["spec"]["suspend"]) == (status, False)

    after = control_plane.request("PUT", path, after | {"status": {"pending": 99}})
    assert after["status"]["pending"] == 3

    _, row = kubectl("get", "whsub", "--namespace", namespace).splitlines()
    assert row.split()[:5] == ["test", "True", "Watching", "https://hooks.example.com", "3"]


# ---- samples


def test_there_are_samples_from_the_smallest_on() -> None:
    assert len(SAMPLES) >= 10
    smallest = (CRDS / "samples" / "smallest.yaml").read_text()
    assert len(smallest[smallest.index("spec:") :].splitlines()) == 6


async def compiled(subscription: Subscription) -> None:
    async with evaluating() as cel:
        if subscription.expression:
            await cel.check(subscription.expression, "spec.filter.expression", boolean=True)
        if subscription.payload.transform:
            await cel.check(subscription.payload.transform, "spec.payload.transform", boolean=False)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_accepted_and_understood(
    sample: Path, crds: object, kubectl: Callable[..., str], namespace: str
) -> None:
    text = sample.read_text()
    assert text.startswith("# "), "says first what it does"
    stored = json.loads(kubectl("create", "--namespace", namespace, "--output=json", "--filename=-", input=text))
    assert stored["metadata"]["name"] == sample.stem
    if stored["kind"] == "WebhookReplay":
        parse_replay(stored, "uid")
        return
    subscription = parse(stored)
    asyncio.run(compiled(subscription))
    for path in (*subscription.changed, *subscription.payload.exclude):
        paths.parse(path, "path")


# ---- the schema itself


@pytest.mark.parametrize(("plural", "least"), [(BOTH[0], 80), (BOTH[1], 20)])
def test_every_field_is_described_and_bounded(plural: str, least: int) -> None:
    fields = [(path, schema) for path, schema in walk(schema_of(plural)) if path != ".metadata"]  # the API server's own
    assert len(fields) > least
    assert [path for path, schema in fields if len(schema.get("description", "")) < 5] == []
    open_ended = {path: missing for path, schema in fields if (missing := unbounded(schema))}
    open_ended.pop(".status.clockSkewSeconds", None)  # negative when the endpoint's clock is behind
    assert open_ended == {}


@pytest.mark.parametrize("plural", BOTH)
def test_nothing_slips_past_the_schema(plural: str) -> None:
    assert "preserve-unknown-fields" not in (CRDS / f"hookline.dev_{plural}.yaml").read_text()
    assert not any("x-kubernetes-embedded-resource" in schema for _, schema in walk(schema_of(plural)))


@pytest.mark.parametrize("plural", BOTH)
def test_every_rule_says_what_must_be(plural: str) -> None:
    for path, schema in walk(schema_of(plural)):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert "must" in rule["message"], path
            assert rule["reason"].startswith("FieldValue"), path


def test_the_kind_is_found_by_its_short_name_and_category_and_not_in_all() -> None:
    assert CRD["metadata"]["name"] == "webhooksubscriptions.hookline.dev"
    assert CRD["spec"]["names"]["shortNames"] == ["whsub"]
    assert CRD["spec"]["names"]["categories"] == ["hookline"]
