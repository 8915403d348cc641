"""``hookline COMMAND``: finds the command and turns errors into a sentence and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

from hookline import __version__
from hookline.errors import HooklineError, SettingsError

USAGE = """usage: hookline COMMAND [OPTIONS]

commands:
  run       run the operator (hookline run --help lists the settings)
  verify    check the signature of a saved request
  receive   receive signed requests and act on each once; receive new-endpoint makes a path and its key
  outbox    check, list or export the outbox of a stopped operator
  version   print the version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with the process's arguments. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if name else 2
    command = _COMMANDS.get(name)
    if command is None:
        print(f"hookline: there is no command {name!r}\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    try:
        return command(arguments[1:])
    except SettingsError as error:
        print(f"hookline {name}: {error}", file=sys.stderr)
        return 2
    except (HooklineError, OSError) as error:
        print(f"hookline {name}: {error}", file=sys.stderr)
        return 1


def _run(arguments: Sequence[str]) -> int:
    from hookline.app import App
    from hookline.observe.logs import configure
    from hookline.settings import from_process

    settings = from_process(arguments)
    configure(settings.log_level, settings.log_format)
    asyncio.run(App(settings).run())
    return 0


def _verify(arguments: Sequence[str]) -> int:
    from hookline.cli.verify import verify

    return verify(arguments)


def _receive(arguments: Sequence[str]) -> int:
    from hookline.cli.receive import receive

    return receive(arguments)


def _outbox(arguments: Sequence[str]) -> int:
    from hookline.cli.outbox import outbox

    return outbox(arguments)


def _version(_: Sequence[str]) -> int:
    print(__version__)
    return 0


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": _run,
    "verify": _verify,
    "receive": _receive,
    "outbox": _outbox,
    "version": _version,
}

if __name__ == "__main__":
    sys.exit(main())
