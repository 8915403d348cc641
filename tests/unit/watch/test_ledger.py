"""The ledger's patience: the same step until it is stored, but no endless trial of what can never be stored."""

from __future__ import annotations

from typing import Any

from hookline.errors import StoreError, ValueRefused
from hookline.model import Message, Resource, Scope, Seen, WatchCommit
from hookline.watch.ledger import Ledger

SCOPE = Scope(Resource("v1", "ConfigMap", "configmaps", namespaced=True), "shop")


def message(ident: str) -> Message:
    return Message(ident, "sub", 1, "uid", "type", (), b"{}", observed=1.0)


class Picky:
    """Refuses messages and seen states named ``bad``; fails the first ``failures`` calls for another reason."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.kept: list[WatchCommit] = []
        self.asked: list[WatchCommit] = []

    async def commit(self, commit: WatchCommit) -> int:
        self.asked.append(commit)
        if self.failures:
            self.failures -= 1
            raise StoreError("full")
        if any(m.id == "bad" for m in commit.messages) or any(s.uid == "bad" for s in commit.seen):
            raise ValueRefused("no Unicode")
        self.kept.append(commit)
        return len(commit.messages)


def make(store: Any) -> tuple[Ledger, list[str], list[str]]:
    told: list[str] = []
    dropped: list[str] = []
    ledger = Ledger(store, SCOPE, lambda messages: told.extend(m.id for m in messages), lambda: 0.0, dropped.append)
    return ledger, told, dropped


async def test_a_failing_store_is_asked_the_same_until_it_can():
    store = Picky(failures=3)
    ledger, told, dropped = make(store)
    await ledger.commit([message("a")], resource_version="7")
    assert len(store.asked) == 4
    assert all(asked == store.asked[0] for asked in store.asked)
    assert (told, dropped) == (["a"], [])


async def test_what_can_never_be_stored_is_left_out_and_counted_and_the_rest_is_stored_with_the_checkpoint_last():
    store = Picky()
    ledger, told, dropped = make(store)
    seen = [Seen("x", "1", b"{}", full=True), Seen("bad", "1", b"{}", full=True)]
    await ledger.commit([message("a"), message("bad"), message("b")], seen, ["gone"], "7")
    assert told == ["a", "b"]
    assert dropped == ["not_storable"] * 2
    assert [m.id for kept in store.kept for m in kept.messages] == ["a", "b"]
    assert [s.uid for kept in store.kept for s in kept.seen] == ["x"]
    assert store.kept[-1].resource_version == "7"
    assert store.kept[-1].forgotten == ["gone"]
    assert all(kept.resource_version is None for kept in store.kept[:-1])
