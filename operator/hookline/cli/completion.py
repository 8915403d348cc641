"""Shell completion: the scripts for bash, zsh and fish, and the answers that they ask for.

The scripts are thin: they call ``hookline __complete WORDS… CURRENT`` and show what it prints, one candidate a line
with a tab before its description, and at the end ``:4``, or ``:0`` where file names may follow. That is cobra's
protocol, which kubectl speaks, too: for ``kubectl hookline <TAB>`` it runs the program ``kubectl_complete-hookline``.
"""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from hookline import reasons
from hookline.cli import arguments
from hookline.cli.arguments import Parser
from hookline.cli.output import clean
from hookline.errors import HooklineError

FILES, NO_FILES = ":0", ":4"
SHELLS = ("bash", "zsh", "fish")
ASK_SECONDS = 3.0
Candidate = tuple[str, str]


def configure(parser: Parser) -> None:
    """Which shell."""
    parser.description = "Print the completion script of a shell, for the commands hookline and kubectl-hookline."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "bash:  source <(hookline completion bash)\n"
        "zsh:   source <(hookline completion zsh)\n"
        "fish:  hookline completion fish | source\n\n"
        "kubectl hookline <TAB> needs none of them: kubectl asks the program kubectl_complete-hookline, which is\n"
        "installed beside kubectl-hookline."
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.set_defaults(run=completion)


def completion(options: Namespace) -> int:
    """Prints the script. Returns 0."""
    print((files("hookline.cli") / "completions" / f"hookline.{options.shell}").read_text("utf-8"), end="")
    return 0


def kubectl_complete() -> int:
    """The program ``kubectl_complete-hookline``, which kubectl runs."""
    return answer(sys.argv[1:], kubectl=True)


def answer(words: Sequence[str], *, kubectl: bool = False) -> int:
    """Print what may stand in the place of the last word. Returns 0: a shell can't do anything with an error."""
    *before, current = words or [""]
    try:
        found, more = candidates(before, current, kubectl=kubectl)
    except (HooklineError, OSError, SystemExit):  # argparse may exit on what is not finished yet
        found, more = [], NO_FILES
    for value, text in found:
        print(clean(f"{value}\0{text}").replace("\\x00", "\t") if text else clean(value))
    print(more)
    return 0


def candidates(before: Sequence[str], current: str, *, kubectl: bool = False) -> tuple[list[Candidate], str]:
    """The candidates for ``current`` after the words ``before``, and whether file names may follow."""
    from hookline.cli import main

    program = "kubectl hookline" if kubectl else "hookline"
    name, rest = main.split(list(before))
    if not name:
        if before and before[-1] in arguments.VALUE_OPTIONS:
            what = {"-n": arguments.NAMESPACES, "--namespace": arguments.NAMESPACES, "--context": arguments.CONTEXTS}
            return _values(what.get(before[-1], ""), current, rest)
        offered = [(key, command.summary) for key, command in main.COMMANDS.items() if command.cluster or not kubectl]
        return _matching(offered, current), NO_FILES
    if name not in main.COMMANDS:
        return [], NO_FILES
    return _within(main.parser_of(name, program), rest, current)


def _within(parser: Parser, words: Sequence[str], current: str) -> tuple[list[Candidate], str]:
    pending: argparse.Action | None = None
    positionals = _positionals(parser)
    for word in words:
        if pending is not None:
            pending = None
        elif word.startswith("-") and word != "-":
            action = _option(parser, word.partition("=")[0])
            pending = action if action is not None and _takes_value(action) and "=" not in word else None
        elif word in parser.children:
            parser, positionals = parser.children[word], _positionals(parser.children[word])
        elif positionals and positionals[0].nargs not in ("*", "+", "..."):
            positionals = positionals[1:]
    flag, equals, value = current.partition("=")
    if pending is None and current.startswith("-"):
        if equals and (action := _option(parser, flag)) is not None:
            return _of(parser, action, value, words)
        return _matching(_options(parser), current), NO_FILES
    if pending is not None:
        return _of(parser, pending, current, words[:-1])
    return _of(parser, positionals[0], current, words) if positionals else ([], NO_FILES)


def _of(parser: Parser, action: argparse.Action, current: str, words: Sequence[str]) -> tuple[list[Candidate], str]:
    if isinstance(action.choices, dict):
        described = [(name, getattr(child, "description", "")) for name, child in action.choices.items()]
        return _matching(described, current), NO_FILES
    if action.choices is not None:
        return _matching([(str(choice), "") for choice in action.choices], current), NO_FILES
    return _values(parser.completers.get(action.dest, ""), current, words, files=action.type in (None, Path))


def _values(what: str, current: str, words: Sequence[str], *, files: bool = True) -> tuple[list[Candidate], str]:
    if not what:
        return [], FILES if files else NO_FILES
    return _matching([(name, "") for name in _ask(what, words)], current), NO_FILES


def _ask(what: str, words: Sequence[str]) -> Iterable[str]:
    """Names from the kubeconfig or the cluster that the words choose; none where it can't be asked."""
    from hookline.cli import cluster

    parser = Parser(add_help=False)
    arguments.add_cluster(parser)
    chosen, _ = parser.parse_known_args(list(words))
    if what == arguments.CONTEXTS:
        return [str(item["name"]) for item in cluster.contexts(chosen.kubeconfig)[0]]
    names: list[str] = []

    async def look(found: cluster.Cluster, *_: object) -> int:
        import asyncio

        namespaced = what == arguments.SUBSCRIPTIONS
        path = cluster.collection(reasons.PLURAL, found.place.namespace) if namespaced else "/api/v1/namespaces"
        async with asyncio.timeout(ASK_SECONDS):
            answer = await found.ask("GET", path, params={"limit": "500"})
        names.extend(str(item["metadata"]["name"]) for item in answer["items"])
        return 0

    cluster.run(chosen, look)
    return names


def _options(parser: Parser) -> Iterator[Candidate]:
    for action in parser.known:
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield action.option_strings[-1], (action.help or "").partition("(")[0].strip()


def _option(parser: Parser, flag: str) -> argparse.Action | None:
    return next((action for action in parser.known if flag in action.option_strings), None)


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs is None or action.nargs in ("+", 1)


def _positionals(parser: Parser) -> list[argparse.Action]:
    return [action for action in parser.known if not action.option_strings]


def _matching(offered: Iterable[Candidate], current: str) -> list[Candidate]:
    return [(value, text) for value, text in offered if value.startswith(current)]
