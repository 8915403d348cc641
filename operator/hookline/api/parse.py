"""From a ``WebhookSubscription`` as the API server stores it to a ``Subscription``, or to a list of field errors.

The CRD's schema has refused most nonsense already; what it can't see is checked here: paths and expressions are read
by those who use them. An object that slipped past the schema (an older CRD) gives errors, never a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from hookline import reasons
from hookline.errors import InvalidSpec, SpecError
from hookline.model import (
    Content,
    Format,
    HeaderSpec,
    LabelRequirement,
    LabelSelector,
    NamespacesFrom,
    Object,
    Operation,
    Payload,
    RateLimit,
    RetryPolicy,
    SecretRef,
    Source,
    Subscription,
)

DEFAULT_SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
DEFAULT_MAX_AGE = 7 * 86400.0
DEFAULT_DISABLE_AFTER = 432_000
DEFAULT_EXCLUDE = ("metadata.managedFields",)
REQUEST_LIMIT = 256


class Ordering(StrEnum):
    """The values of ``spec.delivery.ordering``."""

    NONE = "None"
    PER_OBJECT = "PerObject"


def parse(obj: Object) -> Subscription:
    """Read one object. Raises InvalidSpec with everything that is wrong."""
    reader = _Reader()
    metadata, spec = obj["metadata"], reader.get(obj, "spec", dict, {}, "")
    payload = reader.get(spec, "payload", dict, {}, "spec")
    destination = reader.get(spec, "destination", dict, {}, "spec")
    delivery = reader.get(spec, "delivery", dict, {}, "spec")
    signing = reader.get(spec, "signing", dict, {}, "spec")
    filters = reader.get(spec, "filter", dict, {}, "spec")
    raw_sources = reader.get(spec, "sources", list, [], "spec")
    if not raw_sources:
        reader.fail("spec.sources", "must list at least one source")
    url, url_ref = _url(reader, destination)
    subscription = Subscription(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        generation=metadata.get("generation", 0),
        suspend=reader.get(spec, "suspend", bool, default=False, where="spec"),
        sources=tuple(_source(reader, raw, f"spec.sources[{index}]") for index, raw in enumerate(raw_sources)),
        changed=tuple(reader.get(filters, "changed", list, [], "spec.filter")),
        expression=reader.get(filters, "expression", str, "", "spec.filter"),
        payload=_payload(reader, payload),
        url=url,
        url_ref=url_ref,
        headers=_headers(reader, destination),
        signing_secret=reader.get(signing, "secretName", str, "", "spec.signing"),
        schemes=tuple(reader.get(signing, "schemes", list, ["v1", "v1a"], "spec.signing")),
        timeout=float(reader.get(delivery, "timeoutSeconds", int, 15, "spec.delivery")),
        retry=_retry(reader, delivery),
        max_in_flight=reader.get(delivery, "maxInFlight", int, 8, "spec.delivery"),
        ordered=reader.member(delivery, "ordering", Ordering, Ordering.NONE, "spec.delivery") is Ordering.PER_OBJECT,
        rate=_rate(reader, delivery),
        disable_after=float(reader.get(delivery, "disableAfterSeconds", int, DEFAULT_DISABLE_AFTER, "spec.delivery")),
        requested_at=str((metadata.get("annotations") or {}).get(reasons.REQUESTED_AT, ""))[:REQUEST_LIMIT],
    )
    if reader.errors:
        raise InvalidSpec(reader.errors)
    return subscription


T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class _Reader:
    """Reads fields of the right type and collects what is wrong."""

    def __init__(self) -> None:
        self.errors: list[SpecError] = []

    def fail(self, field: str, message: str) -> None:
        self.errors.append(SpecError("InvalidSpec", field, message))

    def get(self, obj: Mapping[str, Any], key: str, kind: type[T], default: T, where: str) -> T:
        value = obj.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(f"{where}.{key}".lstrip("."), f"must be of the type {kind.__name__}, not {type(value).__name__}")
            return default
        return value

    def member(self, obj: Mapping[str, Any], key: str, kind: type[E], default: E, where: str) -> E:
        value = obj.get(key)
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError:
            self.fail(f"{where}.{key}", f"must be one of {', '.join(kind)}, not {value!r}")
            return default


def _source(reader: _Reader, raw: Any, where: str) -> Source:
    if not isinstance(raw, Mapping):
        reader.fail(where, "must be a map")
        return Source("", "")
    namespaces = reader.get(raw, "namespaces", dict, {}, where)
    operations = reader.get(raw, "operations", list, [], where)
    unknown = [operation for operation in operations if operation not in set(Operation)]
    if unknown:
        reader.fail(f"{where}.operations", f"must be of {', '.join(Operation)}, not {unknown[0]!r}")
    for key in ("apiVersion", "kind"):
        if not raw.get(key):
            reader.fail(f"{where}.{key}", "must be set")
    return Source(
        api_version=reader.get(raw, "apiVersion", str, "", where),
        kind=reader.get(raw, "kind", str, "", where),
        namespaces_from=reader.member(namespaces, "from", NamespacesFrom, NamespacesFrom.SAME, f"{where}.namespaces"),
        namespaces=frozenset(reader.get(namespaces, "names", list, [], f"{where}.namespaces")),
        namespace_selector=_selector(reader, namespaces.get("selector"), f"{where}.namespaces.selector"),
        names=frozenset(reader.get(raw, "names", list, [], where)),
        labels=_selector(reader, raw.get("labelSelector"), f"{where}.labelSelector"),
        field_selector=reader.get(raw, "fieldSelector", str, "", where),
        operations=frozenset(Operation(item) for item in operations if item not in unknown) or frozenset(Operation),
    )


def _selector(reader: _Reader, raw: Any, where: str) -> LabelSelector:
    if not isinstance(raw, Mapping):
        if raw is not None:
            reader.fail(where, "must be a label selector")
        return LabelSelector()
    requirements = [
        LabelRequirement(key, "In", frozenset({value}))
        for key, value in reader.get(raw, "matchLabels", dict, {}, where).items()
    ]
    for index, item in enumerate(reader.get(raw, "matchExpressions", list, [], where)):
        operator = item.get("operator")
        values = frozenset(item.get("values") or ())
        if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            reader.fail(f"{where}.matchExpressions[{index}].operator", f"must not be {operator!r}")
        elif (operator in ("In", "NotIn")) != bool(values):
            reader.fail(f"{where}.matchExpressions[{index}].values", f"must fit the operator {operator}")
        requirements.append(LabelRequirement(item.get("key", ""), operator or "", values))
    return LabelSelector(tuple(requirements))


def _payload(reader: _Reader, raw: Mapping[str, Any]) -> Payload:
    return Payload(
        format=reader.member(raw, "format", Format, Format.CLOUD_EVENTS, "spec.payload"),
        type=reader.get(raw, "type", str, "", "spec.payload"),
        content=reader.member(raw, "content", Content, Content.FULL, "spec.payload"),
        transform=reader.get(raw, "transform", str, "", "spec.payload"),
        exclude=tuple(reader.get(raw, "exclude", list, list(DEFAULT_EXCLUDE), "spec.payload")),
    )


def _url(reader: _Reader, destination: Mapping[str, Any]) -> tuple[str | None, SecretRef | None]:
    url = reader.get(destination, "url", str, "", "spec.destination") or None
    raw_ref = reader.get(destination, "urlFrom", dict, {}, "spec.destination")
    ref = _secret_ref(reader, raw_ref, "spec.destination.urlFrom") if raw_ref else None
    if (url is None) == (ref is None):
        reader.fail("spec.destination", "must have exactly one of `url` and `urlFrom`")
    return url, ref


def _secret_ref(reader: _Reader, raw: Mapping[str, Any], where: str) -> SecretRef:
    ref = reader.get(raw, "secretKeyRef", dict, {}, where)
    name, key = ref.get("name"), ref.get("key")
    if not name or not key:
        reader.fail(f"{where}.secretKeyRef", "must have `name` and `key`")
    return SecretRef(name or "", key or "")


def _headers(reader: _Reader, destination: Mapping[str, Any]) -> tuple[HeaderSpec, ...]:
    headers = []
    for index, raw in enumerate(reader.get(destination, "headers", list, [], "spec.destination")):
        where = f"spec.destination.headers[{index}]"
        ref = _secret_ref(reader, raw["valueFrom"], f"{where}.valueFrom") if raw.get("valueFrom") else None
        value = raw.get("value")
        if (value is None) == (ref is None):
            reader.fail(where, "must have exactly one of `value` and `valueFrom`")
        headers.append(HeaderSpec(raw.get("name", ""), value, ref))
    return tuple(headers)


def _retry(reader: _Reader, delivery: Mapping[str, Any]) -> RetryPolicy:
    raw = reader.get(delivery, "retry", dict, {}, "spec.delivery")
    schedule: Sequence[float] = reader.get(raw, "schedule", list, list(DEFAULT_SCHEDULE), "spec.delivery.retry")
    attempts = reader.get(raw, "maxAttempts", int, len(schedule) + 1, "spec.delivery.retry")
    max_age = reader.get(raw, "maxAgeSeconds", int, int(DEFAULT_MAX_AGE), "spec.delivery.retry")
    return RetryPolicy(tuple(float(wait) for wait in schedule[: attempts - 1]), float(max_age))


def _rate(reader: _Reader, delivery: Mapping[str, Any]) -> RateLimit | None:
    where = "spec.delivery.rateLimit"
    raw = reader.get(delivery, "rateLimit", dict, {}, "spec.delivery")
    if not raw:
        return None
    per_second = reader.get(raw, "perSecond", int, 0, where)
    burst = reader.get(raw, "burst", int, per_second, where)
    if per_second < 1 or burst < 1:
        reader.fail(where, "must have `perSecond` and `burst` of at least 1")
        return None
    return RateLimit(per_second, burst)
