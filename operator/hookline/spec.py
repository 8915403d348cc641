"""What a ``WebhookSubscription`` declares, parsed and valid: frozen values, no I/O, no behaviour.

Made by the api room; ``hookline.model`` has what passes between the rooms afterwards. Durations are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Operation(StrEnum):
    """What happened to an object."""

    CREATED = "Created"
    UPDATED = "Updated"
    DELETED = "Deleted"


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

    per_second: float
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
class BearerSpec:
    """``Authorization: Bearer`` with a token from a Secret."""

    token: SecretRef


@dataclass(frozen=True, slots=True)
class BasicSpec:
    """``Authorization: Basic`` with ``username`` and ``password`` of a Secret (kubernetes.io/basic-auth)."""

    secret: str


@dataclass(frozen=True, slots=True)
class ApiKeySpec:
    """A header of this name with a value from a Secret."""

    header: str
    value: SecretRef


@dataclass(frozen=True, slots=True)
class ClientCredentialsSpec:
    """OAuth 2.0 client credentials (RFC 6749 §4.4); ``in_body`` is ``client_secret_post``."""

    token_url: str
    client_id: SecretRef
    client_secret: SecretRef
    scopes: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    in_body: bool = False


@dataclass(frozen=True, slots=True)
class ServiceAccountTokenSpec:
    """A token of the subscription's ServiceAccount, for this audience."""

    audience: str
    expiration_seconds: int = 3600


AuthSpec = BearerSpec | BasicSpec | ApiKeySpec | ClientCredentialsSpec | ServiceAccountTokenSpec


@dataclass(frozen=True, slots=True)
class ConfigMapRef:
    """One key of a ConfigMap in the subscription's own namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """What TLS to the destination asks for: an authority, a Secret with a client certificate, a version."""

    authorities: SecretRef | ConfigMapRef | None = None
    certificate: str = ""
    min_version: str = "1.2"


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
    ``unguessable`` and ``handshake`` are of the destination: a generated last path segment, and whether its owner must
    consent first. ``requested_at`` and ``rotate_key`` are the values of the annotations
    ``hookline.dev/requested-at`` and ``hookline.dev/rotate-key``, empty without them.
    ``service_account`` (of the same namespace) bounds what may be watched.
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
    unguessable: bool = False
    handshake: bool = False
    auth: AuthSpec | None = None
    tls: TlsSpec | None = None
    requested_at: str = ""
    rotate_key: str = ""
    service_account: str = "default"

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)
