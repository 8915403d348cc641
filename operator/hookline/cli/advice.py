"""What to do about a subscription, in sentences: pure, from the object alone.

In: a WebhookSubscription with its status. Out: ``summary``, one word or two and how bad it is, and ``advice``, what a
person does next. The conditions' own messages say what is wrong; here is only what is not in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hookline import reasons

Object = Mapping[str, Any]

_OPERATOR = "look at the operator's log; it tries again by itself"
_SPEC = "correct the spec: {kubectl} edit whsub {name} -n {namespace}"
_READY = {
    reasons.INVALID_SPEC: _SPEC,
    "InvalidExpression": _SPEC + "; {program} explain KIND/NAME -n {namespace} --subscription-file FILE tries it",
    reasons.RESOURCE_NOT_SERVED: "install the CRD of that kind, or correct `spec.sources`; it is looked for again",
    reasons.KIND_REFUSED: "choose another kind in `spec.sources`, or ask the administrator",
    reasons.DESTINATION_REFUSED: "correct `spec.destination`, or ask the administrator to allow the address",
    reasons.QUOTA_EXCEEDED: "delete older subscriptions of the namespace, or ask the administrator for more",
    reasons.SUSPENDED: (
        "events are kept; to send them: {kubectl} patch whsub {name} -n {namespace} --type merge "
        '-p \'{{"spec":{{"suspend":false}}}}\''
    ),
    reasons.ACCESS_DENIED: (
        'let ServiceAccount "{account}" get, list and watch what `spec.sources` names, with a Role and a RoleBinding'
    ),
    reasons.ACCESS_UNKNOWN: _OPERATOR,
    reasons.MESSAGES_HELD: (
        "give back the rights that the condition's message names, or wait: after two minutes messages that lack them "
        "are given up, and the others go on"
    ),
    reasons.SECRET_NOT_FOUND: "make the Secret, or correct the spec; it is looked for again",
    reasons.SECRET_INVALID: "correct the Secret; it is read again",
    reasons.CONFIG_MAP_NOT_FOUND: "make the ConfigMap, or correct the spec; it is looked for again",
    reasons.CONFIG_MAP_INVALID: "correct the ConfigMap; it is read again",
    reasons.WATCH_FAILING: _OPERATOR,
    reasons.STORE_FAILING: _OPERATOR,
    reasons.API_FAILING: _OPERATOR,
    reasons.INTERNAL_ERROR: _OPERATOR,
    reasons.ENDPOINT_GONE: "when the endpoint is there again: {program} ping {name} -n {namespace}",
    reasons.ENDPOINT_DISABLED: "mend the endpoint, then: {program} ping {name} -n {namespace}",
    reasons.OVERFLOW: "mend the endpoint or make it faster: it takes less than what happens",
    reasons.HANDSHAKE_PENDING: "wait: the endpoint is being asked",
    reasons.HANDSHAKE_FAILED: "let the endpoint answer OPTIONS with WebHook-Allowed-Origin",
}
_FAILURES = {
    "Timeout": "the endpoint takes too long: let it answer first and work later, or set `spec.delivery.timeoutSeconds`",
    "TLSFailed": "the certificate is not valid for the host: renew it, or set `spec.destination.tls.caBundle`",
    "Unreachable": "nobody listens there: is the receiver running, and the port open?",
    "NameNotResolved": "the host of the URL has no address: correct `spec.destination.url`",
    "DestinationRefused": "ask the administrator to allow the address, or correct the URL",
    "ProxyFailed": "the administrator's egress proxy refused or failed: ask for the endpoint to be allowed there",
    "Protocol": "the endpoint answered something that is no HTTP: correct the URL",
    "TokenFailed": "no token could be had: look at `spec.destination.auth`",
    "InvalidHeader": "a header of `spec.destination` can't be sent: correct its Secret",
    "InternalError": _OPERATOR,
    "HTTP401": "the endpoint does not accept the credentials or the signature: does it have the right key?",
    "HTTP403": "the endpoint does not accept the credentials or the signature: does it have the right key?",
    "HTTP404": "the endpoint does not know the path: correct the URL",
    "HTTP405": "the endpoint takes no POST there: correct the URL",
    "HTTP413": 'the endpoint takes no body of that size: set `spec.payload.content` to "Metadata" or "Changes"',
    "HTTP429": "the endpoint wants fewer requests: set `spec.delivery.rateLimit`",
}


def condition(obj: Object, kind: str) -> Mapping[str, Any]:
    """The condition of that type, empty when there is none."""
    found = (item for item in status(obj).get("conditions") or () if item.get("type") == kind)
    return next(found, {})


def status(obj: Object) -> Mapping[str, Any]:
    """The status, empty when there is none."""
    return obj.get("status") or {}


def stale(obj: Object) -> bool:
    """Whether the status is about an older spec than the one that is in force."""
    seen: int = status(obj).get("observedGeneration", 0)
    return seen < int(obj["metadata"].get("generation", 0))


def summary(obj: Object) -> tuple[str, str]:
    """How it is in a few words, and a style: good, unsure or bad."""
    if obj["metadata"].get("deletionTimestamp"):
        return "being deleted", "unsure"
    ready = condition(obj, reasons.READY)
    if stale(obj):
        return "not looked at yet", "unsure"
    reason = str(ready.get("reason", reasons.PENDING))
    if reason == reasons.SUSPENDED:
        return "suspended", "unsure"
    if ready.get("status") == "True":
        if condition(obj, reasons.DELIVERING).get("status") == "False":
            return "failing", "bad"
        return "ready", "good"
    if ready.get("status") == "Unknown":
        return "starting", "unsure"
    if reason == reasons.MESSAGES_HELD:
        return "messages wait for rights", "bad"
    return f"not ready: {reason}", "bad"


def advice(obj: Object, program: str) -> list[str]:
    """What to do, most urgent first; empty when nothing is to be done. ``program`` is how this command is called."""
    metadata = obj["metadata"]
    words = {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "account": (obj.get("spec") or {}).get("serviceAccountName") or "default",
        "program": program,
        "kubectl": "kubectl",
    }
    return [text.format(**words) for text in _advice(obj)]


def _advice(obj: Object) -> Iterator[str]:
    told = status(obj)
    ready = condition(obj, reasons.READY)
    if stale(obj) or ready.get("reason", reasons.PENDING) == reasons.PENDING:
        yield "is the operator running? It has not said anything about this spec yet"
    elif text := _READY.get(str(ready.get("reason"))):  # Suspended, too, which is as Ready as it is meant to be
        yield text
    if condition(obj, reasons.DELIVERING).get("status") == "False":
        yield _failure(str((told.get("lastFailure") or {}).get("reason", "")))
    if condition(obj, reasons.CLOCK_SYNCHRONIZED).get("status") == "False":
        yield "set the clock of the endpoint, or that of the operator's node: receivers refuse signatures otherwise"
    if told.get("deadLettered"):
        yield "see what was given up: {program} deliveries {name} -n {namespace} --state dead"
        yield "when the endpoint works, send it again: {program} replay {name} -n {namespace}"


def _failure(reason: str) -> str:
    if text := _FAILURES.get(reason):
        return text
    if reason.startswith("HTTP5"):
        return "the endpoint fails: look at its log; messages are kept and tried again"
    if reason.startswith("HTTP3"):
        return "redirects are never followed: put the address in `spec.destination.url` to which they lead"
    return "the endpoint refuses messages: look at its log"
