"""The words of the webhook validation handshake: what is asked, and what an answer grants. Pure.

In: a target and the name that its owner is asked to let in. Out: the headers of an OPTIONS request, and the consent in
its answer. ``consents`` asks. Source of the rules: CloudEvents, "HTTP 1.1 Web Hooks for Event Delivery", section 4.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hookline.model import Target
from hookline.spec import RateLimit

DEFAULT_ORIGIN = "hookline"
ORIGIN = "webhook-request-origin"
_RATE = re.compile(r"[1-9][0-9]{0,8}")
_PROOF_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for an OPTIONS request; header names in any case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Granted:
    """The owner wants the messages: so many a minute, or (None) as many as there are."""

    per_minute: int | None = None


def origin_of(cluster_name: str) -> str:
    """The name that asks: the cluster's, with a hyphen for what no DNS name has; "hookline" without one."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", cluster_name).strip("-.") or DEFAULT_ORIGIN


def question(origin: str, rate: RateLimit | None) -> tuple[tuple[str, str], ...]:
    """The headers that ask for consent (sections 4.1.2, 4.1.4: requests per minute)."""
    wanted = (("webhook-request-rate", str(max(int(rate.per_second * 60), 1))),) if rate is not None else ()
    return ((ORIGIN, origin), *wanted)


def read_consent(answer: Answer, origin: str) -> Granted | str:
    """What an answer grants, or why it grants nothing. The status code alone is no consent (section 4.2)."""
    headers = {name.lower(): value.strip() for name, value in answer.headers.items()}
    allowed, rate = headers.get("webhook-allowed-origin"), headers.get("webhook-allowed-rate", "*")
    if not 200 <= answer.status < 300:
        return f"it answered HTTP {answer.status} to OPTIONS"
    if allowed is None:
        return "its answer to OPTIONS has no WebHook-Allowed-Origin"
    if allowed != "*" and allowed.lower() != origin.lower():
        return "its WebHook-Allowed-Origin names somebody else"
    if rate == "*":
        return Granted()
    if not _RATE.fullmatch(rate):
        return "its WebHook-Allowed-Rate is neither * nor a number of requests per minute"
    return Granted(int(rate))


def capped(rate: RateLimit | None, per_minute: int | None) -> RateLimit | None:
    """The own limit, cut so that no minute has more than ``per_minute`` requests."""
    if per_minute is None:
        return rate
    burst = max(per_minute // 60, 1)
    per_second = (per_minute - burst + 1) / 60
    if rate is None:
        return RateLimit(per_second, burst)
    return RateLimit(min(rate.per_second, per_second), min(rate.burst, burst))


def proofs(target: Target, origin: str) -> list[str]:
    """What is kept of a consent: hashes of origin and URL under each signing key, newest first.

    Who has no key can't test whether a URL that he guesses is the one.
    """
    text = f"{origin}\0{target.url}".encode()
    return [hmac.new(key, text, hashlib.sha256).hexdigest()[:_PROOF_DIGITS] for key in target.keys.hmac]
