"""Which informers run: one for each scope that any subscription wants, shared by all that want it.

In: for each subscription the scopes that it wants, level-based. Out: running informers, and a note in the store from
which resourceVersion on each subscription listens to each scope (``since``), told to the app by ``on_attached``.

A scope has one checkpoint, which also moves while a subscription that listened in an earlier life is not in force
(yet). Before a watch runs without such a one, that is noted in the store; whatever it missed is told by ``on_gap``
when it comes back, be that lives later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from hookline.errors import StoreError
from hookline.kube import KubeClient
from hookline.model import Scope
from hookline.watch.informer import Informer
from hookline.watch.ledger import WatchStore, full_key
from hookline.watch.pace import Pace, delay
from hookline.watch.teller import Hooks

_PAUSES = (0.1, 5.0)
_PASSED = "#passed"
"""What the key of a note ends with which says: this scope's watch went on without the subscription."""

_log = logging.getLogger(__name__)

Pair = tuple[str, str]
OnAttached = Callable[[str, Scope, str], None]
"""Told the subscription's uid, the scope and ``since``. Called in the event loop; must not block."""

OnGap = Callable[[str, Scope], None]
"""Told the subscription's uid and the scope. Called in the event loop; must not block."""


class ManagerStore(WatchStore, Protocol):
    """The part of the outbox's Store that the manager needs."""

    async def attach(self, subscription: str, scope_key: str, since: str) -> str:
        """Note from where on a subscription listens; the first note stays and is returned."""

    async def attachments(self) -> Mapping[Pair, str]:
        """All notes."""

    async def detach(self, subscription: str, scope_key: str) -> None:
        """Remove one note."""


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


class WatchManager:
    """The informers and their subscribers. All methods belong to one event loop.

    Call ``set_wanted`` for every subscription that exists, then ``start``: an informer that runs before its
    subscriptions are known passes over their changes, of which ``on_gap`` tells. ``on_attached`` is called after each
    ``set_wanted`` for each of its scopes, as soon as the subscription listens there: at once where it did before, else
    when the informer knows its position; where the informer runs, not before objects are as whole as required. No
    change of the scope later than ``since`` is told before that.
    """

    def __init__(
        self,
        client: KubeClient,
        store: ManagerStore,
        hooks: Hooks,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        on_attached: OnAttached = _ignore,
        on_gap: OnGap = _ignore,
        pace: Pace | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._hooks = hooks
        self._clock = clock
        self._random = random
        self._on_attached = on_attached
        self._on_gap = on_gap
        self._pace = pace
        self._wanted: dict[str, tuple[frozenset[Scope], bool]] = {}
        self._since: dict[Pair, str] = {}
        self._passed: set[Pair] = set()
        self._told: set[Pair] = set()
        self._to_announce: set[str] = set()
        self._informers: dict[str, Informer] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._attaching: dict[Pair, asyncio.Task[None]] = {}
        self._doomed: set[str] = set()
        self._newly_served: set[str] = set()
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    @property
    def informers(self) -> Mapping[str, Informer]:
        """The running informers by scope key; a live view."""
        return MappingProxyType(self._informers)

    def set_wanted(
        self,
        subscription: str,
        scopes: Collection[Scope],
        *,
        needs_full: bool = False,
        newly_served: Collection[Scope] = (),
    ) -> None:
        """Say which scopes a subscription wants from now on, and whether it looks at old objects beyond metadata.

        ``newly_served`` are those that were not served when the subscription began to want them: where nobody else
        watches, all their objects are events, since they came later than the subscription.

        A scope that nobody wants any more loses its checkpoint: give the same scopes again while a doubt is temporary.
        """
        self._wanted[subscription] = (frozenset(scopes), needs_full)
        self._newly_served.update(scope.key for scope in newly_served)
        self._to_announce.add(subscription)
        self._changed.set()

    def drop(self, subscription: str) -> None:
        """Say that a subscription is gone."""
        self.set_wanted(subscription, ())

    async def start(self) -> None:
        """Read the notes of earlier lives and begin. Raises StoreError."""
        for (uid, key), since in (await self._store.attachments()).items():
            if key.endswith(_PASSED):
                self._passed.add((uid, key.removesuffix(_PASSED)))
            else:
                self._since[uid, key] = since
        self._loop = asyncio.create_task(self._keep_up())

    def sweep(self, existing: Collection[str]) -> None:
        """Drop those that left notes in an earlier life and do not exist any more. Call it after ``start``.

        One that exists and wants nothing now (its spec can't be used) keeps its place.
        """
        for subscription in {subscription for subscription, _ in self._since}.difference(existing):
            self.drop(subscription)

    async def close(self) -> None:
        """Stop all; nothing is forgotten."""
        tasks = [*self._attaching.values(), *self._runs.values()]
        if self._loop is not None:
            tasks.append(self._loop)
        await _end(tasks)

    async def _keep_up(self) -> None:
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._forget_unwanted()
                await self._note_passed()
                self._begin_wanted()
                await self._forget_told()
                failures = 0
                continue
            except StoreError as error:
                _log.warning("watches can't be set up: the store fails (%s)", error)
            except Exception:  # noqa: BLE001 (a defect here must not end the care for all watches)
                _log.exception("watches can't be set up; it is tried again")
            failures += 1
            self._changed.set()
            await asyncio.sleep(delay(failures, _PAUSES, self._random))

    async def _forget_unwanted(self) -> None:
        """Stop informers that nobody wants; forget them first and detach then, so that a crash leaves a trace."""
        scopes = self._wanted_scopes()
        pairs = {(uid, scope.key) for uid, (wanted, _) in self._wanted.items() for scope in wanted}
        noted = {*self._since, *self._attaching, *self._passed}
        unwanted = [pair for pair in noted if pair not in pairs and pair[0] in self._wanted]
        await _end([task for pair in unwanted if (task := self._attaching.pop(pair, None))])
        held = {key for _, key in {*self._since, *self._attaching} - set(unwanted)}
        ending = {*self._runs, *(key for _, key in unwanted)} - scopes.keys()
        self._doomed |= ending - held
        await _end([task for key in ending if (task := self._runs.pop(key, None))])
        for key in ending:
            if self._informers.pop(key, None) is not None:
                _log.info("a watch is stopped: nobody wants it", extra={"watch": key})
        for key in tuple(self._doomed):
            await self._store.forget_scope(key)
            await self._store.forget_scope(full_key(key))
            self._doomed.discard(key)
        for pair in unwanted:
            await self._forget_passed(pair)
            await self._store.detach(*pair)
            self._since.pop(pair, None)
        for uid in [uid for uid, (wanted, _) in self._wanted.items() if not wanted]:
            if not any(pair[0] == uid for pair in self._since):
                del self._wanted[uid]
                self._to_announce.discard(uid)

    async def _note_passed(self) -> None:
        """Before an informer begins, note durably whose changes it may pass over."""
        while unnoted := self._absent() - self._passed:  # anew after each wait, in which more may be wanted
            uid, key = pair = unnoted.pop()
            await self._store.attach(uid, key + _PASSED, self._since[pair])
            self._passed.add(pair)

    def _absent(self) -> set[Pair]:
        fresh = self._wanted_scopes().keys() - self._runs.keys()
        return {pair for pair in self._since if pair[0] not in self._wanted and pair[1] in fresh}

    async def _forget_told(self) -> None:
        for pair in tuple(self._told):
            await self._forget_passed(pair)
            self._told.discard(pair)

    async def _forget_passed(self, pair: Pair) -> None:
        if pair in self._passed:
            await self._store.detach(pair[0], pair[1] + _PASSED)
            self._passed.discard(pair)

    def _begin_wanted(self) -> None:
        full = {scope.key for wanted, needs_full in self._wanted.values() if needs_full for scope in wanted}
        for key, scope in self._wanted_scopes().items():
            if key not in self._informers:
                self._informers[key] = self._make(scope, full=key in full)
            elif key in full:
                self._informers[key].require_full()
        self._newly_served.clear()
        fresh = [key for key in self._informers if key not in self._runs]
        announce, self._to_announce = self._to_announce, set()
        for uid, (wanted, _) in self._wanted.items():
            for scope in wanted:
                pair = (uid, scope.key)
                if pair in self._attaching:
                    continue  # then it is announced when that is done
                if pair not in self._since or (uid in announce and self._must_wait(scope.key)):
                    self._attaching[pair] = asyncio.create_task(self._attach(uid, scope))
                elif uid in announce:
                    self._announce(uid, scope)
        # Last, so that who listened in an earlier life is there before the first change.
        for key in fresh:
            self._runs[key] = asyncio.create_task(self._informers[key].run())

    def _must_wait(self, key: str) -> bool:
        """Whether whole objects are being fetched. Before the informer runs, waiting would lose what comes first."""
        return key in self._runs and not self._informers[key].filled

    def _announce(self, uid: str, scope: Scope) -> None:
        pair = (uid, scope.key)
        try:
            self._on_attached(uid, scope, self._since[pair])
            if pair in self._passed - self._told:
                about = {"watch": scope.key, "uid": uid}
                _log.warning("a watch went on without a subscription that listened to it", extra=about)
                self._on_gap(uid, scope)
                self._told.add(pair)
        except Exception:  # noqa: BLE001 (what is wrong with one subscription must not touch another)
            _log.exception("a subscription can't listen", extra={"watch": scope.key, "uid": uid})

    async def _attach(self, uid: str, scope: Scope) -> None:
        pair = (uid, scope.key)
        failures = 0
        async with self._informers[scope.key].hold() as position:
            while pair not in self._since:
                try:
                    self._since[pair] = await self._store.attach(uid, scope.key, position)
                except Exception as error:  # noqa: BLE001 (nobody would notice the end of this task)
                    about = {"watch": scope.key, "uid": uid}
                    _log.warning("a subscription can't listen yet: %s", error, extra=about)
                    failures += 1
                    await asyncio.sleep(delay(failures, _PAUSES, self._random))
            self._attaching.pop(pair, None)
            self._announce(uid, scope)
            if self._told:
                self._changed.set()

    def _make(self, scope: Scope, *, full: bool) -> Informer:
        return Informer(
            self._client,
            scope,
            self._store,
            self._hooks,
            clock=self._clock,
            random=self._random,
            full=full,
            newly_served=scope.key in self._newly_served,
            pace=self._pace,
        )

    def _wanted_scopes(self) -> dict[str, Scope]:
        return {scope.key: scope for wanted, _ in self._wanted.values() for scope in wanted}


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are over."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
