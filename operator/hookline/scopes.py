"""What a subscription needs to have watched: pure functions of its spec and of what is served.

In: a ``Subscription`` and the resources of its sources. Out: scopes, and whether old objects are kept whole.
``hookline.flow`` has them watched; the controller counts them against the namespace's quota.
"""

from __future__ import annotations

from collections.abc import Sequence

from hookline.expressions.expression import mentions_old_object
from hookline.model import Resource, Scope
from hookline.spec import Content, NamespacesFrom, Source, Subscription


def scopes_of(subscription: Subscription, source: Source, resource: Resource) -> list[Scope]:
    """Where a source watches: its own namespace, some by name, or (all, or chosen by label) the whole cluster."""
    if not resource.namespaced:
        return [Scope(resource, "", source.field_selector)]
    match source.namespaces_from:
        case NamespacesFrom.SAME:
            namespaces = [subscription.namespace]
        case NamespacesFrom.NAMES:
            namespaces = sorted(source.namespaces)
        case _:
            namespaces = [""]
    return [Scope(resource, namespace, source.field_selector) for namespace in namespaces]


def scope_keys(subscription: Subscription, resources: Sequence[Resource | None]) -> frozenset[str]:
    """The scopes that a subscription needs, by their keys: those of its sources whose resource is served."""
    served = zip(subscription.sources, resources, strict=True)
    return frozenset(
        scope.key
        for source, resource in served
        if resource is not None
        for scope in scopes_of(subscription, source, resource)
    )


def needs_old_objects(subscription: Subscription) -> bool:
    """Whether the last-seen objects must be kept whole for this subscription, not just their metadata."""
    texts = (subscription.expression, subscription.payload.transform)
    return (
        bool(subscription.changed)
        or subscription.payload.content is Content.CHANGES
        or any(mentions_old_object(text) for text in texts)
    )
