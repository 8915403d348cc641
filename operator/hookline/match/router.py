"""All rules by scope, and the one question of the pipeline: whom does this change concern?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hookline.errors import EvaluationError, NamespaceUnknown
from hookline.expressions.expression import Answer, Expression
from hookline.match.rule import NamespaceLabels, Rule
from hookline.model import Change

OnFailure = Callable[[str, EvaluationError], None]


class Router:
    """Rules, found by the scope of the informer and, where a source asks for a name or a label, by that.

    ``namespace_labels`` gives the labels of a namespace or None; ``on_failure`` is told the subscription and the error
    when an expression fails on an object, or the labels of its namespace are not known: either counts as no match.
    """

    def __init__(self, namespace_labels: NamespaceLabels, on_failure: OnFailure) -> None:
        self._namespace_labels = namespace_labels
        self._on_failure = on_failure
        self._rules: dict[str, dict[str, list[Rule]]] = {}  # subscription -> scope key -> rules
        self._by_scope: dict[str, _Index] = {}  # none is empty

    def put(self, subscription: str, scope_key: str, rules: Iterable[Rule]) -> None:
        """Replace the rules of a subscription for one scope; none to remove them."""
        mine = self._rules.setdefault(subscription, {})
        index = self._by_scope.setdefault(scope_key, _Index())
        for rule in mine.pop(scope_key, ()):
            index.remove(rule)
        added = list(rules)
        if added:
            mine[scope_key] = added
            for rule in added:
                index.add(rule)
        if not index:
            del self._by_scope[scope_key]

    def scopes(self, subscription: str) -> frozenset[str]:
        """The keys of the scopes for which a subscription has rules."""
        return frozenset(self._rules.get(subscription, ()))

    def remove(self, subscription: str) -> None:
        """Forget a subscription."""
        for scope_key in self.scopes(subscription):
            self.put(subscription, scope_key, ())
        self._rules.pop(subscription, None)

    def namespaces(self, changes: Iterable[Change]) -> set[str]:
        """The namespaces of those changes whose scope has a rule that asks for their labels."""
        return {
            change.object["metadata"].get("namespace", "")
            for change in changes
            if (index := self._by_scope.get(change.scope.key)) is not None and index.selects_namespaces
        }

    def candidates(self, change: Change) -> list[Rule]:
        """The rules that want this change, as far as that is known without their expressions."""
        index = self._by_scope.get(change.scope.key)
        if index is None:
            return []
        labels = self._namespace_labels
        return [rule for rule in index.candidates(change.object["metadata"]) if rule.stopped_at(change, labels) is None]

    def match(self, change: Change, rules: Iterable[Rule], answers: Mapping[str, Answer]) -> list[str]:
        """The uids of the subscriptions that want this change, each once, in the order of ``rules``, its candidates.

        ``answers`` are those of the expressions that ``asked`` names, by subscription.
        """
        matched: dict[str, None] = {}
        failed: set[str] = set()
        for rule in rules:
            uid = rule.subscription
            if uid in matched or uid in failed:
                continue
            try:
                if rule.expression is None or _holds(answers[uid]):
                    rule.check_namespace(change, self._namespace_labels)
                    matched[uid] = None
            except NamespaceUnknown as error:  # another source of it may know better
                self._on_failure(uid, error)
            except EvaluationError as error:
                failed.add(uid)
                self._on_failure(uid, error)
        return list(matched)


def asked(rules: Iterable[Rule]) -> dict[str, Expression]:
    """The expressions of rules by subscription, each once: all rules of a subscription have the same."""
    return {rule.subscription: rule.expression for rule in rules if rule.expression is not None}


def _holds(answer: Answer) -> bool:
    if isinstance(answer, Exception):
        raise answer
    return answer is True


class _Index:
    """The rules of one scope, by what an object must have to pass: a name, a label, or nothing in particular.

    So the cost of a change grows with the rules that may match it, not with all there are.
    """

    __slots__ = ("_any", "_labelled", "_named", "_selecting")

    def __init__(self) -> None:
        self._selecting: set[int] = set()
        self._any: dict[int, Rule] = {}
        self._named: dict[str, dict[int, Rule]] = defaultdict(dict)
        self._labelled: dict[tuple[str, str], dict[int, Rule]] = defaultdict(dict)

    def __bool__(self) -> bool:
        return bool(self._any or self._named or self._labelled)

    @property
    def selects_namespaces(self) -> bool:
        return bool(self._selecting)

    def add(self, rule: Rule) -> None:
        if rule.selects_namespaces:
            self._selecting.add(id(rule))
        for place in self._places(rule):
            place[id(rule)] = rule

    def remove(self, rule: Rule) -> None:
        self._selecting.discard(id(rule))
        for place in self._places(rule):
            place.pop(id(rule), None)
        for name in rule.source.names:
            if not self._named[name]:
                del self._named[name]
        for pair in _required_label(rule):
            if not self._labelled[pair]:
                del self._labelled[pair]

    def candidates(self, metadata: Mapping[str, Any]) -> Iterator[Rule]:
        yield from self._any.values()
        if (named := self._named.get(metadata["name"])) is not None:
            yield from named.values()
        if self._labelled:
            for pair in (metadata.get("labels") or {}).items():
                if (labelled := self._labelled.get(pair)) is not None:
                    yield from labelled.values()

    def _places(self, rule: Rule) -> Iterator[dict[int, Rule]]:
        if rule.source.names:
            yield from (self._named[name] for name in rule.source.names)
        elif pairs := _required_label(rule):
            yield from (self._labelled[pair] for pair in pairs)
        else:
            yield self._any


def _required_label(rule: Rule) -> list[tuple[str, str]]:
    """The labels of which an object must have one to pass, by the first requirement of that kind; none: no such."""
    if rule.source.names:
        return []
    for requirement in rule.source.labels.requirements:
        if requirement.operator == "In":
            return [(requirement.key, value) for value in requirement.values]
    return []
