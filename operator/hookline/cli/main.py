"""``hookline COMMAND``, and ``kubectl hookline COMMAND``: finds the command and turns errors into a sentence.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted. A command is a module with
``configure(parser)``, which adds its arguments and sets ``run``, a function from parsed options to an exit code. Only
the module of the command that is called is imported.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from hookline.cli.arguments import VALUE_OPTIONS, Parser
from hookline.errors import HooklineError, SettingsError


class Command(NamedTuple):
    """One command: its module, what it does, and whether it is about subscriptions in a cluster."""

    module: str
    summary: str
    cluster: bool = True


COMMANDS = {
    "status": Command("status", "say how subscriptions are, and what to do"),
    "deliveries": Command("deliveries", "list, show or follow what was sent"),
    "replay": Command("replay", "send dead letters or other stored messages again"),
    "ping": Command("ping", "send one signed ping now, and say how it went"),
    "rotate-key": Command("rotate", "change the signing keys"),
    "explain": Command("explain", "say why an object would match or not, and show the message"),
    "new": Command("new", "ask what is wanted, and write the YAML of a subscription"),
    "run": Command("run", "run the operator (hookline run --help lists the settings)", cluster=False),
    "verify": Command("verify", "check the signature of a saved request", cluster=False),
    "receive": Command("receive", "receive signed requests and act on each once", cluster=False),
    "outbox": Command("outbox", "check, list or export the outbox of a stopped operator", cluster=False),
    "completion": Command("completion", "print the completion script of a shell"),
    "version": Command("version", "print the version"),
}
_HELP = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``hookline`` with the process's arguments. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _main("hookline", list(COMMANDS), arguments)


def kubectl(argv: Sequence[str] | None = None) -> int:
    """The same as a plugin of kubectl, which calls ``kubectl-hookline``; only what is for a cluster is offered."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _main("kubectl hookline", [name for name, command in COMMANDS.items() if command.cluster], arguments)


def parser_of(name: str, program: str) -> Parser:
    """The parser of a command; importing its module is all that it costs."""
    parser = Parser(prog=f"{program} {name}")
    parser.set_defaults(program=program)
    import_module(f"hookline.cli.{COMMANDS[name].module}").configure(parser)
    return parser


def split(arguments: list[str]) -> tuple[str, list[str]]:
    """The command's name and its arguments; shared options may stand before it."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] not in _HELP:
        at += 2 if arguments[at] in VALUE_OPTIONS else 1
    if at >= len(arguments):
        return "", []
    return arguments[at], [*arguments[:at], *arguments[at + 1 :]]


def _main(program: str, names: Sequence[str], arguments: list[str]) -> int:
    if arguments[:1] == ["__complete"]:
        from hookline.cli.completion import answer

        return answer(arguments[1:], kubectl=program != "hookline")
    whole = _streams()
    name, rest = split(arguments)
    if name in _HELP or not name:
        print(_usage(program, names), end="")
        return 0 if name else 2
    if name not in names:
        print(f"{program}: there is no command {name!r}\n\n{_usage(program, names)}", end="", file=sys.stderr)
        return 2
    if not whole and COMMANDS[name].cluster:
        _complain(f"{program} {name}: stdout is closed; send it to /dev/null to do without")
        return 1
    try:
        return _run(name, program, rest)
    except SettingsError as error:
        _complain(f"{program} {name}: {error}")
        return 2
    except BrokenPipeError:  # the reader (head, less) has seen enough
        return 0
    except (HooklineError, OSError) as error:
        _complain(f"{program} {name}: {error}")
        return 1
    except RecursionError:
        _complain(f"{program} {name}: what was read is nested too deeply")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        _flush()


def _run(name: str, program: str, arguments: list[str]) -> int:
    options = parser_of(name, program).parse_args(arguments)
    code: int = options.run(options)
    sys.stdout.flush()
    return code


def _streams() -> bool:
    """Make the standard streams usable; False when there is no stdout, and what a command says would be lost."""
    # A closed stream is None, and the next file that is opened would take its number.
    nothing = Path(os.devnull)
    sys.stdin = sys.stdin or nothing.open(encoding="utf-8")
    stdout, sys.stdout = sys.stdout, sys.stdout or nothing.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nothing.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 gets escapes, no traceback
    return stdout is not None


def _flush() -> None:
    """Write what is left to stdout, and let go of it where that fails: Python would complain at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(program: str, names: Sequence[str]) -> str:
    lines = [f"usage: {program} COMMAND [OPTIONS]", "", "commands:"]
    lines += [f"  {name:<11} {COMMANDS[name].summary}" for name in names]
    return "\n".join([*lines, "", f"{program} COMMAND --help says more.", ""])


def _complain(text: str) -> None:
    from hookline.cli.output import clean

    print(clean(text), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(kubectl() if Path(sys.argv[0]).name.startswith("kubectl") else main())
