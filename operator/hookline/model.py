"""The frozen values that pass between the rooms, in the order of the data's way. No I/O, no clock, no behaviour.

Times are Unix seconds (float) unless a name says otherwise. Objects are what ``orjson.loads`` made of the API
server's JSON: treat them as read-only, they are shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hookline.spec import Operation, RateLimit, RetryPolicy

Object = Mapping[str, Any]


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

    def ground(self, account: str) -> str:
        """What a message from here rests on: that this ServiceAccount may watch it. ``Ground.parse`` reads it."""
        return f"{account} {self.resource.api_version}/{self.resource.plural}@{self.namespace}"


@dataclass(frozen=True, slots=True)
class Ground:
    """The parts of ``Scope.ground``; ``namespace`` is empty for all of them."""

    account: str
    group: str
    version: str
    plural: str
    namespace: str

    @classmethod
    def parse(cls, text: str) -> Ground:
        """Read e.g. ``watcher apps/v1/deployments@shop``: no part can hold what separates them."""
        account, _, place = text.partition(" ")
        resource, _, namespace = place.rpartition("@")
        api_version, _, plural = resource.rpartition("/")
        group, _, version = api_version.rpartition("/")
        return cls(account, group, version, plural, namespace)


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


PING_TYPE = "dev.hookline.ping"


@dataclass(frozen=True, slots=True)
class Message:
    """The exact bytes and headers to send for one event; immutable once stored.

    ``id`` is the ``webhook-id``: deterministic and without a dot. ``headers`` are those of the content
    (``content-type``, ``ce-*``), never credentials and never ``webhook-*``. ``subscription`` is the uid. ``ground`` is
    what made it lawful (``Scope.ground``), empty where that is nothing.
    """

    id: str
    subscription: str
    sequence: int
    object_uid: str
    event_type: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    observed: float
    ground: str = ""

    @property
    def is_ping(self) -> bool:
        """Whether somebody asked for it to see that messages arrive: it tells nothing that happened."""
        return self.event_type == PING_TYPE and not self.ground


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


class Standing(StrEnum):
    """Whether a message may be sent as far as the ServiceAccount is concerned that it rests on.

    UNKNOWN: ask again soon. DENIED: it lacks a right, and has for so long that the message is given up.
    """

    GOOD = "good"
    UNKNOWN = "unknown"
    DENIED = "denied"


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
    ``made`` is False when there was no request: its time was over, or what it rests on is not allowed any more.
    """

    claimed: Claimed
    verdict: Verdict
    started: float
    duration: float
    skew: float | None = None
    current: bool = True
    made: bool = True


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys that sign one subscription's messages: HMAC secrets and ed25519 seeds (raw bytes), newest first."""

    hmac: tuple[bytes, ...] = field(repr=False)
    ed25519: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StaticAuth:
    """A header that authenticates every request alike, its name in lower case: a token, a password, an API key."""

    header: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """OAuth 2.0 client credentials. ``parameters`` are added to the form; ``in_body`` puts id and secret there, too."""

    token_url: str = field(repr=False)
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    in_body: bool = False


@dataclass(frozen=True, slots=True)
class ServiceAccountToken:
    """Tokens of the cluster: for which ServiceAccount, which audience, how many seconds."""

    namespace: str
    name: str
    audience: str
    expiration_seconds: int


Auth = StaticAuth | ClientCredentials | ServiceAccountToken


@dataclass(frozen=True, slots=True, weakref_slot=True)
class TlsProfile:
    """What TLS to one destination asks for beyond the usual, PEM texts resolved; empty where it does not.

    ``authorities`` replace those of the system. ``min_version`` is 1.2 or 1.3.
    """

    authorities: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how a subscription's messages go: all that the deliver room needs, secrets resolved.

    ``paused`` keeps messages in the outbox (suspended, or something is missing). ``origin`` is the name under which the
    endpoint's owner consented to get messages, and which each then carries; empty where nobody was asked.
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
    origin: str = ""
    auth: Auth | None = field(default=None, repr=False)
    tls: TlsProfile | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Consent:
    """What is known of an endpoint's consent to get messages.

    ``proof`` stands for the URL that its owner consented to, empty before; ``per_minute`` is how many requests (None:
    any number). ``problem`` says why the last question brought none.
    """

    proof: str = ""
    since: float = 0.0
    per_minute: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KeyTime:
    """An entry of a signing Secret, and until when its key signs (Unix seconds; None: it is the newest)."""

    entry: str
    until: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the controller found out about one generation of a subscription's spec.

    ``accepted`` and ``reason``/``message`` speak of the spec; ``blocked`` is the reason why an accepted one is not
    ready (a Secret is missing, it is suspended), empty when nothing stands in the way. ``endpoint`` is scheme and host.
    ``public_keys`` is None when the signing Secret was not read. ``path_secret`` names the Secret of a generated path.
    ``key_times`` has all keys of the signing Secret, ``rotated`` the last request for a new one that was carried out,
    ``rotation_problem`` why one was not.
    """

    generation: int
    accepted: bool
    reason: str
    message: str
    blocked: str = ""
    endpoint: str = ""
    signing_secret: str = ""
    public_keys: tuple[str, ...] | None = None
    path_secret: str = ""
    key_times: tuple[KeyTime, ...] = ()
    rotated: str = ""
    rotation_problem: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Whether a subscription's ServiceAccount may read what it watches; None: that can't be asked now.

    ``message`` says it for people, and what to do. ``holds`` says that nothing is sent all the same, for the sake of
    messages of an earlier spec.
    """

    granted: bool | None
    message: str
    holds: bool = False


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
