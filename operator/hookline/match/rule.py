"""One source of one subscription, compiled: does this change pass?

The tests run from the cheapest to the dearest: position, operation, names, labels, changed fields; then, for all that
pass these together and elsewhere, the expression.

Where namespaces are selected by label, and nobody knows (any more) the labels of the object's namespace, since it was
deleted while the operator was down: the deletion of an object passes, for an event too many is better than a receiver
that believes in the object for ever. Anything else is no match, and is told as NamespaceUnknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hookline import paths
from hookline.errors import NamespaceUnknown
from hookline.expressions.expression import Expression, Fuse
from hookline.match.selectors import selects
from hookline.model import Change
from hookline.spec import NamespacesFrom, Operation, Source, Subscription

NamespaceLabels = Callable[[str], Mapping[str, str] | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A source with its subscription's filter. ``since`` is the resourceVersion from which on it listens."""

    subscription: str
    source: Source
    changed: tuple[paths.Path, ...]
    expression: Expression | None
    since: int | None

    def may_pass(self, change: Change, namespace_labels: NamespaceLabels) -> bool:
        """Whether the change is wanted, as far as that is known without the expression and ``check_namespace``."""
        return (
            change.operation in self.source.operations
            and not self._is_before(change)
            and self._selected(change, namespace_labels)
            and (not self.changed or any_differs(change, self.changed))
        )

    @property
    def selects_namespaces(self) -> bool:
        """Whether it asks for the labels of namespaces."""
        return self.source.namespaces_from is NamespacesFrom.SELECTOR

    def _is_before(self, change: Change) -> bool:
        # Versions of one resource type are ordered integers (KEP-5504). A server that has others gets no test at all:
        # an event too many is better than one lost.
        return (
            self.since is not None
            and change.resource_version.isdecimal()
            and int(change.resource_version) <= self.since
        )

    def _selected(self, change: Change, namespace_labels: NamespaceLabels) -> bool:
        metadata = change.object["metadata"]
        source = self.source
        if source.names and metadata["name"] not in source.names:
            return False
        if self.selects_namespaces:
            labels = namespace_labels(metadata.get("namespace", ""))
            if labels is not None and not selects(source.namespace_selector, labels):
                return False
        return not source.labels.requirements or selects(source.labels, metadata.get("labels") or {})

    def check_namespace(self, change: Change, namespace_labels: NamespaceLabels) -> None:
        """Raises NamespaceUnknown when all but the labels of the object's namespace says yes, and nobody knows them."""
        if not self.selects_namespaces or change.operation is Operation.DELETED:
            return
        namespace = change.object["metadata"].get("namespace", "")
        if namespace_labels(namespace) is None:
            raise NamespaceUnknown(f"namespace {namespace} is deleted, and what labels it had is not known")


def make_rule(subscription: Subscription, source: Source, since: str, fuse: Fuse | None = None) -> Rule:
    """Make a rule, whose expression was checked; ``fuse`` is that of the expression, by default a new one.

    Raises SpecError when paths can't be read.
    """
    return Rule(
        subscription=subscription.uid,
        source=source,
        changed=tuple(paths.parse(text, "spec.filter.changed") for text in subscription.changed),
        expression=Expression(subscription.expression, True, fuse or Fuse()) if subscription.expression else None,
        since=int(since) if since.isdecimal() else None,
    )


def any_differs(change: Change, watched: tuple[paths.Path, ...]) -> bool:
    """Whether one of the fields has another value than last seen; absent is a value like any other.

    An update whose former state is not known in whole passes: what can't be compared must not be lost.
    """
    if change.operation is Operation.UPDATED and (change.old is None or change.partial):
        return True
    before = None if change.operation is Operation.CREATED else change.old
    after = None if change.operation is Operation.DELETED else change.object
    if change.operation is Operation.DELETED and before is None:
        before = change.object
    return any(paths.lookup(before, path) != paths.lookup(after, path) for path in watched)
