"""Parsing: defaults, every field, and all errors at once for objects that slipped past the schema."""

from pathlib import Path

import pytest
import yaml

from hookline.api.parse import parse
from hookline.api.replay import parse_replay
from hookline.errors import InvalidSpec
from hookline.spec import (
    DEFAULT_SCHEDULE,
    Format,
    HeaderSpec,
    LabelRequirement,
    NamespacesFrom,
    Operation,
    RateLimit,
    SecretRef,
)

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
    assert parse(obj(delivery={"retry": {"schedule": [1, 2]}})).retry.schedule == (1.0, 2.0)


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


LISTENING = {"apiVersion": "v1", "kind": "ConfigMap"}
HEADER = {"name": "X-Team", "value": "a"}


def delivery(**fields):
    return {"delivery": fields}


def listening(**fields):
    return {"sources": [{**LISTENING, **fields}]}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (delivery(timeoutSeconds=0), "delivery.timeoutSeconds"),
        (delivery(timeoutSeconds=31), "delivery.timeoutSeconds"),
        (delivery(timeoutSeconds=True), "delivery.timeoutSeconds"),
        (delivery(maxInFlight=0), "delivery.maxInFlight"),
        (delivery(disableAfterSeconds=-1), "delivery.disableAfterSeconds"),
        (delivery(retry={"maxAttempts": 0}), "delivery.retry.maxAttempts"),
        (delivery(retry={"maxAttempts": 11}), "delivery.retry.maxAttempts"),
        (delivery(retry={"maxAttempts": 1, "schedule": [1]}), "delivery.retry.maxAttempts"),
        (delivery(retry={"maxAgeSeconds": 0}), "delivery.retry.maxAgeSeconds"),
        (delivery(retry={"schedule": ["x"]}), "delivery.retry.schedule[0]"),
        (delivery(retry={"schedule": [-1]}), "delivery.retry.schedule"),
        (delivery(retry={"schedule": []}), "delivery.retry.schedule"),
        (delivery(rateLimit={"perSecond": 1, "burst": 1001}), "delivery.rateLimit.burst"),
        (delivery(rateLimit={"burst": 1}), "delivery.rateLimit.perSecond"),
        ({"signing": {"schemes": ["v1", "v9"]}}, "signing.schemes"),
        ({"signing": {"schemes": ["v1a"]}}, "signing.schemes"),
        ({"signing": {"schemes": [{}]}}, "signing.schemes[0]"),
        ({"filter": {"changed": [{}]}}, "filter.changed[0]"),
        ({"filter": {"changed": [str(number) for number in range(33)]}}, "filter.changed"),
        ({"payload": {"exclude": [1]}}, "payload.exclude[0]"),
        ({"destination": {"url": "https://a.example/", "headers": ["x"]}}, "destination.headers[0]"),
        ({"destination": {"url": "https://a.example/", "headers": [{"value": "a"}]}}, "destination.headers[0].name"),
        (
            {"destination": {"url": "https://a.example/", "headers": [HEADER, {**HEADER, "value": 1}]}},
            "destination.headers[1].value",
        ),
        ({"destination": {"urlFrom": {"secretKeyRef": {"name": {}, "key": "a"}}}}, "destination.urlFrom.secretKeyRef"),
        ({"sources": [LISTENING] * 17}, "sources"),
        (listening(names=[{}]), "sources[0].names[0]"),
        (listening(names=[]), "sources[0].names"),
        (listening(operations=[[]]), "sources[0].operations[0]"),
        (listening(namespaces={"from": "Names"}), "sources[0].namespaces.names"),
        (listening(namespaces={"from": "Selector"}), "sources[0].namespaces.selector"),
        (listening(namespaces={"from": "Names", "names": [1]}), "sources[0].namespaces.names[0]"),
        (listening(labelSelector=["x"]), "sources[0].labelSelector"),
        (listening(labelSelector={"matchLabels": {"a": {}}}), "sources[0].labelSelector.matchLabels.a"),
        (listening(labelSelector={"matchExpressions": ["x"]}), "sources[0].labelSelector.matchExpressions[0]"),
        (
            listening(labelSelector={"matchExpressions": [{"key": "a", "operator": "In", "values": [{}]}]}),
            "sources[0].labelSelector.matchExpressions[0].values[0]",
        ),
        (
            listening(labelSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "sources[0].labelSelector.matchExpressions[0].values",
        ),
    ],
)
def test_what_the_schema_would_refuse_is_an_error_that_names_its_field(spec, field):
    with pytest.raises(InvalidSpec) as caught:
        parse(obj(**spec))
    assert f"spec.{field}" in {error.field for error in caught.value.errors}


def test_selectors_and_headers_are_read():
    labels = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}
    header = {"name": "Authorization", "valueFrom": {"secretKeyRef": {"name": "hook", "key": "token"}}}
    destination = {"url": "https://a.example/", "headers": [HEADER, header]}
    parsed = parse(obj(**listening(labelSelector=labels), destination=destination))
    assert parsed.sources[0].labels.requirements == (
        LabelRequirement("app", "In", frozenset({"web"})),
        LabelRequirement("old", "DoesNotExist"),
    )
    assert parsed.headers == (
        HeaderSpec("X-Team", "a", None),
        HeaderSpec("Authorization", None, SecretRef("hook", "token")),
    )


PARSERS = {"WebhookSubscription": parse, "WebhookReplay": lambda obj: parse_replay(obj, "u")}


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sample_can_be_parsed(path):
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        PARSERS[document["kind"]]({**document, "metadata": {**document["metadata"], "uid": "u", "namespace": "shop"}})
