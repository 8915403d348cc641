"""Why a rule wants a change or not: each of its tests, with what it compared. Pure.

In: a ``Rule`` and a ``Change``, as the router has them. Out: a ``Check`` for each test. What passes is decided by
``Rule.stopped_at`` alone; here are only the words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hookline import paths
from hookline.errors import EvaluationError
from hookline.expressions.expression import Answer, mentions_old_object
from hookline.match.rule import NamespaceLabels, Rule, Step, compared
from hookline.match.selectors import satisfied
from hookline.model import Change
from hookline.spec import LabelRequirement, LabelSelector, Operation

SHOWN = 100
"""Characters of a value that are shown."""
NEEDS_OLD = "the state before is not known here: give it with --old"

_TEXTS = re.compile(r"(\[\??(?:'[^']*'|\"[^\"]*\"))|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_READ = re.compile(r"(?<![\w.])(object|oldObject)((?:\.\??[A-Za-z_]\w*(?!\w*\()|\[\??(?:'[^']*'|\"[^\"]*\")\])+)")
_STEP = re.compile(r"\.\??([A-Za-z_]\w*)|\[\??(?:'([^']*)'|\"([^\"]*)\")\]")


class Result(StrEnum):
    """What came of a test, or of all of them."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One test: its name, what came of it, why, and what it looked at."""

    step: str
    result: Result
    text: str
    details: tuple[str, ...] = ()


def together(checks: Iterable[Check]) -> Result:
    """All must pass: one that fails decides, whatever is not known."""
    results = {check.result for check in checks}
    return next((result for result in (Result.FAILED, Result.UNKNOWN) if result in results), Result.PASSED)


def either(results: Iterable[Result]) -> Result:
    """One is enough."""
    found = set(results)
    return next((result for result in (Result.PASSED, Result.UNKNOWN) if result in found), Result.FAILED)


def check_all(
    rule: Rule, change: Change, labels: NamespaceLabels, answer: Answer | None, *, blind: bool = False, unread: str = ""
) -> list[Check]:
    """Every test that the rule makes, also those after the first that fails; ``answer`` is that of its expression.

    ``blind``: the change is an update, and nobody knows the state before. ``unread`` says why the labels of the
    object's namespace could not be read, empty when they could.
    """
    checks = _before_expression(rule, change, labels, blind=blind, unread=unread)
    if rule.expression is not None and answer is not None:
        checks.append(_expression(rule.expression.text, change, answer, blind=blind))
    return checks


def _before_expression(rule: Rule, change: Change, labels: NamespaceLabels, *, blind: bool, unread: str) -> list[Check]:
    failed: set[Step] = set()
    probe = rule
    while (step := probe.stopped_at(change, labels)) is not None:
        failed.add(step)
        probe = probe.without(step)
    checks = []
    for step in Step:
        if not _is_made(rule, step):
            continue
        passed = step not in failed
        if step is Step.CHANGED and blind:
            checks.append(Check(step, Result.UNKNOWN, NEEDS_OLD))
        elif step is Step.NAMESPACE and unread:
            checks.append(Check(_NAMES[step], Result.UNKNOWN, unread))
        elif step is Step.NAMESPACE:
            checks.append(_namespace(rule, change, labels, passed=passed))
        else:
            text, details = _WORDS[step](rule, change, passed)
            checks.append(Check(_NAMES.get(step, step), Result.PASSED if passed else Result.FAILED, text, details))
    return checks


def _expression(text: str, change: Change, answer: Answer, *, blind: bool) -> Check:
    details = values_read(text, change, blind=blind)
    if blind and mentions_old_object(text):
        return Check("expression", Result.UNKNOWN, NEEDS_OLD, details)
    if isinstance(answer, EvaluationError):
        return Check("expression", Result.FAILED, f"it fails on this object, so it counts as false: {answer}", details)
    if isinstance(answer, Exception):
        return Check("expression", Result.UNKNOWN, str(answer), details)
    return Check("expression", Result.PASSED if answer is True else Result.FAILED, shown(answer is True), details)


def values_read(text: str, change: Change, *, blind: bool = False) -> tuple[str, ...]:
    """``object.spec.replicas = 3`` for each path into the object or the old one that an expression names.

    ``blind``: nobody knows the old one.

    By the look of the text: what it reads of the elements of a list is not found.
    """
    found: dict[str, str] = {}
    for match in _READ.finditer(_TEXTS.sub(lambda found: found[1] or "''", text)):
        steps = tuple(next(filter(None, groups), "") for groups in _STEP.findall(match[2]))
        old = match[1] == "oldObject"
        value = "(not known)" if old and blind else shown(paths.lookup(change.old if old else change.object, steps))
        found[re.sub(r"([.\[])\?", r"\1", match[0])] = value
    return tuple(f"{name} = {value}" for name, value in found.items())


def shown(value: Any) -> str:
    """A value in one short line, as JSON."""
    if value is paths.ABSENT:
        return "(absent)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def words(requirement: LabelRequirement) -> str:
    """A requirement as ``kubectl --selector`` writes it."""
    values = ",".join(sorted(requirement.values))
    match requirement.operator:
        case "In" if len(requirement.values) == 1:
            return f"{requirement.key}={values}"
        case "In" | "NotIn":
            return f"{requirement.key} {requirement.operator.lower()} ({values})"
        case "Exists":
            return requirement.key
        case _:
            return f"!{requirement.key}"


_NAMES: Mapping[Step, str] = {Step.NAMESPACE: "namespace labels"}


def _is_made(rule: Rule, step: Step) -> bool:
    made = {
        Step.OPERATION: True,
        Step.POSITION: rule.since is not None,
        Step.NAME: rule.source.names,
        Step.NAMESPACE: rule.selects_namespaces,
        Step.LABELS: rule.source.labels.requirements,
        Step.CHANGED: rule.changed,
    }
    return bool(made[step])


_Words = tuple[str, tuple[str, ...]]


def _operation(rule: Rule, change: Change, passed: bool) -> _Words:
    return _one_of(change.operation, [kind for kind in Operation if kind in rule.source.operations], passed=passed), ()


def _position(_: Rule, change: Change, passed: bool) -> _Words:
    return f"version {change.resource_version}" + ("" if passed else " is from before the subscription listened"), ()


def _name(rule: Rule, change: Change, passed: bool) -> _Words:
    return _one_of(change.object["metadata"]["name"], sorted(rule.source.names), passed=passed), ()


def _labels(rule: Rule, change: Change, _: bool) -> _Words:
    return _selection(rule.source.labels, change.object["metadata"].get("labels") or {}, "the object")


def _changed(rule: Rule, change: Change, passed: bool) -> _Words:
    states = compared(change)
    if states is None:
        return "what can't be compared passes", ()
    same, differing = [], []
    for path in rule.changed:
        before, after = (paths.lookup(state, path) for state in states)
        if before == after:
            same.append(f"{dotted(path)}: {shown(after)}, as before")
        else:
            differing.append(f"{dotted(path)}: {shown(before)} -> {shown(after)}")
    text = f"{len(differing)} of {len(rule.changed)} differ" if passed else "none of the fields differs"
    return text, (*differing, *same)


_WORDS = {
    Step.OPERATION: _operation,
    Step.POSITION: _position,
    Step.NAME: _name,
    Step.LABELS: _labels,
    Step.CHANGED: _changed,
}


def _namespace(rule: Rule, change: Change, labels: NamespaceLabels, *, passed: bool) -> Check:
    name = change.object["metadata"].get("namespace", "")
    try:
        rule.check_namespace(change, labels)
    except EvaluationError as error:
        return Check(_NAMES[Step.NAMESPACE], Result.FAILED, str(error))
    found = labels(name)
    if found is None:
        return Check(_NAMES[Step.NAMESPACE], Result.PASSED, f"nobody knows those of {name}; a deletion passes")
    text, details = _selection(rule.source.namespace_selector, found, f"namespace {name}")
    return Check(_NAMES[Step.NAMESPACE], Result.PASSED if passed else Result.FAILED, text, details)


def _selection(selector: LabelSelector, labels: Mapping[str, str], whose: str) -> _Words:
    missed = [requirement for requirement in selector.requirements if not satisfied(requirement, labels)]
    if not missed:
        return ", ".join(map(words, selector.requirements)), ()
    reasons = []
    for requirement in missed:
        value = labels.get(requirement.key)
        has = f"has no {requirement.key}" if value is None else f"has {requirement.key}={value}"
        reasons.append(f"{words(requirement)}: {whose} {has}")
    return "; ".join(reasons), ()


def _one_of(value: str, wanted: Sequence[str], *, passed: bool) -> str:
    return value if passed else f"{value} is not one of {', '.join(wanted)}"


def dotted(path: paths.Path) -> str:
    """A path as people write it."""
    plain = re.compile(r"[A-Za-z0-9_-]+")
    return "".join(f".{step}" if plain.fullmatch(step) else f"['{step}']" for step in path).lstrip(".")
