"""Parsing: defaults, every field, and all errors at once for objects that slipped past the schema."""

from pathlib import Path

import pytest
import yaml

from hookline.api.parse import DEFAULT_SCHEDULE, parse
from hookline.api.replay import parse_replay
from hookline.errors import InvalidSpec
from hookline.model import Format, NamespacesFrom, Operation, RateLimit, SecretRef

SAMPLES = Path(__file__).parents[3] / "crds" / "samples"


def obj(**spec):
    metadata = {"uid": "u", "namespace": "shop", "name": "orders", "generation": 3}
    plain = {"sources": [{"apiVersion": "v1", "kind": "ConfigMap"}], "destination": {"url": "https://a.example/"}}
    return {"metadata": metadata, "spec": {**plain, **spec}}


def test_the_smallest_spec_gets_every_default():
    parsed = parse(obj())
    assert parsed.generation == 3
    assert parsed.sources[0].namespaces_from is NamespacesFrom.SAME
    assert parsed.sources[0].operations == frozenset(Operation)
    assert parsed.payload.format is Format.CLOUD_EVENTS
    assert parsed.payload.exclude == ("metadata.managedFields",)
    assert parsed.schemes == ("v1", "v1a")
    assert parsed.retry.schedule == DEFAULT_SCHEDULE
    assert (parsed.timeout, parsed.max_in_flight) == (15.0, 8)
    assert (parsed.ordered, parsed.rate, parsed.disable_after) == (False, None, 432_000.0)
    assert parsed.requested_at == ""


def test_max_attempts_cuts_the_schedule():
    assert parse(obj(delivery={"retry": {"maxAttempts": 3}})).retry.schedule == (5.0, 300.0)
    assert parse(obj(delivery={"retry": {"maxAttempts": 1}})).retry.schedule == ()
    assert parse(obj(delivery={"retry": {"schedule": [1, 2]}})).retry.max_attempts == 3


def test_order_rate_and_end_are_read():
    parsed = parse(obj(delivery={"ordering": "PerObject", "rateLimit": {"perSecond": 5}, "disableAfterSeconds": 0}))
    assert (parsed.ordered, parsed.rate, parsed.disable_after) == (True, RateLimit(5, 5), 0.0)
    assert parse(obj(delivery={"rateLimit": {"perSecond": 5, "burst": 2}})).rate == RateLimit(5, 2)
    with pytest.raises(InvalidSpec, match=r"spec\.delivery\.ordering"):
        parse(obj(delivery={"ordering": "Global"}))
    with pytest.raises(InvalidSpec, match=r"spec\.delivery\.rateLimit"):
        parse(obj(delivery={"rateLimit": {"perSecond": 0}}))


def test_a_request_is_the_annotations_value_cut_to_what_the_status_can_hold():
    asked = obj()
    asked["metadata"]["annotations"] = {"hookline.dev/requested-at": "x" * 300}
    assert parse(asked).requested_at == "x" * 256


def test_a_url_may_come_from_a_secret():
    parsed = parse(obj(destination={"urlFrom": {"secretKeyRef": {"name": "hook", "key": "url"}}}))
    assert (parsed.url, parsed.url_ref) == (None, SecretRef("hook", "url"))


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(InvalidSpec) as caught:
        parse(
            obj(
                sources=[{"apiVersion": "v1", "kind": "", "operations": ["Renamed"], "namespaces": {"from": "Some"}}],
                destination={},
                delivery={"timeoutSeconds": "15"},
            )
        )
    assert {error.field for error in caught.value.errors} == {
        "spec.sources[0].kind",
        "spec.sources[0].operations",
        "spec.sources[0].namespaces.from",
        "spec.destination",
        "spec.delivery.timeoutSeconds",
    }


@pytest.mark.parametrize(
    "spec", [{"sources": None}, {"sources": ["x"]}, {"sources": {}}, {"filter": []}, {"payload": 1}]
)
def test_an_object_of_the_wrong_shape_is_an_error_and_not_a_crash(spec):
    with pytest.raises(InvalidSpec):
        parse(obj(**spec))


PARSERS = {"WebhookSubscription": parse, "WebhookReplay": lambda obj: parse_replay(obj, "u")}


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sample_can_be_parsed(path):
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        PARSERS[document["kind"]]({**document, "metadata": {**document["metadata"], "uid": "u", "namespace": "shop"}})
