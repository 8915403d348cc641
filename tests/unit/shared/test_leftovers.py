"""What an unknown subscription left may be swept as long as the outbox never served more namespaces than now."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookline.leftovers import may_sweep
from hookline.outbox.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "outbox.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("starts", "last"),
    [
        ([()], True),
        ([("a",)], True),
        ([("a",), ("a",)], True),
        ([("a",), ("b", "a")], True),
        ([("a",), ()], True),
        ([("a", "b"), ("a",)], False),
        ([(), ("a",)], False),
        ([("a",), ("b",)], False),
        ([("a", "b"), ("a",), ("a",)], False),
        ([("a", "b"), ("a",), ("a", "b")], True),
        ([("a", "b"), ("a",), ("c",), ("a", "b")], False),
    ],
    ids=str,
)
async def test_only_who_serves_all_that_was_ever_served_may_sweep(store, starts, last):
    answers = [await may_sweep(store, namespaces) for namespaces in starts]
    assert answers[-1] is last
    assert await store.subscriptions() == frozenset(), "the note is nobody's"
