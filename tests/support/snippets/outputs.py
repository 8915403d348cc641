"""Compares what a page says that a command prints with what it prints: words and columns, not numbers and times.

In: a console block and its real output. Out: nothing, or ``SnippetError``. Every line of the page must be in the
output, in the same order; ``…`` stands for anything.
"""

from __future__ import annotations

import re

from support.snippets.blocks import Block
from support.snippets.shell import SnippetError, script

_MASKS = (
    r"(?<=msg_)[a-z2-7]{32}\b",
    r"(?<=whpk_)\S+",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z",
    r"(?<=[.])\d{8}T\d{6}Z",
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    r"(?<=orders-)(?!signing)[a-z0-9]{5}\b",
    r"(?<![\w.])(\d+(ms|[smhd]))+\b",
    r"(?<![\w.])\d+\b",
)
_MASK = re.compile("|".join(f"({mask})" for mask in _MASKS))


def shape(line: str) -> str:
    """A line without what differs from day to day."""
    return re.sub(r"\s+", " ", _MASK.sub("#", line)).strip()


def documented(block: Block) -> list[str]:
    """The lines of a console block that are output."""
    if block.language != "console":
        return []
    typed = [line.strip() for line in script(block).splitlines()]
    return [line for line in block.text.splitlines() if line.strip() and line.removeprefix("$ ").strip() not in typed]


def compare(block: Block, output: str) -> None:
    """Raises SnippetError with the first line that is not there."""
    printed = iter(shape(line) for line in output.splitlines())
    for line in documented(block):
        if line.strip() == "…":
            continue
        wanted = re.compile(r" ?.* ?".join(re.escape(part.strip()) for part in shape(line).split("…")))
        if not any(wanted.fullmatch(said) for said in printed):
            raise SnippetError(f"{block.place}: {line!r} is not printed, or not at this place, but:\n{output[-3000:]}")
