"""Questions on a terminal: on stderr, so that stdout has nothing but the YAML. Answers come from stdin, line by line.

In: a question, a default, a check. Out: the first answer that passes the check; before it, why others did not.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from typing import TextIO, TypeVar

from hookline.cli.cluster import CommandError
from hookline.cli.output import clean
from hookline.errors import HooklineError

T = TypeVar("T")
Check = Callable[[str], Awaitable[T]]
"""Reads an answer. Raises a HooklineError whose text says what is wrong with it."""


class Prompt:
    """Asks until an answer will do."""

    def __init__(self, answers: TextIO | None = None, questions: TextIO | None = None) -> None:
        self._answers = answers or sys.stdin
        self._questions = questions or sys.stderr

    async def ask(self, question: str, check: Check[T], default: str | None = None) -> T:
        """One answer; an empty line is the default, where there is one. Raises CommandError at the end of the input."""
        hint = f" [{default}]" if default else ""
        while True:
            answer = self._line(f"{question}{hint}: ") or default
            if answer is None:
                self.say("  It can't be left out.")
                continue
            try:
                return await check(answer)
            except CommandError:
                raise
            except HooklineError as error:
                self.say(f"  {error}")

    def confirm(self, question: str) -> bool:
        """Yes or no; no is the default."""
        return self._line(f"{question} [y/N]: ").lower() in ("y", "yes")

    def say(self, *lines: str) -> None:
        """Something to read before the next question."""
        for line in lines:
            print(clean(line), file=self._questions)

    def choices(self, names: Sequence[str]) -> None:
        """Names to choose from."""
        lines = textwrap.wrap(", ".join(names), 98, break_on_hyphens=False, break_long_words=False)
        self.say(*(f"  {line}" for line in lines))

    def _line(self, text: str) -> str:
        self._questions.write(clean(text))
        self._questions.flush()
        line = self._answers.readline()
        if not line:
            self._questions.write("\n")
            raise CommandError("the input ended before all was answered: nothing was written")
        return line.strip()
