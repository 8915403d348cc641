"""Checks one block by its language: the one place that knows all of them.

In: a ``Block``. Out: nothing, or ``SnippetError``. What no checker knows is an error, unless the block is marked. What
needs a running operator is in ``ELSEWHERE``: ``carrying`` has shell blocks, ``queries`` those of Prometheus.
"""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Self

import yaml

from hookline.errors import HooklineError
from support.cluster import Kubectl
from support.evaluating import evaluating
from support.snippets import manifests, programs, shell
from support.snippets.blocks import Block
from support.snippets.carrying import SHELLS
from support.snippets.shell import Ground, SnippetError

PROSE = ("text",)
ELSEWHERE = (*SHELLS, "promql")
_HTTP = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) \S+ HTTP/1\.1|HTTP/1\.1 [1-5]\d\d( .*)?")


class Checker:
    """Checks blocks, from several threads at once."""

    def __init__(self, ground: Ground, kubectl: Kubectl) -> None:
        self._ground = ground
        self._kubectl = kubectl
        self._checks: Mapping[str, Callable[[Block], object]] = {
            "yaml": self._yaml,
            "json": lambda block: json.loads(block.text),
            "toml": lambda block: tomllib.loads(block.text),
            "http": _http,
            **dict.fromkeys(programs.LANGUAGES, self._program),
            **dict.fromkeys(PROSE, lambda block: None),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check(self, block: Block) -> None:
        """Raises SnippetError."""
        if "not run" in block.marks:
            return
        check = self._checks.get(block.language)
        if check is None:
            known = ", ".join(sorted([*self._checks, *ELSEWHERE]))
            raise SnippetError(
                f"{block.place}: nobody can run {block.language or 'a block without a language'!r}: give it one of "
                f"{known}, or mark it with <!-- not run: reason -->"
            )
        try:
            check(block)
        except (ValueError, HooklineError) as error:
            raise SnippetError(f"{block.place}: {error}") from error

    def _yaml(self, block: Block) -> None:
        documents = manifests.documents(block)
        match manifests.form(block, documents):
            case "object":
                self._objects(block, documents)
            case "spec":
                self._objects(block, [manifests.subscription(document) for document in documents])
            case "values":
                self._values(block)
            case "receive":
                manifests.receive(block, self._ground.scratch / "receive" / re.sub(r"\W+", "-", str(block)))

    def _objects(self, block: Block, objects: list[Any]) -> None:
        expressions = list(manifests.apply(block, objects, self._kubectl))
        if expressions:
            asyncio.run(_compile(block, expressions))

    def _values(self, block: Block) -> None:
        room = self._ground.room(str(block), {"values.yaml": block.text})
        command = "helm template hookline charts/hookline --values values.yaml --api-versions monitoring.coreos.com/v1"
        shell.run(Block(block.page, block.line, "sh", f"{command} >rendered.yaml\n"), self._ground, {}, room=str(block))
        if not list(yaml.safe_load_all((room / "rendered.yaml").read_text("utf-8"))):
            raise SnippetError(f"{block.place}: the chart renders nothing with these values")

    def _program(self, block: Block) -> None:
        programs.run(block, self._ground.scratch / "programs" / re.sub(r"\W+", "-", str(block)))


async def _compile(block: Block, expressions: list[tuple[str, bool]]) -> None:
    async with evaluating() as cel:
        for text, boolean in expressions:
            await cel.check(text, block.place, boolean=boolean)


def _http(block: Block) -> None:
    first = block.text.partition("\n")[0].rstrip()
    if not _HTTP.fullmatch(first):
        raise SnippetError(f"{block.place}: {first!r} begins no HTTP/1.1 message; call the block text if it is none")
