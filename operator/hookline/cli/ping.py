"""``hookline ping``: let the operator send one signed message of the type ``dev.hookline.ping``, and say the verdict.

In: a subscription. Out: the annotation ``hookline.dev/requested-at``, which takes up again one that was given up, too;
then what the status says of the attempt. The message's id follows from the annotation, so the verdict is known by it.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple

from hookline import reasons
from hookline.cli import requesting
from hookline.cli.advice import advice, condition, stale, status
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster, CommandError, run
from hookline.cli.output import Output, instant

Object = Mapping[str, Any]
PATIENCE = 8
"""Looks at the status during which the ping's own verdict is awaited though a later one stands there already."""


class Verdict(NamedTuple):
    """How an attempt went: of the ping, or (``later``) of a message after it."""

    good: bool
    id: str
    words: str
    later: bool = False


def configure(parser: Parser) -> None:
    """Which subscription, and how long to wait."""
    parser.description = (
        "Send one signed ping to the endpoint now, and say how it went. A subscription that was given up is taken up "
        "again. The exit code is 1 when the endpoint did not accept the ping."
    )
    requesting.configure(parser, "the verdict")
    parser.set_defaults(run=ping)


def ping(options: Namespace) -> int:
    """Returns 0 when the endpoint accepted the ping, 1 when it did not. Raises CommandError, SettingsError."""
    return run(options, _ping)


async def _ping(cluster: Cluster, options: Namespace, out: Output) -> int:
    from hookline.render.identity import ping_id

    before = await cluster.get(options.name)
    if (before.get("spec") or {}).get("suspend"):
        raise CommandError(f"{options.name} is suspended: nothing is sent. Set `spec.suspend` to false first")
    accepted = condition(before, reasons.ACCEPTED)
    if accepted.get("status") == "False" and not stale(before):
        raise CommandError(f"the spec of {options.name} is refused, so no ping is sent: {accepted.get('message', '')}")
    asked = await requesting.ask(cluster, options.name, reasons.REQUESTED_AT)
    watcher = Watcher(ping_id(asked.object["metadata"]["uid"], asked.value), asked.value, asked.at, asked.object)

    def told(obj: Object) -> None:
        out.progress.update("waiting for the verdict" if watcher.taken(obj) else "waiting for the operator")

    try:
        verdict = await cluster.wait(options.name, reasons.PLURAL, watcher.look, options.timeout, told)
    except TimeoutError:
        raise CommandError(_no_verdict(await cluster.get(options.name), watcher, options)) from None
    after = await cluster.get(options.name)
    if not out.human:
        out.objects([after], single=True)
    else:
        _say(verdict, after, options.program, out)
    return 0 if verdict.good else 1


class Watcher:
    """Looks at the status of one subscription for what became of one ping, asked for at ``asked`` (Unix seconds).

    ``before`` is the subscription as it was then: what its status has already is about no later message.
    """

    def __init__(self, identity: str, value: str, asked: float, before: Object) -> None:
        self._id = identity
        self._value = value
        self._asked = math.floor(asked)  # as the status has it: in whole seconds
        self._known = [status(before).get("lastDelivery"), status(before).get("lastFailure")]
        self._looks = 0

    def taken(self, obj: Object) -> bool:
        """Whether the operator carried the request out: the ping is stored."""
        return status(obj).get("lastHandledRequestedAt") == self._value

    def look(self, obj: Object) -> Verdict | None:
        """The verdict; None while there is none."""
        if not self.taken(obj):
            return None
        delivery, failure = status(obj).get("lastDelivery") or {}, status(obj).get("lastFailure") or {}
        if delivery.get("id") == self._id:
            return Verdict(True, self._id, f"the endpoint accepted it (HTTP{delivery.get('statusCode', '')})")
        if failure.get("id") == self._id:
            return Verdict(False, self._id, f"it failed: {failure.get('reason', '')}")
        return self._later(delivery, failure)

    def _later(self, delivery: Mapping[str, Any], failure: Mapping[str, Any]) -> Verdict | None:
        self._looks += 1
        new = [event for event in (delivery, failure) if event not in self._known]
        since = [event for event in new if (instant(event.get("time")) or 0.0) >= self._asked]
        if not since or self._looks < PATIENCE:
            return None
        last = max(since, key=lambda event: instant(event["time"]) or 0.0)
        if last is delivery:
            return Verdict(True, last["id"], f"the endpoint accepted it (HTTP{last.get('statusCode', '')})", later=True)
        return Verdict(False, last["id"], f"it failed: {last.get('reason', '')}", later=True)


def _say(verdict: Verdict, obj: Object, program: str, out: Output) -> None:
    what = f"a message after the ping, {verdict.id}" if verdict.later else f"ping {verdict.id}"
    endpoint = status(obj).get("endpoint") or "its endpoint"
    name = obj["metadata"]["name"]
    out.show(out.paint(f"{name} -> {endpoint}: {what}: {verdict.words}", "good" if verdict.good else "bad"))
    if not verdict.good:
        for text in advice(obj, program):
            out.note(f"  - {text}")


def _no_verdict(obj: Object, watcher: Watcher, options: Namespace) -> str:
    seconds = f"{options.timeout:g} s"
    if not watcher.taken(obj):
        ready = condition(obj, reasons.READY)
        return (
            f"within {seconds} the operator did not take the request up: {ready.get('message', '')}. Does it run, and "
            f"serve this namespace? The ping is sent when it does. {options.program} status {options.name} says more"
        )
    return (
        f"the ping was stored, and within {seconds} there was no verdict. Messages that wait: "
        f"{status(obj).get('pending', 0)}. {options.program} status {options.name} says more"
    )
