"""Queries of Prometheus on pages: each is understood, and finds what it asks for.

In: a block of PromQL, and a Prometheus that scraped an operator. Out: nothing, or ``SnippetError``.
"""

from __future__ import annotations

import re

from support.prometheus_live import LivePrometheus, QueryError
from support.snippets.blocks import Block
from support.snippets.shell import SnippetError

_SELECTOR = re.compile(r"\b(hookline_\w+)(\{[^}]*\})?")


def check(block: Block, prometheus: LivePrometheus) -> None:
    """Ask it, and each of its selectors, which must find series. Raises SnippetError."""
    try:
        prometheus.query(block.text)
        empty = [found[0] for found in _SELECTOR.finditer(block.text) if not prometheus.query(found[0])]
    except QueryError as error:
        raise SnippetError(f"{block.place}: {error}") from None
    if empty:
        raise SnippetError(f"{block.place}: no series for {', '.join(empty)}")
