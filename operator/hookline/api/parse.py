"""From a ``WebhookSubscription`` as the API server stores it to a ``Subscription``, or to a list of field errors.

The CRD's schema has refused most nonsense already; what it can't see is checked here: paths and expressions are read
by those who use them. An object that slipped past the schema (an older CRD) gives errors, never a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from hookline import reasons
from hookline.api.destination import read_auth, read_headers, read_tls, read_url
from hookline.api.fields import Reader
from hookline.errors import InvalidSpec
from hookline.model import Object
from hookline.spec import (
    DEFAULT_SCHEDULE,
    Content,
    Format,
    LabelRequirement,
    LabelSelector,
    NamespacesFrom,
    Operation,
    Payload,
    RateLimit,
    RetryPolicy,
    Source,
    Subscription,
)

DEFAULT_MAX_AGE = 604_800
DEFAULT_DISABLE_AFTER = 432_000
DEFAULT_EXCLUDE = ("metadata.managedFields",)
REQUEST_LIMIT = 256
DAY = 86_400
MONTH = 30 * DAY
NAMES_LIMIT = 64


class Scheme(StrEnum):
    """The values of ``spec.signing.schemes``."""

    V1 = "v1"
    V1A = "v1a"


class Operator(StrEnum):
    """The operators of a label selector."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class UnguessablePath(StrEnum):
    """The values of ``spec.destination.unguessablePath``."""

    DISABLED = "Disabled"
    GENERATED = "Generated"


class Handshake(StrEnum):
    """The values of ``spec.destination.handshake``."""

    DISABLED = "Disabled"
    CLOUD_EVENTS = "CloudEvents"


class Ordering(StrEnum):
    """The values of ``spec.delivery.ordering``."""

    NONE = "None"
    PER_OBJECT = "PerObject"


def parse(obj: Object) -> Subscription:
    """Read one object. Raises InvalidSpec with everything that is wrong."""
    reader = Reader()
    metadata, spec = obj["metadata"], reader.get(obj, "spec", dict, {}, "")
    payload = reader.get(spec, "payload", dict, {}, "spec")
    destination = reader.get(spec, "destination", dict, {}, "spec")
    delivery = reader.get(spec, "delivery", dict, {}, "spec")
    signing = reader.get(spec, "signing", dict, {}, "spec")
    filters = reader.get(spec, "filter", dict, {}, "spec")
    raw_sources = reader.items(spec, "sources", dict, [], "spec", most=16)
    if not raw_sources and "spec.sources" not in reader.fields:
        reader.fail("spec.sources", "must list at least one source")
    schemes = reader.members(signing, "schemes", Scheme, "spec.signing")
    if Scheme.V1 not in schemes:
        reader.fail("spec.signing.schemes", "must have v1, which every receiver understands")
    url, url_ref = read_url(reader, destination)
    subscription = Subscription(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        generation=metadata.get("generation", 0),
        suspend=reader.get(spec, "suspend", bool, default=False, where="spec"),
        sources=tuple(_source(reader, raw, f"spec.sources[{index}]") for index, raw in enumerate(raw_sources)),
        changed=tuple(reader.items(filters, "changed", str, [], "spec.filter")),
        expression=reader.get(filters, "expression", str, "", "spec.filter"),
        payload=_payload(reader, payload),
        url=url,
        url_ref=url_ref,
        headers=read_headers(reader, destination),
        auth=read_auth(reader, destination),
        tls=read_tls(reader, destination),
        signing_secret=reader.get(signing, "secretName", str, "", "spec.signing"),
        schemes=tuple(map(str, schemes)),
        timeout=float(reader.number(delivery, "timeoutSeconds", 15, "spec.delivery", 1, 30)),
        retry=_retry(reader, delivery),
        max_in_flight=reader.number(delivery, "maxInFlight", 8, "spec.delivery", 1, 64),
        ordered=reader.member(delivery, "ordering", Ordering, Ordering.NONE, "spec.delivery") is Ordering.PER_OBJECT,
        rate=_rate(reader, delivery),
        disable_after=float(
            reader.number(delivery, "disableAfterSeconds", DEFAULT_DISABLE_AFTER, "spec.delivery", 0, MONTH)
        ),
        unguessable=reader.member(
            destination, "unguessablePath", UnguessablePath, UnguessablePath.DISABLED, "spec.destination"
        )
        is UnguessablePath.GENERATED,
        handshake=reader.member(destination, "handshake", Handshake, Handshake.DISABLED, "spec.destination")
        is Handshake.CLOUD_EVENTS,
        service_account=reader.get(spec, "serviceAccountName", str, "", "spec") or "default",
        requested_at=str((metadata.get("annotations") or {}).get(reasons.REQUESTED_AT, ""))[:REQUEST_LIMIT],
        rotate_key=str((metadata.get("annotations") or {}).get(reasons.ROTATE_KEY, ""))[:REQUEST_LIMIT],
    )
    if reader.errors:
        raise InvalidSpec(reader.errors)
    return subscription


def _source(reader: Reader, raw: Mapping[str, Any], where: str) -> Source:
    namespaces = reader.get(raw, "namespaces", dict, {}, where)
    for key in ("apiVersion", "kind"):
        if not raw.get(key):
            reader.fail(f"{where}.{key}", "must be set")
    chosen = reader.member(namespaces, "from", NamespacesFrom, NamespacesFrom.SAME, f"{where}.namespaces")
    for key, needed_by in (("names", NamespacesFrom.NAMES), ("selector", NamespacesFrom.SELECTOR)):
        if chosen is needed_by and not namespaces.get(key):
            reader.fail(f"{where}.namespaces.{key}", f"must be set when `from` is {needed_by}")
    return Source(
        api_version=reader.get(raw, "apiVersion", str, "", where),
        kind=reader.get(raw, "kind", str, "", where),
        namespaces_from=chosen,
        namespaces=frozenset(reader.items(namespaces, "names", str, [], f"{where}.namespaces", most=NAMES_LIMIT)),
        namespace_selector=_selector(reader, namespaces, "selector", f"{where}.namespaces"),
        names=frozenset(reader.items(raw, "names", str, [], where, most=NAMES_LIMIT)),
        labels=_selector(reader, raw, "labelSelector", where),
        field_selector=reader.get(raw, "fieldSelector", str, "", where),
        operations=frozenset(reader.members(raw, "operations", Operation, where)),
    )


def _selector(reader: Reader, parent: Mapping[str, Any], key: str, where: str) -> LabelSelector:
    raw, where = reader.get(parent, key, dict, {}, where), f"{where}.{key}"
    labels = reader.get(raw, "matchLabels", dict, {}, where)
    requirements = [
        LabelRequirement(label, "In", frozenset({reader.get(labels, label, str, "", f"{where}.matchLabels")}))
        for label in labels
    ]
    for index, item in enumerate(reader.items(raw, "matchExpressions", dict, [], where, least=0, most=16)):
        here = f"{where}.matchExpressions[{index}]"
        label = reader.get(item, "key", str, "", here)
        operator = reader.member(item, "operator", Operator, None, here)
        values = frozenset(reader.items(item, "values", str, [], here, least=0))
        if not label or operator is None:
            reader.fail(here, "must have `key` and `operator`")
        elif (operator in (Operator.IN, Operator.NOT_IN)) != bool(values):
            reader.fail(f"{here}.values", f"must fit the operator {operator}")
        requirements.append(LabelRequirement(label, str(operator), values))
    return LabelSelector(tuple(requirements))


def _payload(reader: Reader, raw: Mapping[str, Any]) -> Payload:
    return Payload(
        format=reader.member(raw, "format", Format, Format.CLOUD_EVENTS, "spec.payload"),
        type=reader.get(raw, "type", str, "", "spec.payload"),
        content=reader.member(raw, "content", Content, Content.FULL, "spec.payload"),
        transform=reader.get(raw, "transform", str, "", "spec.payload"),
        exclude=tuple(reader.items(raw, "exclude", str, list(DEFAULT_EXCLUDE), "spec.payload", least=0)),
    )


def _retry(reader: Reader, delivery: Mapping[str, Any]) -> RetryPolicy:
    where = "spec.delivery.retry"
    raw = reader.get(delivery, "retry", dict, {}, "spec.delivery")
    max_age = float(reader.number(raw, "maxAgeSeconds", DEFAULT_MAX_AGE, where, 1, MONTH))
    if raw.get("schedule") is None:
        most = len(DEFAULT_SCHEDULE) + 1
        attempts = reader.number(raw, "maxAttempts", most, where, 1, most)
        return RetryPolicy(DEFAULT_SCHEDULE[: attempts - 1], max_age)
    if raw.get("maxAttempts") is not None:
        reader.fail(f"{where}.maxAttempts", "must not be set together with `schedule`")
    schedule = reader.items(raw, "schedule", int, [], where)
    if not all(0 <= wait <= DAY for wait in schedule):
        reader.fail(f"{where}.schedule", f"must have waits of 0 to {DAY} seconds")
    return RetryPolicy(tuple(float(wait) for wait in schedule), max_age)


def _rate(reader: Reader, delivery: Mapping[str, Any]) -> RateLimit | None:
    where = "spec.delivery.rateLimit"
    raw = reader.get(delivery, "rateLimit", dict, {}, "spec.delivery")
    if not raw:
        return None
    if raw.get("perSecond") is None:
        reader.fail(f"{where}.perSecond", "must be set")
    per_second = reader.number(raw, "perSecond", 1, where, 1, 1000)
    return RateLimit(per_second, reader.number(raw, "burst", per_second, where, 1, 1000))
