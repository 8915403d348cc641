"""Put a destination together: URL and headers with their Secrets resolved, the signing keys, the endpoint to show."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hookline import reasons
from hookline.controller.credentials import HEADER_LIMIT, AdmitProfile, CheckUrl, resolve_auth, resolve_tls, unchecked
from hookline.controller.endpoint import path_secret_name, with_generated_path
from hookline.controller.secrets import Secrets, signing_secret_name
from hookline.controller.signing import Signing, signing_keys
from hookline.errors import DestinationRefused, NotReadyError, SpecError
from hookline.model import Finding, Target
from hookline.spec import Subscription

_HEADER_VALUE = re.compile(rf"[\t\x20-\x7e]{{0,{HEADER_LIMIT}}}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A target and what the status says of it. Without a URL or keys there is no target, only the finding.

    ``again`` (Unix seconds) is when a key stops signing: then it must be prepared anew.
    """

    target: Target | None
    finding: Finding
    again: float | None = None


def literal_endpoint(subscription: Subscription, check_url: CheckUrl) -> str:
    """Scheme and host of a URL in the spec, empty where it is in a Secret. Raises SpecError when it is refused.

    ``check_url`` is the address guard's test of a URL; it returns what may be shown of it.
    """
    if subscription.url is None:
        return ""
    try:
        return check_url(subscription.url)
    except DestinationRefused as error:
        raise SpecError(reasons.DESTINATION_REFUSED, "spec.destination.url", str(error)) from None


async def prepare(
    subscription: Subscription, secrets: Secrets, check_url: CheckUrl, admit_profile: AdmitProfile = unchecked
) -> Prepared:
    """Resolve everything that sending needs. What a Secret lacks or holds wrongly is a finding, not an error."""
    endpoint = literal_endpoint(subscription, check_url)
    signing: Signing | None = None
    try:
        # First the keys: receivers can be set up with them while the URL is still missing.
        signing = await signing_keys(subscription, secrets)
        url, endpoint = await _url(subscription, secrets, check_url, endpoint)
        if subscription.unguessable:
            url = await with_generated_path(url, subscription, secrets)
        headers = await _headers(subscription, secrets)
        auth = await resolve_auth(subscription, secrets)
        tls = await resolve_tls(subscription, secrets, url, admit_profile)
    except NotReadyError as error:
        again = signing.again if signing is not None else None
        return Prepared(None, _finding(subscription, error.reason, str(error), endpoint, signing), again)
    target = Target(
        subscription=subscription.uid,
        namespace=subscription.namespace,
        name=subscription.name,
        url=url,
        headers=headers,
        keys=signing.keys,
        schemes=subscription.schemes,
        timeout=subscription.timeout,
        retry=subscription.retry,
        max_in_flight=subscription.max_in_flight,
        paused=subscription.suspend,
        ordered=subscription.ordered,
        rate=subscription.rate,
        auth=auth,
        tls=tls,
    )
    blocked = reasons.SUSPENDED if subscription.suspend else ""
    message = (
        "`spec.suspend` is true: events are recorded and not sent" if subscription.suspend else "the spec is valid"
    )
    return Prepared(target, _finding(subscription, blocked, message, endpoint, signing), signing.again)


def _finding(subscription: Subscription, blocked: str, message: str, endpoint: str, signing: Signing | None) -> Finding:
    path = path_secret_name(subscription.name) if subscription.unguessable else ""
    finding = Finding(subscription.generation, True, reasons.VALID, message, blocked, endpoint, path_secret=path)
    if signing is None:  # whatever it was signed with before: nobody signs with that now, so it is published no more
        name = subscription.signing_secret or signing_secret_name(subscription.name)
        return replace(finding, signing_secret=name, public_keys=())
    return replace(
        finding,
        signing_secret=signing.secret,
        public_keys=signing.public,
        key_times=signing.times,
        rotated=signing.rotated,
        rotation_problem=signing.problem,
    )


async def _url(subscription: Subscription, secrets: Secrets, check_url: CheckUrl, endpoint: str) -> tuple[str, str]:
    if subscription.url is not None:
        return subscription.url, endpoint
    assert subscription.url_ref is not None  # noqa: S101 (the parser lets exactly one of the two through)
    url = await secrets.value(subscription, subscription.url_ref)
    try:
        return url, check_url(url)
    except DestinationRefused as error:
        where = f"the URL in Secret {subscription.url_ref.name!r}, key {subscription.url_ref.key!r}"
        raise NotReadyError(reasons.DESTINATION_REFUSED, f"{where}: {error}") from None


async def _headers(subscription: Subscription, secrets: Secrets) -> tuple[tuple[str, str], ...]:
    headers = []
    for header in subscription.headers:
        value = header.value
        if header.ref is not None:
            value = await secrets.value(subscription, header.ref)
            if not _HEADER_VALUE.fullmatch(value):
                where = f"Secret {header.ref.name!r}, key {header.ref.key!r}"
                message = f"{where}: must be printable ASCII, at most {HEADER_LIMIT} characters, to be a header's value"
                raise NotReadyError(reasons.SECRET_INVALID, message)
        headers.append((header.name, value or ""))
    return tuple(headers)
