"""The arguments of commands: parsers that completion can read, and the options that many commands share.

In: nothing. Out: a ``Parser`` with options that mean what they mean for kubectl. ``hookline.cli.main`` parses with it,
``hookline.cli.completion`` reads its options, ``hookline.cli.cluster`` uses the values.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

FORMATS = ("table", "wide", "json", "yaml", "name")

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL = re.compile(_LABEL)
"""A name of a namespace (RFC 1123, label), as a whole."""
SUBDOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.DOTALL)
"""A name of most other objects (RFC 1123, subdomain), as a whole."""
_KINDS = ("", "webhooksubscription", "webhooksubscriptions", "whsub")

SUBSCRIPTIONS, NAMESPACES, CONTEXTS = "subscriptions", "namespaces", "contexts"
"""What completion offers as values; see ``Parser.completes``."""

VALUE_OPTIONS = frozenset({"-n", "--namespace", "--context", "--kubeconfig"})
"""The shared options that take a value: they may also stand before the command, as in ``kubectl -n shop get``."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that takes no abbreviations, and that tells completion what it knows."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})
        self.completers: dict[str, str] = {}

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in a sentence, and exit with 2."""
        from hookline.cli.output import clean

        self.exit(2, f"{self.prog}: {clean(message)}\nSee {self.prog} --help\n")

    def completes(self, action: argparse.Action, what: str) -> None:
        """Let completion offer ``what`` (SUBSCRIPTIONS, NAMESPACES, CONTEXTS) as values of an option or argument."""
        self.completers[action.dest] = what

    @property
    def known(self) -> Sequence[argparse.Action]:
        """Every option and argument, in order."""
        return self._actions

    @property
    def children(self) -> dict[str, Parser]:
        """The parsers of its commands, by name; empty where it has none."""
        for action in self._actions:
            if isinstance(action.choices, dict):
                return {name: child for name, child in action.choices.items() if isinstance(child, Parser)}
        return {}


def add_cluster(parser: Parser, *, everywhere: bool = False) -> None:
    """Add --kubeconfig, --context and -n, and with ``everywhere`` -A. What ``Cluster`` needs."""
    group = parser.add_argument_group("cluster")
    group.add_argument("--kubeconfig", default="", metavar="FILE", help="default: KUBECONFIG, else ~/.kube/config")
    context = group.add_argument("--context", default="", metavar="NAME", help="context of the kubeconfig")
    where = group.add_mutually_exclusive_group() if everywhere else group
    chosen = where.add_argument(
        "-n",
        "--namespace",
        type=namespace_name,
        default="",
        metavar="NAME",
        help="default: the one of the context, else default",
    )
    parser.completes(context, CONTEXTS)
    parser.completes(chosen, NAMESPACES)
    parser.set_defaults(all_namespaces=False)
    if everywhere:
        where.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")


def add_output(parser: Parser, formats: Sequence[str] = FORMATS) -> None:
    """Add -o with these formats, the first of which is the default."""
    parser.add_argument(
        "-o", "--output", choices=tuple(formats), default=formats[0], metavar="FORMAT", help=f"{', '.join(formats)}"
    )


def add_subscription(parser: Parser, *, optional: bool = False) -> None:
    """Add the positional argument ``name``: a subscription's; None where it is optional and absent."""
    name = parser.add_argument(
        "name",
        metavar="SUBSCRIPTION",
        nargs="?" if optional else None,
        type=subscription_name,
        help="name of a WebhookSubscription" + ("; default: all of the namespace" if optional else ""),
    )
    parser.completes(name, SUBSCRIPTIONS)


def add_timeout(parser: Parser, seconds: float, what: str) -> None:
    """Add --timeout in seconds; 0 is no limit."""
    parser.add_argument(
        "--timeout",
        type=seconds_of,
        default=seconds,
        metavar="TIME",
        help=f"{what}, such as 30s or 5m (default: {seconds:g}s; 0: as long as it takes)",
    )


def seconds_of(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m``, ``2h`` or ``1d``."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    if not number.replace(".", "", 1).isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write for example 30s, 15m, 2h or 1d")
    return float(number) * units[unit]


def number(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 0 or more")
    return int(text)


def subscription_name(text: str) -> str:
    """The name of a subscription, also as kubectl has it with the kind: ``whsub/orders``."""
    kind, _, name = text.rpartition("/")
    if kind.removesuffix(".hookline.dev") not in _KINDS or not SUBDOMAIN.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a WebhookSubscription: see kubectl get whsub")
    return name


def namespace_name(text: str) -> str:
    """The name of a namespace; empty where none is given."""
    if text and not LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a namespace: it must be lower-case letters, digits and -, 63 at most"
        )
    return text
