"""The fenced blocks of README.md and docs/, each with the marks that stand before it.

In: Markdown. Out: ``Block``s, found by the parser that the site uses, too. A mark is an HTML comment before the fence:
``not run: reason``, ``is: spec|values|receive``, ``file: name``, ``receiver``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[3]
MARKS = frozenset({"not run", "is", "file", "receiver"})
_PARSER = MarkdownIt("commonmark").enable("table")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block. ``page`` is relative to the repository, ``line`` that of the fence; ``marks`` by name."""

    page: str
    line: int
    language: str
    text: str
    marks: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page.removeprefix('docs/').removesuffix('.md')}:{self.line}"

    @property
    def place(self) -> str:
        """What an editor opens."""
        return f"{self.page}:{self.line}"


def pages(root: Path = ROOT) -> Sequence[Path]:
    """All pages: the README, SECURITY.md, and what the site is built from."""
    return [root / "README.md", root / "SECURITY.md", *sorted((root / "docs").rglob("*.md"))]


def of_all(root: Path = ROOT) -> Sequence[Block]:
    """The blocks of all pages."""
    return [
        block for page in pages(root) for block in blocks(page.read_text(encoding="utf-8"), str(page.relative_to(root)))
    ]


def blocks(text: str, page: str) -> Iterator[Block]:
    """The blocks of one page. A block by indentation has the language ``(indented)``; directives are left out."""
    tokens = _PARSER.parse(text)
    for number, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            yield Block(page, line, "(indented)", token.content)
        elif token.type == "fence" and not token.info.startswith("{"):
            yield Block(page, line, token.info.strip(), token.content, _marks(tokens[:number]))


def _marks(before: Sequence[Token]) -> Mapping[str, str]:
    """The marks in the comments directly before; a comment that is no mark is prose."""
    marks: dict[str, str] = {}
    for token in reversed(before):
        if token.type != "html_block":
            break
        for comment in _COMMENT.findall(token.content):
            name, _, value = comment.partition(":")
            if name in MARKS:
                marks.setdefault(name, value.strip())
    return marks


def files(page: Sequence[Block]) -> dict[str, str]:
    """What commands of a page may name: marked files, and each manifest as ``<metadata.name>.yaml``."""
    named: dict[str, str] = {}
    for block in page:
        found = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)$", block.text, re.MULTILINE)
        if block.language == "yaml" and found:
            named.setdefault(f"{found[1]}.yaml", block.text)
        if "file" in block.marks:
            named[block.marks["file"]] = block.text
    return named
