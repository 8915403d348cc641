"""``hookline deliveries``: what was sent and what waits, from the operator's API; one with its request; or as it comes.

In: one subscription or all of a namespace. Out: a table, the newest first; a page about one delivery; or lines.
"""

from __future__ import annotations

import asyncio
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hookline.cli import arguments
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster, CommandError, Denied, Missing, run
from hookline.cli.output import Cell, Output, Styled, age, clock, duration, instant
from hookline.cli.remote import Remote, add_operator, choose_server
from hookline.errors import SettingsError

Object = Mapping[str, Any]
SHOW = "show"
LIMIT = 50
STREAMS = 8
"""Subscriptions that are followed at once, as many as the operator lets one user."""
_STATES = {"pending": "Pending", "delivered": "Delivered", "dead": "Dead"}
_STYLES = {"Delivered": "good", "Dead": "bad", "Pending": "unsure", "InFlight": "unsure"}
_COLUMNS = ("ID", "STATE", "VERDICT", "ATTEMPTS", "TYPE", "AGE")
_WIDE = ("SEQUENCE", "SIZE", "NEXT", "FINISHED")


def configure(parser: Parser) -> None:
    """Whose deliveries, or which one; which states; once or as they come."""
    parser.usage = "%(prog)s [SUBSCRIPTION] [OPTIONS]\n       %(prog)s show ID [-s SUBSCRIPTION] [OPTIONS]"
    parser.description = (
        "List what was sent and what waits to be, the newest first. With show and a webhook-id: one delivery, its "
        "request and its verdict. Finished ones are stored as long as the operator's retention says."
    )
    words = parser.add_argument("words", nargs="*", metavar="SUBSCRIPTION | show ID", help="default: all subscriptions")
    parser.completes(words, arguments.SUBSCRIPTIONS)
    which = parser.add_argument(
        "-s",
        "--subscription",
        type=arguments.subscription_name,
        default=None,
        metavar="NAME",
        help="with show: whose delivery",
    )
    parser.completes(which, arguments.SUBSCRIPTIONS)
    parser.add_argument(
        "--state",
        action="append",
        choices=tuple(_STATES),
        metavar="STATE",
        help="pending, delivered, dead; may repeat",
    )
    parser.add_argument(
        "--limit",
        type=arguments.number,
        default=LIMIT,
        metavar="N",
        help=f"of each subscription (default: {LIMIT}; 0: all)",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what changes, until Ctrl-C")
    arguments.add_output(parser)
    arguments.add_cluster(parser, everywhere=True)
    add_operator(parser)
    parser.set_defaults(run=deliveries)


def deliveries(options: Namespace) -> int:
    """Returns 0. Raises CommandError, SettingsError."""
    choose_server(options)
    words = options.words
    if words[:1] == [SHOW]:
        if len(words) != 2:
            raise SettingsError("show: give one webhook-id, as the list has it")
        if options.follow or options.state:
            raise SettingsError("show: it is about one delivery; leave out --follow and --state")
        return run(options, _show)
    if len(words) > 1:
        raise SettingsError("give one SUBSCRIPTION or none; for one delivery: show ID")
    if words and options.all_namespaces:
        raise SettingsError("-A: it is for all subscriptions; leave out the name, or give -n NAMESPACE")
    try:
        options.words = [arguments.subscription_name(word) for word in words]
    except ArgumentTypeError as error:
        raise SettingsError(f"SUBSCRIPTION: {error}") from None
    return run(options, _follow if options.follow else _list)


async def _list(cluster: Cluster, options: Namespace, out: Output) -> int:
    if not (names := await _subscriptions(cluster, options)):
        return _nobody(cluster, out)
    found: list[Object] = []
    async with Remote.connect(cluster, options, out) as remote:
        for namespace, name in names:
            try:
                found += await remote.newest(namespace, name, _states(options), options.limit)
            except Missing as error:  # of several, one may be of a namespace that the operator does not serve
                if not _several(options):
                    raise
                out.note(str(error))
    found.sort(key=lambda obj: instant(obj["metadata"].get("creationTimestamp")) or 0.0, reverse=True)
    if not out.human:
        out.objects(found)
    elif found:
        out.table(_head(options, out), [_row(obj, options, out) for obj in found])
    else:
        out.note(f"There is no delivery {cluster.place.words}: nothing matched yet, or it is not stored any more.")
    return 0


async def _show(cluster: Cluster, options: Namespace, out: Output) -> int:
    identity = options.words[1]
    if options.subscription:
        names = [(cluster.place.namespace, options.subscription)]
    else:
        names = await _subscriptions(cluster, options)
    async with Remote.connect(cluster, options, out) as remote:
        for namespace, name in names:
            try:
                found = await remote.one(namespace, name, identity)
            except Missing:
                continue
            if out.human:
                _page(found, out)
            else:
                out.objects([found], single=True)
            return 0
    whose = f"of {options.subscription} " if options.subscription else ""
    raise CommandError(
        f'there is no delivery "{identity}" {whose}{cluster.place.words}; finished ones are kept for a time only'
    )


async def _follow(cluster: Cluster, options: Namespace, out: Output) -> int:
    if not (names := await _subscriptions(cluster, options)):
        return _nobody(cluster, out)
    if len(names) > STREAMS:
        raise CommandError(f"{len(names)} subscriptions can't be followed at once, {STREAMS} can: name one")
    lines = _Lines(options, out)
    async with Remote.connect(cluster, options, out) as remote:
        try:
            async with asyncio.TaskGroup() as tasks:
                for namespace, name in names:
                    tasks.create_task(_stream(remote, namespace, name, options, lines))
        except ExceptionGroup as errors:  # except* would raise a group again, whatever it raises
            raise errors.exceptions[0] from None
    return 0


async def _stream(remote: Remote, namespace: str, name: str, options: Namespace, lines: _Lines) -> None:
    async for kind, obj in remote.watch(namespace, name, _states(options), min(options.limit, LIMIT)):
        if kind != "DELETED":
            lines.show(obj)


class _Lines:
    """A table that grows: columns are as wide as what was shown so far."""

    def __init__(self, options: Namespace, out: Output) -> None:
        self._options = options
        self._out = out
        self._rows = self._out.growing(_head(options, out)) if out.human else None

    def show(self, obj: Object) -> None:
        if self._rows is not None:
            self._rows(_row(obj, self._options, self._out))
        elif self._out.format == "json":
            self._out.value(obj, line=True)
        elif self._out.format == "name":
            self._out.name(obj)
        else:
            self._out.document(obj)


async def _subscriptions(cluster: Cluster, options: Namespace) -> list[tuple[str, str]]:
    if options.words and options.words[0] != SHOW:
        return [(cluster.place.namespace, options.words[0])]
    try:
        found = await cluster.every(namespace=cluster.place.scope)
    except Denied as error:
        one = f"show {options.words[1]} -s SUBSCRIPTION" if options.words else "SUBSCRIPTION"
        where = "-n NAMESPACE" if options.all_namespaces else f"-n {cluster.place.namespace}"
        raise CommandError(
            f"{error}. Without it, name the subscription: {options.program} deliveries {one} {where}"
        ) from None
    return [(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in found]


def _nobody(cluster: Cluster, out: Output) -> int:
    """Where there is no subscription, there is nobody to ask the operator about."""
    if out.format in ("json", "yaml"):
        out.objects([])
    out.note(f"There is no delivery {cluster.place.words}: there is no WebhookSubscription.")
    return 0


def _states(options: Namespace) -> list[str]:
    return [_STATES[state] for state in options.state or ()]


def _several(options: Namespace) -> bool:
    return not options.words


def _head(options: Namespace, out: Output) -> tuple[str, ...]:
    first = (*(("NAMESPACE",) if options.all_namespaces else ()), *(("SUBSCRIPTION",) if _several(options) else ()))
    return (*first, *_COLUMNS, *(_WIDE if out.wide else ()))


def _row(obj: Object, options: Namespace, out: Output) -> tuple[Cell, ...]:
    return tuple(_cells(obj, options, out))


def _cells(obj: Object, options: Namespace, out: Output) -> Iterator[Cell]:
    metadata, spec, status, now = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}, time.time()
    if options.all_namespaces:
        yield metadata.get("namespace", "-")
    if _several(options):
        yield spec.get("subscriptionName", "-")
    state = str(status.get("state", "-"))
    yield metadata["name"]
    yield Styled(state, _STYLES.get(state, ""))
    yield _verdict(status)
    yield str(status.get("attempts", "-"))
    yield spec.get("type", "-")
    yield age(metadata.get("creationTimestamp"), now)
    if out.wide:
        yield str(spec.get("sequence", "-"))
        yield str(spec.get("size", "-"))
        yield _ahead(status.get("dueTime"), now)
        yield age(status.get("finishedTime"), now)


def _verdict(status: Mapping[str, Any]) -> str:
    reason, code = status.get("reason"), status.get("statusCode")
    if reason == "Delivered" and code:
        return f"HTTP{code}"
    return str(reason or "-")


def _ahead(time_: str | None, now: float) -> str:
    then = instant(time_)
    if then is None:
        return "-"
    return f"in {duration(then - now)}" if then > now else "now"


def _page(obj: Object, out: Output) -> None:
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    state = str(status.get("state", ""))
    name = out.paint(metadata["name"], "strong")
    out.show(f"{name}: {out.paint(state, _STYLES.get(state, ''))}, {out.paint(_verdict(status), '')}")
    out.show()
    facts = [
        ("Subscription", f"{spec.get('subscriptionName')} in namespace {metadata.get('namespace')}"),
        ("Type", spec.get("type")),
        ("Object", f"uid {spec.get('objectUID')}"),
        ("Sequence", spec.get("sequence")),
        ("Attempts", status.get("attempts")),
        ("Happened", clock(status.get("observedTime"))),
        ("Stored", clock(metadata.get("creationTimestamp"))),
        ("Next attempt", clock(status.get("dueTime"))),
        ("Finished", clock(status.get("finishedTime"))),
        ("Size", f"{spec.get('size')} bytes"),
    ]
    for label, value in facts:
        if value not in (None, "", "-"):
            out.say(f"{label + ':':14} {value}")
    _request(obj.get("request") or {}, out)


def _request(request: Mapping[str, Any], out: Output) -> None:
    if not request:
        return
    out.show()
    out.show(out.paint("Request (without signature and credentials, which are made for each attempt):", "strong"))
    headers: Sequence[Mapping[str, str]] = request.get("headers") or ()
    for header in headers:
        out.say(f"  {header['name']}: {header['value']}")
    out.show()
    binary = request.get("bodyEncoding") == "base64"
    if binary:
        out.say("  (base64)")
    for line in _readable(str(request.get("body", "")), binary=binary):
        out.say(f"  {line}")
    if request.get("bodyTruncated"):
        out.say("  … (cut; the operator shows no more of it)")


def _readable(body: str, *, binary: bool) -> list[str]:
    """The body for people: JSON is indented, anything else is as it is."""
    import json

    from hookline.cli.output import to_json

    if not binary:
        try:
            return to_json(json.loads(body)).split("\n")
        except ValueError:
            pass
    return body.split("\n")
