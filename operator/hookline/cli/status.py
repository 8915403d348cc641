"""``hookline status``: how subscriptions are, in words, and what to do about those that are not well.

In: one subscription, those of a namespace, or all. Out: a table with advice below it, a page about one, or the objects.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hookline import reasons
from hookline.cli import arguments
from hookline.cli.advice import advice, status, summary
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster, run
from hookline.cli.output import Output, Styled, age, clean, clock
from hookline.errors import SettingsError

Object = Mapping[str, Any]
_COLUMNS = ("NAME", "STATUS", "ENDPOINT", "PENDING", "DEAD", "LAST SUCCESS", "LAST FAILURE", "AGE")
_WIDE = ("WATCHING", "MESSAGE")
_YES = {"True": ("yes", "good"), "False": ("no", "bad"), "Unknown": ("unknown", "unsure")}
_LABEL = 14


def configure(parser: Parser) -> None:
    """One subscription or all, where, and how."""
    parser.description = (
        "Say how subscriptions are, and what to do. With the name of one, say everything that is known of it. The exit "
        "code is 0 also when one is not well."
    )
    arguments.add_subscription(parser, optional=True)
    arguments.add_output(parser)
    arguments.add_cluster(parser, everywhere=True)
    parser.set_defaults(run=show)


def show(options: Namespace) -> int:
    """Returns 0. Raises CommandError, SettingsError."""
    if options.name and options.all_namespaces:
        raise SettingsError("-A: it is for all subscriptions; leave out the name, or give -n NAMESPACE")
    return run(options, _show)


async def _show(cluster: Cluster, options: Namespace, out: Output) -> int:
    if options.name:
        obj = await cluster.get(options.name)
        if out.format == "table":
            _page(obj, out, options.program)
            return 0
        objects = [obj]
    else:
        objects = await cluster.every(namespace=cluster.place.scope)
    if not out.human:
        out.objects(objects, single=bool(options.name))
    elif objects:
        _table(objects, out, options.program, everywhere=options.all_namespaces)
    else:
        out.note(f"There is no WebhookSubscription {cluster.place.words}; {options.program} new writes one.")
    return 0


def _table(objects: Sequence[Object], out: Output, program: str, *, everywhere: bool) -> None:
    now = time.time()
    columns = (*(("NAMESPACE",) if everywhere else ()), *_COLUMNS, *(_WIDE if out.wide else ()))
    rows = []
    for obj in objects:
        first = (obj["metadata"]["namespace"],) if everywhere else ()
        rows.append((*first, *_cells(obj, now), *(_more(obj) if out.wide else ())))
    out.table(columns, rows)
    told = [(obj["metadata"], advice(obj, program)) for obj in objects]
    if any(texts for _, texts in told):
        out.show()
        out.show(out.paint("What to do:", "strong"))
    for metadata, texts in told:
        name = f"{metadata['namespace']}/{metadata['name']}" if everywhere else metadata["name"]
        for text in texts:
            out.say(f"  {name}: {text}")


def _cells(obj: Object, now: float) -> Iterator[str | Styled]:
    told = status(obj)
    pending, dead = told.get("pending"), told.get("deadLettered")
    yield obj["metadata"]["name"]
    yield Styled(*summary(obj))
    yield told.get("endpoint") or "-"
    yield "-" if pending is None else str(pending)
    yield Styled(str(dead), "bad") if dead else "-" if dead is None else "0"
    yield age((told.get("lastDelivery") or {}).get("time"), now)
    yield _failed(told.get("lastFailure"), now)
    yield age(obj["metadata"].get("creationTimestamp"), now)


def _more(obj: Object) -> Iterator[str]:
    yield ",".join(item["resource"] for item in status(obj).get("watching") or ()) or "-"
    yield next((c["message"] for c in status(obj).get("conditions") or () if c["type"] == "Ready"), "-")


def _failed(failure: Mapping[str, Any] | None, now: float) -> str:
    return f"{age(failure.get('time'), now)} ({failure.get('reason', '')})" if failure else "-"


def _page(obj: Object, out: Output, program: str) -> None:
    now, told, metadata = time.time(), status(obj), obj["metadata"]
    words, style = summary(obj)
    title = f"{out.paint(metadata['name'], 'strong')} in namespace {clean(metadata['namespace'])}"
    out.show(f"{title}: {out.paint(words, style)}")
    out.show()
    for label, value in _facts(obj, now):
        out.say(f"{label + ':':{_LABEL}} {value}" if label else f"{'':{_LABEL}} {value}")
    out.show()
    conditions = told.get("conditions") or ()
    rows = [(item["type"], _holds(item), item["reason"], item["message"]) for item in conditions]
    out.table(("CONDITION", "HOLDS", "REASON", "MESSAGE"), rows)
    if texts := advice(obj, program):
        out.show()
        out.show(out.paint("What to do:", "strong"))
        for text in texts:
            out.say(f"  - {text}")


def _holds(item: Mapping[str, Any]) -> Styled:
    # Reconciling and Stalled, as kstatus has them, are there while something is amiss.
    if item["type"] in (reasons.RECONCILING, reasons.STALLED):
        return Styled("yes", "unsure")
    return Styled(*_YES.get(item["status"], (str(item["status"]), "")))


def _facts(obj: Object, now: float) -> Iterator[tuple[str, str]]:
    told, spec = status(obj), obj.get("spec") or {}
    yield "Endpoint", told.get("endpoint") or "not known yet"
    yield from _first_labelled("Watches", _sources(told, spec, now))
    yield "Messages", _messages(told)
    yield "Last success", _event(told.get("lastDelivery"), now, "none yet")
    yield "Last failure", _event(told.get("lastFailure"), now, "none")
    if since := told.get("failingSince"):
        yield "Failing since", f"{clock(since)} ({age(since, now)})"
    if drop := told.get("lastDrop"):
        why = f"{drop['reason']}. {drop.get('message', '')}".rstrip(". ")
        yield "Last dropped", f"{age(drop.get('time'), now)} ago: {why}"
    yield from _first_labelled("Signed with", _keys(told.get("signing") or {}))


def _sources(told: Mapping[str, Any], spec: Mapping[str, Any], now: float) -> list[str]:
    lines = []
    for item in told.get("watching") or ():
        names = item.get("namespaces")
        where = "" if not names else " in every namespace" if names == ["*"] else f" in {', '.join(names)}"
        lines.append(f"{item['resource']}{where}, for {age(item.get('since'), now)}")
    if not lines:
        wanted = ", ".join(f"{source['kind']} ({source['apiVersion']})" for source in spec.get("sources") or ())
        lines.append(f"nothing yet; wanted: {wanted}")
    return lines


def _messages(told: Mapping[str, Any]) -> str:
    numbers = [f"{told.get('pending', 0)} pending", f"{told.get('deadLettered', 0)} dead letters"]
    if told.get("dropped"):
        numbers.append(f"{told['dropped']} dropped")
    return ", ".join(numbers)


def _event(event: Mapping[str, Any] | None, now: float, none: str) -> str:
    if not event:
        return none
    why = event.get("reason") or f"HTTP{event.get('statusCode', '')}"
    return f"{age(event.get('time'), now)} ago ({why}), {event.get('id', '')}"


def _keys(signing: Mapping[str, Any]) -> list[str]:
    if not signing.get("secretName"):
        return ["no key yet"]
    lines = [f"Secret {signing['secretName']}"]
    for key in signing.get("keys") or ():
        until = key.get("signsUntil")
        lines.append(f"{key['entry']}{f', until {clock(until)}' if until else ''}")
    if signing.get("message"):
        lines.append(signing["message"])
    return lines


def _first_labelled(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines):
        yield ("" if number else label), line
