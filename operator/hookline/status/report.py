"""From facts to the status of the object. Pure: the same facts give the same status.

Nothing here ever holds a secret, a full URL, an IP address or a response body: the facts have none.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from hookline import reasons
from hookline.model import Consent
from hookline.status.conditions import Condition, merge, timestamp
from hookline.status.facts import Facts

SHOWN_KEYS = 16
_STATES = {
    reasons.SUSPENDED: reasons.SubscriptionState.SUSPENDED,
    reasons.ENDPOINT_GONE: reasons.SubscriptionState.DISABLED,
    reasons.ENDPOINT_DISABLED: reasons.SubscriptionState.DISABLED,
}


def status_of(facts: Facts, now: float) -> dict[str, Any]:
    """The whole status; fields without a value are absent."""
    finding = facts.finding
    status: dict[str, Any] = {
        "observedGeneration": finding.generation,
        "conditions": merge(facts.status.get("conditions") or (), _conditions(facts), finding.generation, now),
        "endpoint": finding.endpoint or facts.status.get("endpoint"),
        "pathSecretName": finding.path_secret or None,
        "handshake": _handshake(facts),
        "signing": signing_of(facts),
        "watching": _watching(facts),
        "lastDelivery": facts.last_delivery,
        "lastFailure": facts.last_failure,
        "failingSince": timestamp(facts.health.failing_since) if facts.health.failing_since is not None else None,
        "disabled": _disabled(facts),
        "lastHandledRequestedAt": facts.handled or None,
        "pending": facts.counts.pending,
        "deadLettered": facts.counts.dead,
        "dropped": facts.dropped,
        "lastDrop": facts.last_drop,
        "clockSkewSeconds": facts.clock.seconds,
    }
    return {key: value for key, value in status.items() if value is not None}


def state_of(facts: Facts) -> reasons.SubscriptionState:
    """In short how it is, by the condition Ready."""
    ready = _ready(facts)
    otherwise = reasons.SubscriptionState.READY if ready.status == "True" else reasons.SubscriptionState.NOT_READY
    return _STATES.get(ready.reason, otherwise)


def _conditions(facts: Facts) -> list[Condition]:
    ready, accepted = _ready(facts), _accepted(facts)
    conditions = [ready, accepted, _authorized(facts), _delivering(facts), facts.clock.condition()]
    if ready.status != "True":
        kind = reasons.RECONCILING if ready.reason in reasons.TRANSIENT else reasons.STALLED
        conditions.append(replace(ready, type=kind, status="True"))
    return conditions


def _accepted(facts: Facts) -> Condition:
    finding = facts.finding
    if finding.accepted:
        return Condition(reasons.ACCEPTED, "True", reasons.VALID, "the spec is valid")
    return Condition(reasons.ACCEPTED, "False", finding.reason, finding.message)


def _ready(facts: Facts) -> Condition:
    finding, suspended = facts.finding, facts.finding.blocked == reasons.SUSPENDED
    if not finding.accepted:
        return Condition(reasons.READY, "False", finding.reason, finding.message)
    if facts.store_fails:
        message = "the operator can't store events now; it takes in what happens meanwhile as soon as it can again"
        return Condition(reasons.READY, "False", reasons.STORE_FAILING, message)
    if facts.access is not None and not facts.access.granted:
        return replace(_authorized(facts), type=reasons.READY, status="False")
    if facts.access is not None and facts.access.holds:
        return Condition(reasons.READY, "False", reasons.MESSAGES_HELD, facts.access.message)
    if finding.blocked and not suspended:
        return Condition(reasons.READY, "False", finding.blocked, finding.message)
    if facts.health.disabled:
        return Condition(reasons.READY, "False", facts.health.disabled, given_up(facts))
    if facts.consent is not None and not facts.consent.proof and not suspended:
        return _unproven(facts.consent)
    if facts.problems:
        return Condition(reasons.READY, "False", reasons.WATCH_FAILING, "; ".join(sorted(set(facts.problems.values()))))
    if facts.full:
        message = f"{facts.counts.pending} messages wait, as many as may: new events are dropped until some are sent"
        return Condition(reasons.READY, "False", reasons.OVERFLOW, message)
    if not facts.wanted or facts.wanted - facts.watching.keys():
        return Condition(reasons.READY, "Unknown", reasons.PENDING, "the watches are being opened")
    if suspended:  # as the spec wants it: a program that waits for Ready must not wait for ever
        return Condition(reasons.READY, "True", reasons.SUSPENDED, finding.message)
    return Condition(reasons.READY, "True", reasons.WATCHING, _sentence(facts))


def _authorized(facts: Facts) -> Condition:
    access = facts.access
    if access is None and not facts.finding.accepted:
        text = "the spec is refused, so the ServiceAccount's rights are not looked up"
        return Condition(reasons.AUTHORIZED, "Unknown", reasons.PENDING, text)
    if access is None:
        return Condition(reasons.AUTHORIZED, "Unknown", reasons.PENDING, "the ServiceAccount's rights are looked up")
    status, reason = {
        True: ("True", reasons.ACCESS_GRANTED),
        False: ("False", reasons.ACCESS_DENIED),
        None: ("Unknown", reasons.ACCESS_UNKNOWN),
    }[access.granted]
    return Condition(reasons.AUTHORIZED, status, reason, access.message)


def _unproven(consent: Consent) -> Condition:
    if not consent.problem:
        message = "the endpoint is asked whether it wants messages; until it says so, they are kept"
        return Condition(reasons.READY, "False", reasons.HANDSHAKE_PENDING, message)
    message = (
        f"the endpoint did not consent: {consent.problem}. Messages are kept, and it is asked again: let it answer "
        "OPTIONS with WebHook-Allowed-Origin, or set `spec.destination.handshake` to Disabled"
    )
    return Condition(reasons.READY, "False", reasons.HANDSHAKE_FAILED, message)


def given_up(facts: Facts) -> str:
    """Why nothing is sent to the endpoint any more, and what to do."""
    health = facts.health
    why = "the endpoint answered 410 Gone"
    if health.disabled != reasons.ENDPOINT_GONE and health.failing_since is not None:
        why = f"every attempt since {timestamp(health.failing_since)} failed"
    return (
        f"{why}: nothing is sent, events are kept. When it is mended, set the annotation {reasons.REQUESTED_AT} to the "
        "current time, or correct the spec"
    )


def signing_of(facts: Facts) -> dict[str, Any] | None:
    """What was found, or, where nothing was looked at, what was told before of the same Secret."""
    name, public_keys = facts.finding.signing_secret, facts.finding.public_keys
    before: dict[str, Any] | None = facts.status.get("signing")
    if public_keys is None and (not name or (before and before.get("secretName") == name)):
        return before
    told: dict[str, Any] = {"secretName": name, "publicKeys": list(public_keys or ())}
    if times := facts.finding.key_times:
        told["keys"] = [
            {"entry": key.entry, **({} if key.until is None else {"signsUntil": timestamp(key.until)})}
            for key in times[:SHOWN_KEYS]
        ]
    if rotated := facts.finding.rotated:
        told["lastHandledRotateKey"] = rotated
    if problem := facts.finding.rotation_problem:
        told["message"] = problem[:1024]
    return told


def _handshake(facts: Facts) -> dict[str, Any] | None:
    consent = facts.consent
    if consent is None or not consent.proof:
        return None
    rate = {} if consent.per_minute is None else {"allowedPerMinute": consent.per_minute}
    return {"proof": consent.proof, "time": timestamp(consent.since), **rate}


def _disabled(facts: Facts) -> dict[str, Any] | None:
    health = facts.health
    return {"reason": health.disabled, "since": timestamp(health.disabled_since)} if health.disabled else None


def _sentence(facts: Facts) -> str:
    resources = sorted({resource for key, (resource, _, _) in facts.watching.items() if key in facts.wanted})
    shown = ", ".join(resources[:4]) + (f" and {len(resources) - 4} more" if len(resources) > 4 else "")
    return f"watching {shown}"


def _delivering(facts: Facts) -> Condition:
    if facts.failing is None:
        return Condition(reasons.DELIVERING, "Unknown", reasons.NOTHING_SENT_YET, "nothing was sent yet")
    if facts.failing and facts.last_failure and facts.last_failure.get("reason") == reasons.DESTINATION_REFUSED:
        return Condition(reasons.DELIVERING, "False", reasons.DESTINATION_REFUSED, reasons.ADDRESS_REFUSED)
    if facts.failing and facts.last_failure:
        message = f"the last attempt failed: {facts.last_failure.get('reason', '')}"
        if facts.broken:
            message += "; after too many failures in a row, one attempt at a time is made until one succeeds"
        return Condition(reasons.DELIVERING, "False", reasons.DELIVERY_FAILING, message)
    return Condition(reasons.DELIVERING, "True", reasons.DELIVERED, "the last attempt succeeded")


def _watching(facts: Facts) -> list[dict[str, Any]]:
    by_resource: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for key, (resource, namespace, since) in facts.watching.items():
        if key in facts.wanted:
            by_resource[resource].append((namespace, since))
    return [_watched(resource, places) for resource, places in sorted(by_resource.items())]


def _watched(resource: str, places: list[tuple[str, float]]) -> dict[str, Any]:
    namespaces = sorted({namespace for namespace, _ in places if namespace})[:64]
    shown = {"namespaces": namespaces} if namespaces else {}
    return {"resource": resource, **shown, "since": timestamp(min(since for _, since in places))}
