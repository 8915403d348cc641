"""Which kinds may be watched at all, before anybody asks whether they are served.

In: a subscription and the administrator's choice. Out: nothing, or the refusal. ``reconciler`` calls this.
"""

from __future__ import annotations

from hookline import reasons
from hookline.errors import SpecError
from hookline.model import Resource
from hookline.spec import Content, NamespacesFrom, Source, Subscription


def check_kinds(subscription: Subscription, secret_metadata: bool) -> None:
    """Refuse kinds that can't be watched. Raises SpecError (KindRefused).

    ``secret_metadata``: Secrets may be watched by subscriptions that can do with metadata. A transform can: it sees
    nothing else of them.
    """
    payload = subscription.payload
    for source in subscription.sources:
        group, kind = source.api_version.rpartition("/")[0], (source.api_version, source.kind)
        if group == reasons.GROUP:
            # Each event changes the status of its subscription, which would be the next event, without end.
            raise SpecError(reasons.KIND_REFUSED, "spec.sources", "Hookline's own kinds can't be watched")
        if kind == ("v1", "Secret") and not secret_metadata:
            message = "kind Secret can't be watched: choose another kind; an administrator can allow its metadata alone"
            raise SpecError(reasons.KIND_REFUSED, "spec.sources", message)
        if kind == ("v1", "Secret") and payload.content is not Content.METADATA and not payload.transform:
            message = "of kind Secret only metadata can be watched: set `content: Metadata`, or a `transform` of it"
            raise SpecError(reasons.KIND_REFUSED, "spec.payload", message)


def check_scope(source: Source, resource: Resource) -> None:
    """Refuse namespaces of a kind that is in none. Raises SpecError (InvalidSpec)."""
    if not resource.namespaced and source.namespaces_from is not NamespacesFrom.SAME:
        message = f"{source.kind} is a cluster-scoped kind: leave `namespaces` out"
        raise SpecError(reasons.INVALID_SPEC, "spec.sources", message)
