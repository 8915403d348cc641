"""Every condition type and reason, with the sentence that explains it. The words of the status, in one place.

Conditions (all of them on every subscription from the first look on):

- ``Accepted``: the spec can be used. False reasons: InvalidSpec, InvalidExpression, ResourceNotServed, KindRefused,
  DestinationRefused, QuotaExceeded (older subscriptions of the namespace fill it).
- ``Authorized``: its ServiceAccount may get, list and watch every source. False: AccessDenied; the subscription is not
  in force and its messages are kept. Unknown: AccessUnknown, the API server can't be asked, messages are kept; Pending.
- ``Delivering``: the last attempt reached the endpoint. False: DeliveryFailing, or DestinationRefused when its name
  resolved to an address that deliveries may not reach. Unknown: NothingSentYet.
- ``ClockSynchronized``: the endpoint's clock and ours differ by less than receivers tolerate. Its reasons say how much:
  ClockInStep, ClockDrifting (look at it before it matters), ClockSkewed (False). Unknown: ClockNotMeasured. It says
  nothing of Ready: an endpoint that does not verify is not harmed.
- ``Ready``: what the spec asks for is in force: changes are watched, and messages are sent (Watching), or kept where it
  says so (Suspended). False: what of the above or below stands in the way.
  InternalError is a fault of Hookline's own, told by its log; it is tried again.
  MessagesHeld: messages of an earlier spec lack a right; they hold the others until they are given up.
  HandshakePending and HandshakeFailed: the endpoint's owner has not consented yet, nothing is sent.
  EndpointGone (it answered 410) and EndpointDisabled (nothing but failures for too long) send nothing until somebody
  asks; Overflow drops new events.
- ``Reconciling`` and ``Stalled`` (kstatus): present only while True. Reconciling: it may heal by itself. Stalled:
  somebody must change the spec.

A replay has ``Complete`` (all were delivered again), ``Failed`` (only while true: it ended, and not all were), and the
two of kstatus. Reasons: Replaying, Replayed, NothingSelected, NotAllDelivered, SubscriptionNotFound, InvalidSpec.
"""

from __future__ import annotations

from enum import StrEnum

READY = "Ready"
ACCEPTED = "Accepted"
DELIVERING = "Delivering"
AUTHORIZED = "Authorized"
CLOCK_SYNCHRONIZED = "ClockSynchronized"
RECONCILING = "Reconciling"
STALLED = "Stalled"
COMPLETE = "Complete"
FAILED = "Failed"

GROUP = "hookline.dev"
AUDIENCE = GROUP
"""Whom tokens for the operator's own API are for. No receiver gets one."""
VERSION = "v1alpha1"
PLURAL = "webhooksubscriptions"
KIND = "WebhookSubscription"
REPLAY_PLURAL = "webhookreplays"
REQUESTED_AT = "hookline.dev/requested-at"
ROTATE_KEY = "hookline.dev/rotate-key"

# Accepted
VALID = "Valid"
INVALID_SPEC = "InvalidSpec"
RESOURCE_NOT_SERVED = "ResourceNotServed"
KIND_REFUSED = "KindRefused"
DESTINATION_REFUSED = "DestinationRefused"
QUOTA_EXCEEDED = "QuotaExceeded"

ADDRESS_REFUSED = "the destination resolves to an address that deliveries may not reach; an administrator can allow it"

# Ready
WATCHING = "Watching"
PENDING = "Pending"
SUSPENDED = "Suspended"
SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 (a reason, no secret)
SECRET_INVALID = "SecretInvalid"  # noqa: S105
CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
CONFIG_MAP_INVALID = "ConfigMapInvalid"
WATCH_FAILING = "WatchFailing"
STORE_FAILING = "StoreFailing"
API_FAILING = "ApiFailing"
INTERNAL_ERROR = "InternalError"
ENDPOINT_GONE = "EndpointGone"
ENDPOINT_DISABLED = "EndpointDisabled"
OVERFLOW = "Overflow"
HANDSHAKE_PENDING = "HandshakePending"
HANDSHAKE_FAILED = "HandshakeFailed"

# Authorized
ACCESS_GRANTED = "AccessGranted"
ACCESS_DENIED = "AccessDenied"
ACCESS_UNKNOWN = "AccessUnknown"
MESSAGES_HELD = "MessagesHeld"

# Delivering
NOTHING_SENT_YET = "NothingSentYet"
DELIVERED = "Delivered"
DELIVERY_FAILING = "DeliveryFailing"

# ClockSynchronized
CLOCK_IN_STEP = "ClockInStep"
CLOCK_DRIFTING = "ClockDrifting"
CLOCK_SKEWED = "ClockSkewed"
CLOCK_NOT_MEASURED = "ClockNotMeasured"

# Complete
REPLAYING = "Replaying"
REPLAYED = "Replayed"
NOTHING_SELECTED = "NothingSelected"
NOT_ALL_DELIVERED = "NotAllDelivered"
SUBSCRIPTION_NOT_FOUND = "SubscriptionNotFound"

# These heal without anybody touching the spec.
TRANSIENT = frozenset(
    {
        *(HANDSHAKE_PENDING, HANDSHAKE_FAILED, QUOTA_EXCEEDED, ACCESS_DENIED, ACCESS_UNKNOWN, MESSAGES_HELD),
        *(PENDING, RESOURCE_NOT_SERVED, SECRET_NOT_FOUND, SECRET_INVALID),
        *(CONFIG_MAP_NOT_FOUND, CONFIG_MAP_INVALID),
        *(WATCH_FAILING, STORE_FAILING, API_FAILING, INTERNAL_ERROR, OVERFLOW),
    }
)

DROP_REASONS = {
    "expression_failed": "ExpressionFailed",
    "transform_failed": "TransformFailed",
    "not_encodable": "NotEncodable",
    "too_large": "TooLarge",
    "not_decodable": "NotDecodable",
    "not_storable": "NotStorable",
    "internal_error": "InternalError",
    "overflow": "Overflow",
    "namespace_unknown": "NamespaceUnknown",
    "gap": "Gap",
}
"""Why an event was not stored: the metric's label, and the word of ``status.lastDrop``."""


class SubscriptionState(StrEnum):
    """In short how a subscription is, as in the metric's label: Ready's status, and of its reasons those that differ.

    Suspended is what its owner wants; disabled says that its endpoint was given up or is gone.
    """

    READY = "ready"
    SUSPENDED = "suspended"
    DISABLED = "disabled"
    NOT_READY = "not_ready"
