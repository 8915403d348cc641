"""``hookline version``."""

from __future__ import annotations

from argparse import Namespace

from hookline import __version__
from hookline.cli.arguments import Parser


def configure(parser: Parser) -> None:
    """No arguments."""
    parser.description = "Print the version."
    parser.set_defaults(run=version)


def version(_: Namespace) -> int:
    """Returns 0."""
    print(__version__)
    return 0
