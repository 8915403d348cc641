"""Every condition type and reason, with the sentence that explains it. The words of the status, in one place.

Conditions (all of them on every subscription from the first look on):

- ``Accepted``: the spec can be used. False reasons: InvalidSpec, InvalidExpression, ResourceNotServed, KindRefused,
  DestinationRefused.
- ``Delivering``: the last attempt reached the endpoint. False: DeliveryFailing. Unknown: NothingSentYet.
- ``Ready``: changes are watched and messages are sent. False: what of the above or below stands in the way.
  InternalError is a fault of Hookline's own, told by its log; it is tried again.
  EndpointGone (it answered 410) and EndpointDisabled (nothing but failures for too long) send nothing until somebody
  asks; Overflow drops new events.
- ``Reconciling`` and ``Stalled`` (kstatus): present only while True. Reconciling: it may heal by itself. Stalled:
  somebody must change the spec.

A replay has ``Complete`` (all were delivered again), ``Failed`` (only while true: it ended, and not all were), and the
two of kstatus. Reasons: Replaying, Replayed, NothingSelected, NotAllDelivered, SubscriptionNotFound, InvalidSpec.
"""

from __future__ import annotations

READY = "Ready"
ACCEPTED = "Accepted"
DELIVERING = "Delivering"
RECONCILING = "Reconciling"
STALLED = "Stalled"
COMPLETE = "Complete"
FAILED = "Failed"

GROUP = "hookline.dev"
VERSION = "v1alpha1"
PLURAL = "webhooksubscriptions"
KIND = "WebhookSubscription"
REPLAY_PLURAL = "webhookreplays"
REQUESTED_AT = "hookline.dev/requested-at"

# Accepted
VALID = "Valid"
INVALID_SPEC = "InvalidSpec"
RESOURCE_NOT_SERVED = "ResourceNotServed"
KIND_REFUSED = "KindRefused"
DESTINATION_REFUSED = "DestinationRefused"

# Ready
WATCHING = "Watching"
PENDING = "Pending"
SUSPENDED = "Suspended"
SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 (a reason, no secret)
SECRET_INVALID = "SecretInvalid"  # noqa: S105
WATCH_FAILING = "WatchFailing"
STORE_FAILING = "StoreFailing"
API_FAILING = "ApiFailing"
INTERNAL_ERROR = "InternalError"
ENDPOINT_GONE = "EndpointGone"
ENDPOINT_DISABLED = "EndpointDisabled"
OVERFLOW = "Overflow"

# Delivering
NOTHING_SENT_YET = "NothingSentYet"
DELIVERED = "Delivered"
DELIVERY_FAILING = "DeliveryFailing"

# Complete
REPLAYING = "Replaying"
REPLAYED = "Replayed"
NOTHING_SELECTED = "NothingSelected"
NOT_ALL_DELIVERED = "NotAllDelivered"
SUBSCRIPTION_NOT_FOUND = "SubscriptionNotFound"

# These heal without anybody touching the spec.
TRANSIENT = frozenset(
    {
        *(PENDING, RESOURCE_NOT_SERVED, SECRET_NOT_FOUND, SECRET_INVALID),
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
