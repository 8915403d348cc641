"""One source of one subscription, compiled: does this change pass?

The tests run from the cheapest to the dearest, in the order of ``Step``; then, for all that pass these together and
elsewhere, the expression. Who asks why a change is not wanted gets the first step that it does not pass, and may ask
the rule ``without`` that step for the next one: there is no second copy of the tests.

Where namespaces are selected by label, and nobody knows (any more) the labels of the object's namespace, since it was
deleted while the operator was down: the deletion of an object passes, for an event too many is better than a receiver
that believes in the object for ever. Anything else is no match, and is told as NamespaceUnknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from hookline import paths
from hookline.errors import NamespaceUnknown
from hookline.expressions.expression import Expression, Fuse
from hookline.match.selectors import selects
from hookline.model import Change, Object
from hookline.spec import LabelSelector, NamespacesFrom, Operation, Source, Subscription

NamespaceLabels = Callable[[str], Mapping[str, str] | None]


class Step(StrEnum):
    """The tests of a rule, in the order in which they are made."""

    OPERATION = "operation"
    POSITION = "position"
    NAME = "name"
    NAMESPACE = "namespace"
    LABELS = "labels"
    CHANGED = "changed"


# On the hot path: to look up a member takes longer than the test.
_OPERATION, _POSITION, _NAME, _NAMESPACE, _LABELS, _CHANGED = Step


@dataclass(frozen=True, slots=True)
class Rule:
    """A source with its subscription's filter. ``since`` is the resourceVersion from which on it listens."""

    subscription: str
    source: Source
    changed: tuple[paths.Path, ...]
    expression: Expression | None
    since: int | None

    def stopped_at(self, change: Change, namespace_labels: NamespaceLabels) -> Step | None:
        """The first step that the change does not pass.

        None: it is wanted, as far as that is known without the expression and ``check_namespace``.
        """
        source = self.source
        if change.operation not in source.operations:
            return _OPERATION
        if self._is_before(change):
            return _POSITION
        metadata = change.object["metadata"]
        if source.names and metadata["name"] not in source.names:
            return _NAME
        if self.selects_namespaces:
            labels = namespace_labels(metadata.get("namespace", ""))
            if labels is not None and not selects(source.namespace_selector, labels):
                return _NAMESPACE
        if source.labels.requirements and not selects(source.labels, metadata.get("labels") or {}):
            return _LABELS
        return _CHANGED if self.changed and not any_differs(change, self.changed) else None

    def without(self, step: Step) -> Rule:
        """The same rule, but for one step, which every change passes."""
        match step:
            case Step.OPERATION:
                return replace(self, source=replace(self.source, operations=frozenset(Operation)))
            case Step.POSITION:
                return replace(self, since=None)
            case Step.NAME:
                return replace(self, source=replace(self.source, names=frozenset()))
            case Step.NAMESPACE:
                return replace(self, source=replace(self.source, namespaces_from=NamespacesFrom.ALL))
            case Step.LABELS:
                return replace(self, source=replace(self.source, labels=LabelSelector()))
            case Step.CHANGED:
                return replace(self, changed=())

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
        expression=Expression(subscription.expression, True, fuse or Fuse(), subscription.namespace)
        if subscription.expression
        else None,
        since=int(since) if since.isdecimal() else None,
    )


def any_differs(change: Change, watched: tuple[paths.Path, ...]) -> bool:
    """Whether one of the fields has another value than last seen; absent is a value like any other.

    An update whose former state is not known in whole passes: what can't be compared must not be lost.
    """
    if (states := compared(change)) is None:
        return True
    before, after = states
    return any(paths.lookup(before, path) != paths.lookup(after, path) for path in watched)


def compared(change: Change) -> tuple[Object | None, Object | None] | None:
    """The two states that ``any_differs`` compares, where None has no fields; None altogether: it can't compare."""
    if change.operation is Operation.UPDATED:
        return None if change.old is None or change.partial else (change.old, change.object)
    if change.operation is Operation.CREATED:
        return None, change.object
    return change.object if change.old is None else change.old, None
