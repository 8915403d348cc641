"""The way of the data through match and render, and the subscriptions that are in force on it.

In: the controller's decisions (``Flow`` is its ``Applier``) and the steps of the watches. Out: messages to commit, and
calls to watch, deliver and status, which ``hookline.app`` makes and hands in with ``join``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from hookline.asked import Asked, Wanted
from hookline.backlog import Backlog
from hookline.deliver.consents import Consents
from hookline.deliver.worker import Dispatcher
from hookline.errors import ApiError, EvaluationError, NamespaceUnknown, NotServed, RenderError
from hookline.expressions.expression import Fuse
from hookline.leftovers import may_sweep
from hookline.match.router import Router
from hookline.match.rule import Rule, make_rule
from hookline.model import (
    Attempt,
    Change,
    Consent,
    Counts,
    Finding,
    Message,
    Object,
    Outcome,
    Resource,
    Scope,
    Target,
    WatchCommit,
)
from hookline.observe.journal import Journal
from hookline.observe.metrics import Metrics
from hookline.observe.tracing import Tracer
from hookline.outbox.store import Store
from hookline.reasons import DROP_REASONS
from hookline.render.renderer import Renderer
from hookline.scopes import needs_old_objects, scopes_of
from hookline.settings import Settings
from hookline.spec import NamespacesFrom, Operation, Source, Subscription
from hookline.status.writer import StatusWriter
from hookline.turns import Turn
from hookline.watch.discovery import Discovery
from hookline.watch.manager import WatchManager
from hookline.watch.namespaces import NamespaceIndex

log = logging.getLogger(__name__)
LEFTOVER_SECONDS = 3600.0
"""No step of a watch takes so long: what came of a gone subscription is dropped by then."""
NAMESPACES_SECONDS = 10.0
PING_SCOPE = "hookline.dev/ping"
"""Stands for a watch where a message comes from none; nothing is kept of it."""


@dataclass(frozen=True, slots=True)
class Active:
    """A subscription in force: what it says, compiled, and which of its sources each scope serves.

    ``fuses`` are those of its filter and its transform, and stay as long as its spec does.
    """

    subscription: Subscription
    renderer: Renderer
    sources: Mapping[Scope, Sequence[Source]]
    fuses: tuple[Fuse, Fuse]


class Flow:
    """What is in force. ``sequences`` are the highest numbers that the store has given out, by subscription uid."""

    watches: WatchManager
    dispatcher: Dispatcher
    consents: Consents

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sequences: Mapping[str, int],
        namespaces: NamespaceIndex,
        discovery: Discovery,
        status: StatusWriter,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        tracer: Tracer | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._sequences = dict(sequences)
        self._namespaces = namespaces
        self._discovery = discovery
        self._status = status
        self._metrics = metrics
        self._clock = clock
        self._router = Router(namespaces.labels, self._expression_failed)
        self.asked = Asked(settings, metrics, self._is_of_one)
        self._active: dict[str, Active] = {}
        self._unserved: set[tuple[str, str, str]] = set()
        self._targets: dict[str, Target] = {}
        self._backlog = Backlog(
            settings.max_pending_per_subscription,
            settings.max_pending_bytes_per_subscription,
            settings.max_pending_bytes_per_namespace,
        )
        self._forgotten: dict[str, float] = {}
        self._may_sweep = False
        self._journal = Journal(lambda uid: active.subscription if (active := self._active.get(uid)) else None, tracer)

    def join(self, watches: WatchManager, dispatcher: Dispatcher, consents: Consents) -> None:
        """Hand in those that in their turn need this flow."""
        self.watches = watches
        self.dispatcher = dispatcher
        self.consents = consents

    def __len__(self) -> int:
        """How many subscriptions are in force."""
        return len(self._active)

    async def begin(self) -> None:
        """Find out, before anything is stored, whose leftovers may be swept. Raises StoreError."""
        self._may_sweep = await may_sweep(self._store, self._settings.namespaces)

    # What the controller decided.

    async def check(self, subscription: Subscription) -> None:
        """Compile its expressions. Raises ExpressionError with the position."""
        await self.asked.check(subscription)

    async def activate(self, subscription: Subscription, resources: Sequence[Resource | None]) -> None:
        """Render and match as this spec says, and watch the scopes of those sources whose resource is served."""
        uid = subscription.uid
        fuses = self._fuses_of(subscription)
        renderer = Renderer(subscription, self._settings.cluster_name, self._settings.max_body_bytes, fuses[1])
        if any(source.namespaces_from is NamespacesFrom.SELECTOR for source in subscription.sources):
            await self._know_namespaces()
        sources: dict[Scope, list[Source]] = {}
        newly_served: set[Scope] = set()
        served: set[tuple[str, str, str]] = set()
        for source, resource in zip(subscription.sources, resources, strict=True):
            kind = (uid, source.api_version, source.kind)
            if resource is None:
                self._unserved.add(kind)
                continue
            served.add(kind)
            for scope in scopes_of(subscription, source, resource):
                sources.setdefault(scope, []).append(source)
                if kind in self._unserved:  # then whatever there is of it came after the subscription
                    newly_served.add(scope)
        self._active[uid] = Active(subscription, renderer, sources, fuses)
        self._backlog.belongs(uid, subscription.namespace)
        self._metrics.each.known(uid, subscription.namespace, subscription.name)
        keys = frozenset(scope.key for scope in sources)
        for unwanted in self._router.scopes(uid) - keys:
            self._router.put(uid, unwanted, ())
        self._status.wants(uid, keys)
        needs_full = needs_old_objects(subscription)
        self.watches.set_wanted(uid, sources, needs_full=needs_full, newly_served=newly_served)
        self._unserved -= served  # what a later spec adds to them is as old as any

    async def requested(self, subscription: Subscription) -> None:
        """Give the endpoint another chance and a ping, once for each value of the annotation. Raises StoreError."""
        uid, value = subscription.uid, subscription.requested_at
        if not value or self._status.handled(uid) == value:
            return
        self._sequences[uid] = sequence = self._sequences.get(uid, 0) + 1
        ping = self._active[uid].renderer.ping(value, self._clock(), sequence)
        # Its id follows from the value: asked for again after a crash, it is not stored twice.
        await self._store.commit(WatchCommit(PING_SCOPE, [ping]))
        self._status.handle(uid, value)
        self.dispatcher.reset(uid)
        self.consents.again(uid)
        self.committed([ping])

    def send_to(self, uid: str, target: Target | None) -> None:
        """Send a subscription's messages there; None: keep them until there is a target."""
        if target is None:
            self._targets.pop(uid, None)
            self.consents.forget(uid)
            self.dispatcher.drop_target(uid)
        else:
            self._targets[uid] = target
            subscription = self._active[uid].subscription
            allowed = self._status.may_send(uid, subscription.generation)
            usable = target if allowed else replace(target, paused=True)
            self.dispatcher.set_target(self._consented(subscription, usable))

    def _consented(self, subscription: Subscription, target: Target) -> Target:
        """The target as its owner consented to, paused before; as it is where nobody is to be asked."""
        uid, consent = subscription.uid, None
        if subscription.handshake:
            target, consent = self.consents.gate(target, self._status.consented(uid))
        else:
            self.consents.forget(uid)
        self._status.consent(uid, consent)
        return target

    def consent(self, uid: str, consent: Consent) -> None:
        """An endpoint's owner was asked, with this result."""
        self._status.consent(uid, consent)
        if consent.proof and (target := self._targets.get(uid)) is not None:
            self.send_to(uid, target)

    def report(self, obj: Object, finding: Finding) -> None:
        """Show what was found in the object's status."""
        self._status.report(obj, finding)

    def withdraw(self, uid: str, gap: str = "") -> None:
        """Put a subscription out of force; ``gap`` is told of it then. What is stored of it stays, and waits."""
        if self._active.pop(uid, None) is not None:
            self._router.remove(uid)
            self._status.wants(uid, frozenset())
            self.watches.drop(uid)
            self.send_to(uid, None)
            if gap:
                self._drop(uid, "gap", gap)

    async def forget(self, uid: str) -> None:
        """Drop everything that a deleted subscription left."""
        about = self._journal.about(uid)
        self._active.pop(uid, None)
        self.consents.forget(uid)
        self._router.remove(uid)
        self.dispatcher.drop_target(uid)
        self._status.forget(uid)
        self.watches.drop(uid)
        self._sequences.pop(uid, None)
        self._targets.pop(uid, None)
        self._backlog.forget(uid)
        self._metrics.each.gone(uid)
        self._forgotten[uid] = self._clock()
        self._unserved = {kind for kind in self._unserved if kind[0] != uid}
        await self._store.forget_subscription(uid)
        log.info("a subscription is gone; dropped what it left", extra=about)

    async def sweep(self, existing: frozenset[str]) -> None:
        """Drop what subscriptions left that were deleted while nobody looked. The watches must have been started."""
        if not self._may_sweep:
            left = await self._store.subscriptions() - existing - self._active.keys()
            log.warning(
                "what unknown subscriptions left is kept: other namespaces were served before",
                extra={"subscriptions": len(left)},
            )
            return
        self.watches.sweep(existing | self._active.keys())
        for uid in await self._store.subscriptions() - existing - self._active.keys():
            await self.forget(uid)

    async def drop_leftovers(self) -> None:
        """Drop again what came of a subscription after it was forgotten: a step of a watch that was under way then."""
        for uid in (await self._store.subscriptions() & self._forgotten.keys()) - self._active.keys():
            await self._store.forget_subscription(uid)
        since = self._clock() - LEFTOVER_SECONDS
        self._forgotten = {uid: when for uid, when in self._forgotten.items() if when > since}

    # The way of the data.

    async def sink(self, changes: Sequence[Change]) -> list[Message]:
        """Match, then render: the messages of one step of a watch, to be committed with its checkpoint."""
        messages: list[Message] = []
        # An object may come before its namespace does. Raises ApiError: then the same changes come again.
        if unknown := [name for name in self._router.namespaces(changes) if self._namespaces.labels(name) is None]:
            await self._namespaces.learn(unknown)
        turn = Turn()
        found: list[tuple[Change, list[Rule]]] = []
        for change in changes:
            self._metrics.received(change.operation)
            found.append((change, self._router.candidates(change)))
            await turn.share()
        wanted: list[Wanted] = []
        for change, uids in zip(changes, await self.asked.matched(self._router, found), strict=True):
            self._metrics.matched(len(uids))
            wanted += [Wanted(uid, active.renderer, change) for uid in uids if (active := self._active.get(uid))]
        await self.asked.transform(wanted)
        turn = Turn()
        for item in wanted:
            if (message := self._render(item)) is not None:
                messages.append(message)
            await turn.share()
        return messages

    def _render(self, item: Wanted) -> Message | None:
        uid, change = item.uid, item.change
        if uid not in self._active:  # deleted since the change was matched
            return None
        if self._backlog.is_full(uid):
            whose = "of its namespace's subscriptions " if self._backlog.is_crowded(uid) else ""
            text = f"as many messages {whose}as may wait already: mend the endpoint, or raise the limit"
            self._drop(uid, "overflow", text)
            return None
        sequence = self._sequences.get(uid, 0) + 1
        try:
            message = item.renderer.render(change, sequence, item.transformed)
        except RenderError as error:
            self._drop(uid, error.reason, str(error))
            return None
        except Exception as error:  # one poison object must not stop the watch, whatever it does to us
            log.exception("an event could not be rendered", extra={**self._journal.about(uid), "object": change.uid})
            self._drop(uid, "internal_error", f"an unexpected error ({type(error).__name__}): see the operator's log")
            return None
        self._sequences[uid] = sequence
        self._backlog.came(message)
        return message

    def committed(self, messages: Sequence[Message]) -> None:
        """These messages are durable: they may be sent."""
        self._journal.stored(messages)
        self.dispatcher.notify({message.subscription for message in messages})

    def attempted(self, attempt: Attempt) -> None:
        """An attempt was recorded."""
        self._metrics.attempt(attempt)
        uid = attempt.claimed.message.subscription
        if attempt.verdict.outcome is not Outcome.RETRY:
            self._backlog.went(attempt.claimed.message)
        active = self._active.get(uid)
        if self._status.attempt(attempt, active.subscription.disable_after if active is not None else 0.0):
            self._give_up(uid)
        self._journal.attempted(attempt, self._targets.get(uid))

    def counted(self, counts: Mapping[str, Counts]) -> None:
        """The outbox was counted: correct what was added and finished since."""
        self._journal.tick()
        self._backlog.counted(counts)
        self._status.counts(counts, self._backlog.full)

    def _give_up(self, uid: str) -> None:
        """Send nothing more to this endpoint until somebody asks for it; its messages stay."""
        if (target := self._targets.get(uid)) is not None:
            self.dispatcher.set_target(replace(target, paused=True))

    def attached(self, uid: str, scope: Scope, since: str) -> None:
        """A subscription's position in a watch is known: from here on its rules count."""
        active = self._active.get(uid)
        if active is not None and scope in active.sources:
            sources = active.sources[scope]
            rules = [make_rule(active.subscription, source, since, active.fuses[0]) for source in sources]
            self._router.put(uid, scope.key, rules)
            self._status.watching(uid, scope)

    # What went wrong on the way.

    def change_dropped(self, scope: Scope, reason: str) -> None:
        """A change could not be told at all."""
        self._metrics.dropped(reason)
        for uid in self._listeners(scope):
            what = "stored" if reason == "not_storable" else "decoded"
            text = f"a change of one {scope.resource.kind} can't be {what}"
            self._status.dropped(uid, DROP_REASONS[reason], text)

    def missed(self, uid: str, scope: Scope) -> None:
        """A scope's watch went on while a subscription that listened to it was not in force, after a restart."""
        text = f"changes of {scope.resource.plural} from when it could not be used after a restart were not told"
        self._drop(uid, "gap", text)

    def change_repaired(self, _: Scope, operation: Operation) -> None:
        """The API server's watch had left out a change; it was told nevertheless."""
        self._metrics.repaired(operation)

    def watch_problem(self, scope: Scope, error: ApiError | None) -> None:
        """A scope can't be watched now, or (None) can again."""
        if isinstance(error, NotServed):
            self._discovery.invalidate(scope.resource.api_version)
        text = "" if error is None else f"{scope.resource.plural} can't be watched: {error}"
        self._status.problem(self._listeners(scope), scope, text)

    def _expression_failed(self, uid: str, error: EvaluationError) -> None:
        reason = "namespace_unknown" if isinstance(error, NamespaceUnknown) else "expression_failed"
        self._drop(uid, reason, str(error))

    def _drop(self, uid: str, reason: str, message: str) -> None:
        self._metrics.dropped(reason)
        self._status.dropped(uid, DROP_REASONS[reason], message)

    def _fuses_of(self, subscription: Subscription) -> tuple[Fuse, Fuse]:
        """Those that it has as long as its spec is the same, however often it is looked at."""
        active = self._active.get(subscription.uid)
        if active is not None and active.subscription.generation == subscription.generation:
            return active.fuses
        return Fuse(), Fuse()

    def _listeners(self, scope: Scope) -> frozenset[str]:
        return frozenset(uid for uid, active in self._active.items() if scope in active.sources)

    def _is_of_one(self, scope: Scope) -> bool:
        return len({self._active[uid].subscription.namespace for uid in self._listeners(scope)}) <= 1

    async def _know_namespaces(self) -> None:
        self._namespaces.start()
        try:
            async with asyncio.timeout(NAMESPACES_SECONDS):
                await self._namespaces.synced.wait()
        except TimeoutError:
            raise ApiError(0, "the namespaces can't be listed, so none can be selected by label") from None
