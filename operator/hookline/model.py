"""The frozen values that pass between the rooms, in the order of the data's way. No I/O, no clock, no behaviour.

Times are Unix seconds (float) unless a name says otherwise. Objects are what ``orjson.loads`` made of the API
server's JSON: treat them as read-only, they are shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Object = Mapping[str, Any]


class Operation(StrEnum):
    """What happened to an object."""

    CREATED = "Created"
    UPDATED = "Updated"
    DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource, as discovery tells it (``apps/v1``, ``Deployment``, ``deployments``)."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def base_path(self) -> str:
        """``/api/v1`` or ``/apis/<group>/<version>``."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def path(self, namespace: str = "") -> str:
        """The collection's path, of one namespace or (empty) of all."""
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.base_path}{scope}/{self.plural}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What one informer watches: a resource, in one namespace or (empty) all, narrowed by a field selector."""

    resource: Resource
    namespace: str = ""
    field_selector: str = ""

    @property
    def key(self) -> str:
        """A stable name for stores and logs, e.g. ``apps/v1/deployments@shop?status.phase=Failed``."""
        selector = f"?{self.field_selector}" if self.field_selector else ""
        return f"{self.resource.api_version}/{self.resource.plural}@{self.namespace or '*'}{selector}"


@dataclass(frozen=True, slots=True)
class Change:
    """One observed change of one object.

    ``object`` is the state after the change, for DELETED the last known state. ``old`` is the state before it as far
    as it was kept (None for CREATED, or when nothing was kept). ``partial`` says that ``object`` or ``old`` holds only
    metadata. ``coalesced`` says that several changes may have become one (after a gap in the watch).
    """

    scope: Scope
    operation: Operation
    object: Object
    old: Object | None
    resource_version: str
    observed: float
    coalesced: bool = False
    partial: bool = False

    @property
    def uid(self) -> str:
        """The object's uid."""
        uid: str = self.object["metadata"]["uid"]
        return uid


@dataclass(frozen=True, slots=True)
class Seen:
    """The last-seen state of one object of an informer: what a later re-list is compared with.

    ``projection`` holds the whole object where a filter or payload needs the old one, else its metadata, in the watch
    room's own encoding.
    """

    uid: str
    resource_version: str
    projection: bytes
    full: bool


@dataclass(frozen=True, slots=True)
class Message:
    """The exact bytes and headers to send for one event; immutable once stored.

    ``id`` is the ``webhook-id``: deterministic and without a dot. ``headers`` are those of the content
    (``content-type``, ``ce-*``), never credentials and never ``webhook-*``. ``subscription`` is the uid.
    """

    id: str
    subscription: str
    sequence: int
    object_uid: str
    event_type: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    observed: float


@dataclass(frozen=True, slots=True)
class Claimed:
    """A stored message, handed out for an attempt. ``row`` is the store's own key, ``attempts`` those before.

    ``stored`` is when it was stored, or when a replay last asked for it: since then its age counts.
    """

    row: int
    message: Message
    attempts: int
    stored: float


class Outcome(StrEnum):
    """The classes of an attempt's result, as in the metric label."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one attempt means for the message.

    ``reason`` is CamelCase from a fixed set (``Delivered``, ``HTTP503``, ``Timeout``, ``TLSFailed``, ``Unreachable``,
    ``DestinationRefused``, ``Protocol``, …). ``retry_at`` is set when the outcome is RETRY. ``gone`` says that the
    endpoint answered 410 and wants no more of anything.
    """

    outcome: Outcome
    reason: str
    status_code: int | None = None
    retry_at: float | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request for a message, and its verdict. ``skew`` is the receiver's clock minus ours, in seconds.

    ``current`` is False when the target was changed or given another chance since: it says nothing of the new one.
    """

    claimed: Claimed
    verdict: Verdict
    started: float
    duration: float
    skew: float | None = None
    current: bool = True


DEFAULT_SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds to wait before attempts 2 to 10, the first being made at once (Standard Webhooks, "Retry schedule").

All ten take 75 h 35 min 5 s without jitter.
"""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds to wait before each attempt after the first; its length bounds the number of attempts."""

    schedule: tuple[float, ...]
    max_age: float


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Attempts per second on average, and how many may begin at once."""

    per_second: int
    burst: int


@dataclass(frozen=True, slots=True)
class SecretRef:
    """One key of a Secret in the subscription's own namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class HeaderSpec:
    """A custom header: a literal value or one from a Secret."""

    name: str
    value: str | None
    ref: SecretRef | None


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One requirement of a label selector (``In``, ``NotIn``, ``Exists``, ``DoesNotExist``)."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A Kubernetes label selector, all requirements joined by and; empty selects everything."""

    requirements: tuple[LabelRequirement, ...] = ()


class NamespacesFrom(StrEnum):
    """Which namespaces a source listens to."""

    SAME = "Same"
    ALL = "All"
    NAMES = "Names"
    SELECTOR = "Selector"


@dataclass(frozen=True, slots=True)
class Source:
    """One thing a subscription listens to."""

    api_version: str
    kind: str
    namespaces_from: NamespacesFrom = NamespacesFrom.SAME
    namespaces: frozenset[str] = frozenset()
    namespace_selector: LabelSelector = LabelSelector()
    names: frozenset[str] = frozenset()
    labels: LabelSelector = LabelSelector()
    field_selector: str = ""
    operations: frozenset[Operation] = frozenset(Operation)


class Format(StrEnum):
    """The envelope of a message's body."""

    CLOUD_EVENTS = "CloudEvents"
    CLOUD_EVENTS_BINARY = "CloudEventsBinary"
    STANDARD_WEBHOOKS = "StandardWebhooks"
    RAW = "Raw"


class Content(StrEnum):
    """How much of the object a payload carries."""

    FULL = "Full"
    METADATA = "Metadata"
    CHANGES = "Changes"


@dataclass(frozen=True, slots=True)
class Payload:
    """How an event becomes a body. ``transform`` is CEL source, ``exclude`` are dotted paths to leave out."""

    format: Format = Format.CLOUD_EVENTS
    type: str = ""
    content: Content = Content.FULL
    transform: str = ""
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscription:
    """One ``WebhookSubscription``, parsed and valid, before anything it refers to was looked up.

    ``ordered`` keeps the messages of each object in order; ``disable_after`` is in seconds, 0 for never;
    ``requested_at`` is the value of the annotation ``hookline.dev/requested-at``, empty without one.
    """

    uid: str
    namespace: str
    name: str
    generation: int
    suspend: bool
    sources: tuple[Source, ...]
    changed: tuple[str, ...]
    expression: str
    payload: Payload
    url: str | None
    url_ref: SecretRef | None
    headers: tuple[HeaderSpec, ...]
    signing_secret: str
    schemes: tuple[str, ...]
    timeout: float
    retry: RetryPolicy
    max_in_flight: int
    ordered: bool = False
    rate: RateLimit | None = None
    disable_after: float = 432_000.0
    requested_at: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys that sign one subscription's messages: HMAC secrets and ed25519 seeds (raw bytes), newest first."""

    hmac: tuple[bytes, ...] = field(repr=False)
    ed25519: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how a subscription's messages go: all that the deliver room needs, secrets resolved.

    ``paused`` keeps messages in the outbox (suspended, or something is missing).
    """

    subscription: str
    namespace: str
    name: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    keys: SigningKeys = field(repr=False)
    schemes: tuple[str, ...]
    timeout: float
    retry: RetryPolicy
    max_in_flight: int
    paused: bool = False
    ordered: bool = False
    rate: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the controller found out about one generation of a subscription's spec.

    ``accepted`` and ``reason``/``message`` speak of the spec; ``blocked`` is the reason why an accepted one is not
    ready (a Secret is missing, it is suspended), empty when nothing stands in the way. ``endpoint`` is scheme and host.
    ``public_keys`` is None when the signing Secret was not read.
    """

    generation: int
    accepted: bool
    reason: str
    message: str
    blocked: str = ""
    endpoint: str = ""
    signing_secret: str = ""
    public_keys: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class WatchCommit:
    """What one step of an informer makes durable, all in one transaction.

    ``messages`` go to the outbox; ``seen`` and ``forgotten`` (uids) update the last-seen index of ``scope_key``;
    ``resource_version`` is the checkpoint, None to leave it as it is.
    """

    scope_key: str
    messages: Sequence[Message] = ()
    seen: Sequence[Seen] = ()
    forgotten: Sequence[str] = ()
    resource_version: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """A subscription's messages by state, and the bytes (headers and bodies) of those that wait.

    The bytes follow from the messages: two are equal when the numbers are.
    """

    pending: int = 0
    delivered: int = 0
    dead: int = 0
    pending_bytes: int = field(default=0, compare=False)
