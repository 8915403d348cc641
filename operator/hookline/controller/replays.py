"""Replays: each ``WebhookReplay`` is carried out once, and shown until the last of its messages is finished.

In: the objects, from the ``listener``. Out: ``Replay`` values to the outbox, which knows what was done already, and
findings to the status room. Level-based and without a queue: one look at all unfinished replays per interval.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from hookline import reasons
from hookline.controller.listing import list_objects
from hookline.controller.polled import Api
from hookline.errors import ApiError, HooklineError, NotServed, SpecError
from hookline.model import Object
from hookline.stored import Replay, ReplayCounts, ReplayFinding

log = logging.getLogger(__name__)
INTERVAL_SECONDS = 2.0


class Outbox(Protocol):
    """What is needed of ``hookline.outbox.store.Store``."""

    async def replay(self, request: Replay) -> ReplayCounts:
        """Set the selected messages pending again, once for each replay."""
        ...

    async def grounds(self, request: Replay | None = None) -> Mapping[str, frozenset[str]]:
        """What the messages rest on that this selects."""
        ...

    async def replay_counts(self) -> Mapping[str, ReplayCounts]:
        """How far each replay is."""
        ...

    async def forget_replay(self, uid: str) -> None:
        """Drop what is remembered of a replay."""


class Replays:
    """Carries replays out.

    ``parse`` is the api room's; ``subscription`` gives the uid of a subscription by namespace and name, or None;
    ``owe`` is told the uid, the namespace and what the messages of a subscription rest on before they wait again, and
    raises SpecError when that is too much; ``replayed`` the uid when they do; ``show`` is the status room's.
    """

    def __init__(
        self,
        api: Api,
        store: Outbox,
        parse: Callable[[Object, str], Replay],
        subscription: Callable[[str, str], str | None],
        owe: Callable[[str, str, Iterable[str]], None],
        replayed: Callable[[str], None],
        show: Callable[[Object, ReplayFinding], Awaitable[Object]],
        namespaces: Sequence[str] = (),
    ) -> None:
        self._api = api
        self._store = store
        self._parse = parse
        self._subscription = subscription
        self._owe = owe
        self._replayed = replayed
        self._show = show
        self._namespaces = tuple(namespaces)
        self._open: dict[str, Object] = {}
        self._gone: set[str] = set()
        self._wake = asyncio.Event()

    def observe(self, kind: str | None, obj: Object) -> None:
        """Take in one event. A replay that its status calls finished is never begun again, whatever is stored."""
        uid = obj["metadata"]["uid"]
        if kind == "DELETED":
            self._lost(uid)
        elif not _is_final(obj) and uid not in self._gone:
            self._open[uid] = obj
        self._wake.set()

    async def run(self) -> None:
        """Forget what was deleted while nobody looked, then look at what is unfinished once per interval, for ever."""
        swept = False
        while True:
            try:
                if not swept:
                    await self._sweep()
                    swept = True
                await self.step()
            except HooklineError as error:
                log.warning("replays can't be looked at, it will be done again: %s", error)
            except Exception:  # whatever it is must not end the operator
                log.exception("looking at the replays failed unexpectedly")
            await asyncio.sleep(INTERVAL_SECONDS)
            if swept and not (self._open or self._gone):
                self._wake.clear()
                await self._wake.wait()

    async def step(self) -> None:
        """Forget what was deleted, begin what is new, show how far the rest is. Raises StoreError."""
        for uid in list(self._gone):
            await self._store.forget_replay(uid)
            self._gone.discard(uid)
        if not self._open:
            return
        counts = await self._store.replay_counts()
        for uid, obj in list(self._open.items()):
            try:
                await self._look(uid, obj, counts.get(uid))
            except NotServed:
                self._lost(uid)
            except ApiError as error:
                log.warning("a replay's turn failed, it will be tried again: %s", error, extra=_about(obj))

    async def _look(self, uid: str, obj: Object, counts: ReplayCounts | None) -> None:
        if counts is None:
            # A late event may be of an object that is deleted or finished by now: its messages must not go out again.
            obj = await self._api.request("GET", f"{_base(obj['metadata']['namespace'])}/{obj['metadata']['name']}")
            if obj["metadata"]["uid"] != uid:
                raise NotServed(404, "another object has the name now")
            if _is_final(obj):
                self._open.pop(uid, None)
                return
        finding = await self._begin(obj) if counts is None else ReplayFinding(counts)
        shown = await self._show(obj, finding)
        if uid in self._open:
            self._open[uid] = shown
            if finding.final:
                del self._open[uid]
                if finding.counts is not None:
                    log.info("a replay is done", extra={**_about(obj), "count": finding.counts.total})

    async def _begin(self, obj: Object) -> ReplayFinding:
        metadata = obj["metadata"]
        name = (obj.get("spec") or {}).get("subscriptionName", "")
        subscription = self._subscription(metadata["namespace"], name)
        if subscription is None:
            text = f"there is no WebhookSubscription {name!r} in this namespace; the replay begins when there is"
            return ReplayFinding(None, reasons.SUBSCRIPTION_NOT_FOUND, text)
        try:
            request = self._parse(obj, subscription)
            grounds = await self._store.grounds(request)
            self._owe(subscription, metadata["namespace"], grounds.get(subscription, ()))
        except SpecError as error:
            return ReplayFinding(None, error.reason, str(error))
        counts = await self._store.replay(request)
        self._replayed(subscription)
        log.info("a replay is begun", extra={**_about(obj), "count": counts.total})
        return ReplayFinding(counts)

    def _lost(self, uid: str) -> None:
        self._open.pop(uid, None)
        self._gone.add(uid)

    async def _sweep(self) -> None:
        known = (await self._store.replay_counts()).keys()  # read first: what is begun later is not meant
        if known:
            existing = [obj async for obj in list_objects(self._api, reasons.REPLAY_PLURAL, self._namespaces)]
            for uid in known - {obj["metadata"]["uid"] for obj in existing}:
                await self._store.forget_replay(uid)


def _about(obj: Object) -> dict[str, str]:
    metadata, name = obj["metadata"], (obj.get("spec") or {}).get("subscriptionName", "")
    return {
        "replay": f"{metadata['namespace']}/{metadata['name']}",
        "subscription": f"{metadata['namespace']}/{name}",
    }


def _is_final(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(item["type"] in (reasons.COMPLETE, reasons.FAILED) and item["status"] == "True" for item in conditions)


def _base(namespace: str) -> str:
    return f"/apis/{reasons.GROUP}/{reasons.VERSION}/namespaces/{namespace}/{reasons.REPLAY_PLURAL}"
