"""Specs of replays that the API server must refuse, in exactly these words, and some that it must accept.

As in ``crd_cases``: each is a JSON merge patch of the smallest spec.
"""

from __future__ import annotations

from support.crd_cases import Spec

SMALLEST: Spec = {"subscriptionName": "orders"}
NOON, ONE = "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"
NO_NAME = "must be the name of a WebhookSubscription in the same namespace"
NO_ID = 'must be a `webhook-id` as the receiver saw it, such as "msg_kq2v3x…", without spaces or full stops'
EITHER = "must not be set together with `from` or `to`; choose messages by their ids or by a time span"
NO_CHANGE = "must not be changed, since the replay may have begun; create another one with `kubectl create`"

REFUSED: dict[str, tuple[Spec, str, str]] = {
    "no subscription": ({"subscriptionName": None}, "spec.subscriptionName", "Required value"),
    "an empty name": ({"subscriptionName": ""}, "spec.subscriptionName", NO_NAME),
    "a name with a namespace": ({"subscriptionName": "shop/orders"}, "spec.subscriptionName", NO_NAME),
    "no state": ({"states": []}, "spec.states", 'must have "Dead", "Delivered", or both'),
    "pending messages": ({"states": ["Pending"]}, "spec.states[0]", 'supported values: "Dead", "Delivered"'),
    "no id": (
        {"ids": []},
        "spec.ids",
        "must have at least one id; to choose messages by state and time only, leave it out",
    ),
    "an id with a full stop": ({"ids": ["msg.1"]}, "spec.ids[0]", NO_ID),
    "101 ids": ({"ids": [f"msg_{n}" for n in range(101)]}, "spec.ids", "must have at most 100 items"),
    "ids and from": ({"ids": ["msg_1"], "from": NOON}, "spec.ids", EITHER),
    "ids and to": ({"ids": ["msg_1"], "to": NOON}, "spec.ids", EITHER),
    "to before from": ({"from": ONE, "to": NOON}, "spec.to", "must be later than `from`"),
    "an empty span": ({"from": NOON, "to": "2026-01-31T13:00:00+01:00"}, "spec.to", "must be later than `from`"),
    "a date alone": (
        {"from": "2026-01-31"},
        "spec.from",
        'spec.from in body must be of type date-time: "2026-01-31"',
    ),
}

ACCEPTED: dict[str, Spec] = {
    "everything that was given up": {},
    "both states": {"states": ["Delivered", "Dead"]},
    "a time span across zones": {"from": NOON, "to": "2026-01-31T13:00:00-01:00"},
    "from a time on": {"from": "2026-01-31T12:00:00.123456789Z"},
    "up to a time": {"to": ONE},
    "a hundred ids": {"ids": [f"msg_{n}" for n in range(100)]},
    "a subscription with dots": {"subscriptionName": "a.b-c.d0"},
}
