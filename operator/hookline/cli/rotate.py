"""``hookline rotate-key``: change the keys that a subscription is signed with, and say what its receiver must do.

In: a subscription whose Secret Hookline made. Out: the annotation ``hookline.dev/rotate-key``, then which keys sign,
until when the old ones do, and how the receiver gets the new one. No key is ever read or shown.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from hookline import reasons
from hookline.cli import requesting
from hookline.cli.advice import condition, status
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster, CommandError, run
from hookline.cli.output import Output, clock, duration, instant

Object = Mapping[str, Any]
PATIENCE = 6
"""Looks at the status after which a message in it is believed to be about this request, and not the one before."""


def configure(parser: Parser) -> None:
    """Which subscription, and how long to wait."""
    parser.description = (
        "Make new signing keys, beside which the old ones sign for a while, and wait until the new ones sign. Say what "
        "the receiver must do until when. Keys are not shown."
    )
    requesting.configure(parser, "the new key")
    parser.set_defaults(run=rotate)


def rotate(options: Namespace) -> int:
    """Returns 0 when the new key signs. Raises CommandError, SettingsError."""
    return run(options, _rotate)


async def _rotate(cluster: Cluster, options: Namespace, out: Output) -> int:
    before = await cluster.get(options.name)
    if own := ((before.get("spec") or {}).get("signing") or {}).get("secretName"):
        raise CommandError(_yours(own, cluster.place.namespace))
    asked = await requesting.ask(cluster, options.name, reasons.ROTATE_KEY)
    looks = 0

    def done(obj: Object) -> Object | None:
        nonlocal looks
        looks += 1
        signing = status(obj).get("signing") or {}
        if signing.get("lastHandledRotateKey") == asked.value:
            return obj
        if looks > PATIENCE and signing.get("message"):
            raise CommandError(f"no key was made: {signing['message']}")
        return None

    try:
        after = await cluster.wait(
            options.name,
            reasons.PLURAL,
            done,
            options.timeout,
            lambda _: out.progress.update("waiting until the new key signs"),
        )
    except TimeoutError:
        ready = condition(await cluster.get(options.name), reasons.READY)
        raise CommandError(
            f"within {options.timeout:g} s the operator made no key: {ready.get('message', '')}. Does it run, and "
            "serve this namespace? The key is made when it does"
        ) from None
    if not out.human:
        out.objects([after], single=True)
        return 0
    for line in sentences(after, asked.at):
        out.say(line)
    return 0


def sentences(obj: Object, now: float) -> list[str]:
    """What was done, and what the receiver must do until when."""
    signing = status(obj).get("signing") or {}
    name, namespace = signing.get("secretName", ""), obj["metadata"]["namespace"]
    keys: Sequence[Mapping[str, Any]] = signing.get("keys") or ()
    newest = [key["entry"] for key in keys if "signsUntil" not in key]
    ends = sorted(key["signsUntil"] for key in keys if (instant(key.get("signsUntil")) or 0.0) > now)
    lines = [f"New keys sign: {', '.join(newest)} of Secret {name}."]
    if ends:
        left = _about((instant(ends[-1]) or now) - now)
        lines.append(f"The old ones sign beside them until {clock(ends[-1])}, for {left}.")
        lines.append("Give the receiver the new key until then; it verifies with either meanwhile:")
    else:
        lines.append("The old ones do not sign any more: the receiver refuses everything until it has the new key:")
    for entry in newest:
        if entry.partition(".")[0] == "v1":
            path = entry.replace(".", "\\.")
            command = f"kubectl get secret {name} -n {namespace} -o jsonpath='{{.data.{path}}}' | base64 -d"
            lines.append(f"  HMAC (v1): {command}")
    if public := signing.get("publicKeys"):
        lines.append(f"  ed25519 (v1a), public: {public[0]}")
    return lines


def _about(seconds: float) -> str:
    """A time that began a moment ago, as long as it was meant: rounded up, to minutes where it has some."""
    unit = 60 if seconds > 120 else 1
    return duration(math.ceil(seconds / unit) * unit)


def _yours(secret: str, namespace: str) -> str:
    return (
        f"the Secret {secret} is yours, and Hookline never writes to it. Add a key to it; the old one signs beside it "
        f"for a while: kubectl patch secret {secret} -n {namespace} --type merge -p "
        '"{\\"stringData\\": {\\"v1.$(date -u +%Y%m%dT%H%M%SZ)\\": \\"whsec_$(openssl rand -base64 32)\\"}}"'
    )
