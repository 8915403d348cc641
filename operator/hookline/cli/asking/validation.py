"""The finished subscription, before it is written: by the operator's parser, the API server's dry run, and its rights.

In: a subscription as ``manifest`` makes it. Out: the same as the API server would store it. Nothing is stored.
"""

from __future__ import annotations

import time

from hookline.api.parse import parse
from hookline.cli.cluster import Cluster, CommandError
from hookline.cli.explaining.standing import check_rights
from hookline.cli.explaining.steps import Result
from hookline.cli.explaining.unapplied import dry_run
from hookline.cli.output import Output
from hookline.controller.access import Access
from hookline.controller.kinds import check_kinds, check_scope
from hookline.controller.reviews import Reviews
from hookline.errors import SpecError
from hookline.model import Object
from hookline.scopes import scopes_of
from hookline.settings import Settings
from hookline.watch.discovery import Discovery


async def validate(cluster: Cluster, wanted: Object, out: Output) -> Object:
    """Raises CommandError when the API server or the operator would refuse it."""
    unapplied = await dry_run(cluster, wanted)
    if unapplied.refusal:
        raise CommandError(f"the API server refuses it: {unapplied.refusal}")
    if unapplied.unknown:
        out.note(unapplied.unknown)
    try:
        check_kinds(parse(unapplied.object), secret_metadata=True)
    except SpecError as error:
        raise CommandError(f"the operator would refuse it: {error}") from None
    return unapplied.object


async def lacks_rights(cluster: Cluster, stored: Object, out: Output) -> bool:
    """Whether its ServiceAccount may not watch what it is to watch, or nobody can tell."""
    subscription = parse(stored)
    discovery = Discovery(cluster.kube, clock=time.monotonic)
    resources = [await discovery.resource(source.api_version, source.kind) for source in subscription.sources]
    for source, resource in zip(subscription.sources, resources, strict=True):
        check_scope(source, resource)
    reviews = Reviews(cluster.kube, Settings().access_reviews_per_second, time.monotonic)
    check = await check_rights(Access(reviews, scopes_of, time.monotonic), subscription, resources, {})
    if check.result is Result.PASSED:
        out.note(f"Rights: {check.text}")
        return False
    what = "can't be told from here" if check.result is Result.UNKNOWN else "do not suffice"
    out.note(f"The rights of ServiceAccount {subscription.service_account} {what}: roles are written, too")
    return True
