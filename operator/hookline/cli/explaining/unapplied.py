"""Subscriptions that are in a file, held against the API server without storing anything.

In: objects of a file. Out: each as the API server would store it, or why it refuses it (a dry run on the server, with
its schema, rules and admission policies). ``hookline.cli.explain`` looks at them, ``hookline.cli.new`` validates so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hookline import reasons
from hookline.cli.cluster import Cluster, CommandError, collection, sentence
from hookline.cli.explaining.subject import NO_UID
from hookline.errors import ApiError, Forbidden, NotServed
from hookline.model import Object

_API_VERSION = f"{reasons.GROUP}/{reasons.VERSION}"


@dataclass(frozen=True, slots=True)
class Unapplied:
    """A subscription of a file: as the API server would store it, or as written where it can't say.

    ``refusal`` is what the API server says against it, ``unknown`` why it was not asked.
    """

    object: Object
    refusal: str = ""
    unknown: str = ""


def subscriptions_of(objects: list[Any], source: str) -> list[Object]:
    """The subscriptions among the objects of a file. Raises CommandError when there is none."""
    found = [one for one in objects if (one["apiVersion"], one["kind"]) == (_API_VERSION, reasons.KIND)]
    if not found:
        raise CommandError(f"{source}: it has no {reasons.KIND} of {_API_VERSION}")
    for one in found:
        if not isinstance(one["metadata"].get("name"), str):
            raise CommandError(f"{source}: a {reasons.KIND} has no metadata.name")
    return found


async def dry_run(cluster: Cluster, obj: Object) -> Unapplied:
    """Ask the API server what it would make of a subscription: a new one, or one that takes another's place."""
    metadata = {"namespace": cluster.place.namespace, **obj["metadata"]}
    obj = {**obj, "metadata": metadata}
    path = collection(reasons.PLURAL, metadata["namespace"])
    written = {**obj, "metadata": {"uid": NO_UID, **metadata}}
    try:
        existing = await _existing(cluster, f"{path}/{quote(metadata['name'], safe='')}")
        params = {"dryRun": "All", "fieldValidation": "Strict"}
        if existing is None:
            made = await cluster.kube.request("POST", path, body=obj, params=params)
        else:
            version = existing["metadata"]["resourceVersion"]
            body = {**obj, "metadata": {**metadata, "resourceVersion": version}}
            made = await cluster.kube.request("PUT", f"{path}/{metadata['name']}", body=body, params=params)
    except NotServed as error:
        await cluster.check_served()
        return Unapplied(written, refusal=str(error).partition(": ")[2])
    except Forbidden as error:
        return Unapplied(written, unknown=f"the API server can't be asked whether it accepts it: {error}")
    except ApiError as error:
        if error.status in (400, 422):
            return Unapplied(written, refusal=str(error).partition(": ")[2])
        raise CommandError(sentence(error, cluster.place)) from None
    return Unapplied(made)


async def _existing(cluster: Cluster, path: str) -> Object | None:
    try:
        found: Object = await cluster.kube.request("GET", path)
    except NotServed:
        return None
    return found
