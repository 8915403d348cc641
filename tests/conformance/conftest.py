"""Backends of the conformance suite. A second backend is one function and one line in ``BACKENDS``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hookline.outbox.sealing import Sealing
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.store import Store

StoreFactory = Callable[[], Store]
"""Makes a store that is not open yet; all stores of one factory share one storage, so a second one is a restart."""


class Clock:
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.25

    def __call__(self) -> float:
        return self.now


def _sqlite(directory: Path, clock: Clock) -> StoreFactory:
    return lambda: SqliteStore(directory / "outbox.db", clock)


def _sealed_sqlite(directory: Path, clock: Clock) -> StoreFactory:
    return lambda: SqliteStore(directory / "outbox.db", clock, Sealing([bytes(32)]))


BACKENDS = {"sqlite": _sqlite, "sealed sqlite": _sealed_sqlite}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def store_factory(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> StoreFactory:
    return BACKENDS[request.param](tmp_path, clock)


@pytest.fixture
async def store(store_factory: StoreFactory) -> AsyncIterator[Store]:
    opened = store_factory()
    await opened.open()
    yield opened
    await opened.close()
