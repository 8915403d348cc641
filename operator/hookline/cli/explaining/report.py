"""What people and programs read of explanations. Pure but for the printing.

In: a ``Subject`` and ``Explanation``s. Out: lines, or one JSON or YAML value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from hookline.cli.explaining.looking import Explanation
from hookline.cli.explaining.request import OF_THE_CHANGE, Sketch
from hookline.cli.explaining.standing import SENDING
from hookline.cli.explaining.steps import Check, Result
from hookline.cli.explaining.subject import Subject
from hookline.cli.output import Output, clean, to_json

_MARKS = {Result.PASSED: ("yes", "good"), Result.FAILED: ("no", "bad"), Result.UNKNOWN: ("?", "unsure")}
_VERDICTS = {Result.PASSED: "Match", Result.FAILED: "NoMatch", Result.UNKNOWN: "Unknown"}
_IN_FORCE = {Result.PASSED: "True", Result.FAILED: "False", Result.UNKNOWN: "Unknown"}
_WIDTH = 16


def show(out: Output, subject: Subject, explanations: Sequence[Explanation]) -> None:
    """For people: the verdict on each, every test, and what would be sent."""
    out.show(out.paint(_about(subject), "strong"))
    for explanation in explanations:
        out.show()
        text, style = headline(explanation)
        name = f"{explanation.namespace}/{explanation.name}"
        out.show(f"{out.paint(name, 'strong')}: {out.paint(text, style)}")
        _checks(out, explanation.standing, "  ")
        for source in explanation.sources:
            out.show(f"  {clean(source.title)}")
            _checks(out, source.checks, "    ")
        if explanation.problem:
            out.show(f"  {out.paint(explanation.problem, 'unsure')}")
        if explanation.sketch is not None:
            _request(out, explanation.sketch, sure=explanation.verdict is Result.PASSED)


def headline(explanation: Explanation) -> tuple[str, str]:
    """The verdict in a few words, and its style."""
    against = explanation.blocks
    if not explanation.sources:
        return "its spec can't be used", "bad"
    match explanation.verdict:
        case Result.FAILED:
            return "does not match", "bad"
        case Result.UNKNOWN:
            return "can't be told", "unsure"
    if against is not None and against.step == SENDING:
        return "matches, but nothing is sent now", "unsure"
    if against is not None:
        return f"would match, but is not in force: see {against.step}", "unsure"
    return "matches", "good"


def plain(subject: Subject, explanations: Iterable[Explanation]) -> dict[str, Any]:
    """For JSON and YAML."""
    metadata = subject.object["metadata"]
    keys = ("namespace", "name", "uid", "resourceVersion")
    about = {"apiVersion": subject.resource.api_version, "kind": subject.resource.kind}
    about |= {key: metadata[key] for key in keys if key in metadata and f"metadata.{key}" not in subject.lacks}
    return {
        "object": about,
        **({"operation": subject.operation.value} if subject.operation is not None else {}),
        "dependsOnTheChange": list(OF_THE_CHANGE),
        "subscriptions": [_plain(explanation) for explanation in explanations],
    }


def _plain(explanation: Explanation) -> dict[str, Any]:
    value: dict[str, Any] = {
        "namespace": explanation.namespace,
        "name": explanation.name,
        "verdict": _VERDICTS[explanation.verdict],
        "inForce": _IN_FORCE[explanation.in_force],
        "checks": [_plain_check(check) for check in explanation.standing],
        "sources": [
            {"source": look.title, "verdict": _VERDICTS[look.result], "checks": list(map(_plain_check, look.checks))}
            for look in explanation.sources
        ],
    }
    if explanation.problem:
        value["problem"] = explanation.problem
    if explanation.sketch is not None:
        value["request"] = explanation.sketch.plain()
    return value


def _plain_check(check: Check) -> dict[str, Any]:
    value: dict[str, Any] = {"step": str(check.step), "result": check.result.value, "message": check.text}
    return value | ({"details": list(check.details)} if check.details else {})


def _about(subject: Subject) -> str:
    where = f" in namespace {subject.namespace}" if subject.namespace else ""
    if subject.operation is None:
        return f"{subject.resource.kind} {subject.name}{where}, as if what a source listens to happened now"
    known = ", the state before not known" if subject.blind(subject.operation) else ""
    return f"{subject.resource.kind} {subject.name}{where}, as if it were {subject.operation} now{known}"


def _checks(out: Output, checks: Iterable[Check], indent: str) -> None:
    for check in checks:
        mark, style = _MARKS[check.result]
        out.show(f"{indent}{check.step:<{_WIDTH}} {out.paint(f'{mark:<3}', style)} {clean(check.text)}")
        for detail in check.details:
            out.show(out.paint(f"{indent}{'':<{_WIDTH}}     {detail}", "dim"))


def _request(out: Output, sketch: Sketch, *, sure: bool) -> None:
    out.show(f"  {'' if sure else 'if it matches: '}POST {clean(sketch.endpoint)}")
    for header in sketch.headers:
        value = out.paint(f"({header.hidden})", "dim") if header.hidden else clean(header.value)
        out.show(f"    {clean(header.name)}: {value}")
    out.show()
    for line in to_json(orjson.loads(sketch.body)).splitlines():
        out.show(f"    {clean(line)}")
