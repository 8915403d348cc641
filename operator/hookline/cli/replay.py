"""``hookline replay``: send dead letters, or other stored messages, of one subscription again.

In: which messages. Out: a WebhookReplay, made with the user's own rights; with --wait, how it went.
"""

from __future__ import annotations

import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hookline import reasons
from hookline.cli import arguments
from hookline.cli.advice import condition, status
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster, CommandError, run
from hookline.cli.output import Output, clean, rfc3339
from hookline.errors import SettingsError

Object = Mapping[str, Any]
_STATES = {"dead": "Dead", "delivered": "Delivered"}


def configure(parser: Parser) -> None:
    """Whose messages, which of them, and whether to wait."""
    parser.description = (
        "Send stored messages again, once: the same ids and bytes, with a fresh signature. Without options, all dead "
        "letters of the subscription."
    )
    arguments.add_subscription(parser)
    which = parser.add_argument_group("which messages")
    which.add_argument("--id", action="append", default=[], metavar="ID", help="only this webhook-id; may be repeated")
    which.add_argument(
        "--since", type=_moment, metavar="TIME", help="only messages stored since: 2h, or 2026-01-31T12:00:00Z"
    )
    which.add_argument(
        "--until", type=_moment, metavar="TIME", help="only messages stored before: 30m, or 2026-01-31T13:00:00Z"
    )
    which.add_argument(
        "--state",
        action="append",
        choices=tuple(_STATES),
        metavar="STATE",
        help="dead or delivered, which the endpoint then gets twice; may be repeated (default: dead)",
    )
    parser.add_argument("--wait", action="store_true", help="wait until all are delivered or given up")
    arguments.add_timeout(parser, 0, "how long to --wait")
    arguments.add_output(parser, ("table", "json", "yaml", "name"))
    arguments.add_cluster(parser)
    parser.set_defaults(run=replay)


def replay(options: Namespace) -> int:
    """Returns 0, or 1 when not all messages were delivered, or not all that --id names were selected.

    Raises CommandError, SettingsError.
    """
    if options.id and (options.since or options.until):
        raise SettingsError("--id: it chooses messages by itself; leave out --since and --until")
    if options.since and options.until and options.since >= options.until:
        raise SettingsError("--until: it must be later than --since")
    return run(options, _replay)


async def _replay(cluster: Cluster, options: Namespace, out: Output) -> int:
    subscription = await cluster.get(options.name)
    made: Object = await cluster.create(_body(options), reasons.REPLAY_PLURAL)
    name = made["metadata"]["name"]
    if (subscription.get("spec") or {}).get("suspend"):
        out.note(f'{options.name} is suspended: the replay "{name}" waits until it is not')
    if options.wait:
        made = await _finished(cluster, name, options, out)
    if not out.human:
        out.objects([made], single=True)
    elif options.wait:
        complete = condition(made, reasons.COMPLETE)
        good = complete.get("status") == "True"
        out.show(f"{clean(name)}: {out.paint(str(complete.get('message', '')), 'good' if good else 'bad')}")
    else:
        out.say(f"webhookreplay.{reasons.GROUP}/{name} created")
        out.note(f"How far it is: kubectl get whreplay {name} -n {cluster.place.namespace}")
    if not options.wait:
        return 0
    if text := _unselected(made):
        out.note(text)
    return 1 if text or condition(made, reasons.FAILED).get("status") == "True" else 0


def _unselected(made: Object) -> str:
    """That fewer messages were selected than were named; empty when all of them were. Which ones, nobody says."""
    asked, selected = len(made["spec"].get("ids") or ()), status(made).get("total")
    if selected is None or selected >= asked:  # without a total it was refused, and that is said
        return ""
    return (
        f"Of {asked} that --id names, {selected} {'was' if selected == 1 else 'were'} selected: the others are not "
        "stored any more, wait to be sent anyhow, are in another --state, or of another subscription"
    )


def _body(options: Namespace) -> dict[str, Any]:
    chosen = {
        "subscriptionName": options.name,
        "states": [_STATES[state] for state in dict.fromkeys(options.state)] if options.state else None,
        "from": options.since,
        "to": options.until,
        "ids": list(dict.fromkeys(options.id)) or None,
    }
    # With ids, both states: who names a message means it, whatever became of it.
    if options.id and not options.state:
        chosen["states"] = list(_STATES.values())
    return {
        "apiVersion": f"{reasons.GROUP}/{reasons.VERSION}",
        "kind": "WebhookReplay",
        "metadata": {"generateName": f"{options.name[:240]}-"},
        "spec": {key: value for key, value in chosen.items() if value is not None},
    }


async def _finished(cluster: Cluster, name: str, options: Namespace, out: Output) -> Object:
    def done(obj: Object) -> Object | None:
        ended = (condition(obj, kind).get("status") == "True" for kind in (reasons.COMPLETE, reasons.FAILED))
        return obj if any(ended) else None

    def told(obj: Object) -> None:
        numbers = status(obj)
        if "total" in numbers:
            sent, failed, total = numbers.get("replayed", 0), numbers.get("failed", 0), numbers["total"]
            out.progress.update(f"{name}: {sent} of {total} delivered again, {failed} given up")
        else:
            out.progress.update(f"{name}: {condition(obj, reasons.COMPLETE).get('message', 'waiting')}")

    try:
        return await cluster.wait(name, reasons.REPLAY_PLURAL, done, options.timeout, told)
    except TimeoutError:
        last = condition(await cluster.get(name, reasons.REPLAY_PLURAL), reasons.COMPLETE)
        raise CommandError(
            f"after {options.timeout:g} s the replay {name} is not done: {last.get('message', '')}. It goes on by "
            f"itself: kubectl get whreplay {name} -n {cluster.place.namespace}"
        ) from None


def _moment(text: str) -> str:
    """RFC 3339 of itself, or of that long ago."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.fromtimestamp(time.time() - arguments.seconds_of(text), UTC)
        except (ArgumentTypeError, OverflowError, ValueError, OSError):
            raise ArgumentTypeError(
                f"{text!r} is no time; write how long ago, such as 2h or 3d, or 2026-01-31T12:00:00Z"
            ) from None
    if moment.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} has no time zone; write Z at its end for UTC")
    return rfc3339(moment)
