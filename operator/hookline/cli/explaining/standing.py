"""What holds of a subscription whatever the object: is its spec in force, has it the rights, do its messages leave?

In: a parsed spec, the resources of its sources, and the operator's conditions. Out: a ``Check`` each. Only the rights
are asked of the API server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hookline import reasons
from hookline.cli.explaining.steps import Check, Result
from hookline.controller.access import Access
from hookline.controller.credentials import check_token_url, check_tokens
from hookline.controller.kinds import check_kinds
from hookline.controller.target import literal_endpoint
from hookline.deliver.guard import AddressPolicy
from hookline.errors import ApiError, SpecError
from hookline.model import Object, Resource
from hookline.spec import Subscription

SPEC, RIGHTS, SENDING = "spec", "rights", "sending"
NOT_ASKED = "you may not create subjectaccessreviews"
NOT_SEEN = "the operator has not looked at this spec yet: is it running?"


def conditions_of(obj: Object) -> dict[str, Any]:
    """The conditions that are about the present spec, by type."""
    generation = obj["metadata"].get("generation")
    listed = (obj.get("status") or {}).get("conditions") or ()
    return {item["type"]: item for item in listed if item.get("observedGeneration") == generation}


def refused(text: str) -> Check:
    """The spec can't be used."""
    return Check(SPEC, Result.FAILED, text)


def check_spec(
    subscription: Subscription, resources: Sequence[Resource | None], conditions: Mapping[str, Any], *, applied: bool
) -> Check:
    """Whether a spec that can be read can be used: the operator's word, where it has looked at it.

    Without that the destination is held against the rules of an operator without settings: what they refuse an
    administrator may have allowed.
    """
    accepted = conditions.get(reasons.ACCEPTED)
    if accepted is not None and accepted["status"] == "False":
        return refused(f"{accepted['reason']}: {accepted['message']}")
    pairs = zip(subscription.sources, resources, strict=True)
    missing = [f"{source.api_version}/{source.kind}" for source, resource in pairs if resource is None]
    if missing:
        return refused(f"spec.sources: {', '.join(missing)} is not served by this cluster")
    if accepted is not None and accepted["status"] == "True":
        return Check(SPEC, Result.PASSED, "accepted by the operator")
    try:
        check_destination(subscription)
        check_kinds(subscription, secret_metadata=False)
        check_tokens(subscription, allowed=False)
    except SpecError as error:
        return Check(SPEC, Result.UNKNOWN, f"it can be used only where the administrator allows this: {error}")
    return Check(SPEC, Result.PASSED, f"it can be read; {NOT_SEEN}" if applied else "it can be used")


def check_destination(subscription: Subscription) -> None:
    """Hold the URLs of a spec against the address guard without any setting. Raises SpecError."""
    policy = AddressPolicy()
    literal_endpoint(subscription, lambda url: policy.check_url(url).origin)
    check_token_url(subscription, lambda url: policy.check_url(url).origin)


async def check_rights(
    access: Access, subscription: Subscription, resources: Sequence[Resource | None], conditions: Mapping[str, Any]
) -> Check:
    """What SubjectAccessReviews say of the ServiceAccount, else what the operator said last."""
    if not any(resources):
        return Check(RIGHTS, Result.UNKNOWN, "they are looked up when a source is served")
    try:
        grant = await access.admit(subscription, resources)
    except ApiError as error:
        told = conditions.get(reasons.AUTHORIZED)
        if told is not None and told["status"] in ("True", "False"):
            result = Result.PASSED if told["status"] == "True" else Result.FAILED
            return Check(RIGHTS, result, f"the operator says: {told['message']}")
        why = NOT_ASKED if "subjectaccessreviews" in str(error) else str(error)
        return Check(RIGHTS, Result.UNKNOWN, f"it can't be told from here: {why}")
    return Check(RIGHTS, Result.PASSED if grant.granted else Result.FAILED, grant.message)


def check_sending(subscription: Subscription, conditions: Mapping[str, Any]) -> Check:
    """Whether messages leave now, as the operator says, unless ``suspend`` says enough."""
    if subscription.suspend:
        return Check(SENDING, Result.FAILED, "`spec.suspend` is true: messages are kept and not sent")
    ready = conditions.get(reasons.READY)
    if ready is None:
        return Check(SENDING, Result.UNKNOWN, NOT_SEEN)
    result = {"True": Result.PASSED, "False": Result.FAILED}.get(ready["status"], Result.UNKNOWN)
    return Check(SENDING, result, f"{ready['reason']}: {ready['message']}")
