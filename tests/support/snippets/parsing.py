"""``python -m support.snippets.parsing PROGRAM COMMAND…``: reads a command line with its own parsers, and ends.

In: ``hookline`` or ``kubectl hookline``, and what follows. Out: exit code 0 when the parsers take it; else what they
say.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hookline.cli.main import COMMANDS, parser_of, split
from hookline.errors import SettingsError
from hookline.settings import Settings


def main(program: str, arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    name, rest = split(list(arguments))
    if name in ("-h", "--help", "help"):
        return 0
    command = COMMANDS.get(name)
    if command is None or not (command.cluster or program == "hookline"):
        sys.stderr.write(f"{program}: there is no command {name!r}" + "\n")
        return 2
    if "--help" in rest or "-h" in rest:
        rest = [item for item in rest if item not in ("--help", "-h")][:1]
        return 0 if not rest or not rest[0].startswith("-") else 2
    parser_of(name, program).parse_args(rest)
    if name == "run":
        try:
            Settings.parse(rest, {})
        except SettingsError as error:
            sys.stderr.write(f"hookline run: {error}" + "\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
