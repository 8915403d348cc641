"""The one writer of our objects' status: coalesced merge patches, and none without a change.

A patch that fails is tried again with the next round, but where the same would fail again. Who is gone is forgotten
when the controller says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, Protocol

from hookline import reasons
from hookline.errors import ApiError, NotServed
from hookline.model import Attempt, Consent, Counts, Finding, Grant, Object, Outcome, Scope
from hookline.status import changes, events
from hookline.status.conditions import timestamp
from hookline.status.facts import Facts
from hookline.status.report import given_up, signing_of, state_of, status_of

log = logging.getLogger(__name__)
PARALLEL = 4
MERGE_PATCH = "application/merge-patch+json"
STATUS_CODES = range(100, 1000)
"""The HTTP status codes that the CRD lets into a status. An endpoint may answer anything."""

Where = tuple[str, str, str]
"""An object of ours: the plural of its kind, its namespace and its name."""


class Api(Protocol):
    """The part of the Kubernetes client that is used here."""

    async def request(self, method: str, path: str, *, body: Any = None, content_type: str = "application/json") -> Any:
        """One request; raises ApiError."""
        ...


class StatusWriter:
    """Collects facts by subscription uid and patches the changed ones once per interval.

    ``on_error`` is told the HTTP code of every patch that failed.
    """

    def __init__(
        self, api: Api, interval: float, clock: Callable[[], float], on_error: Callable[[int], None] = lambda _: None
    ) -> None:
        self._api = api
        self._interval = interval
        self._clock = clock
        self._on_error = on_error
        self._facts: dict[str, Facts] = {}
        self._store_fails = False
        self._dirty: set[str] = set()
        self._events: list[dict[str, Any]] = []
        self._wake = asyncio.Event()
        self.patches = 0

    def report(self, obj: Object, finding: Finding) -> None:
        """The controller's finding about an object; also how a subscription becomes known here."""
        uid = obj["metadata"]["uid"]
        facts = self._facts.get(uid)
        if facts is None:
            self._facts[uid] = Facts.of(obj, finding)
            self._facts[uid].store_fails = self._store_fails
        elif facts.finding != finding:
            facts.finding = finding
        self.may_send(uid, finding.generation)
        self._touch(uid)

    def may_send(self, uid: str, generation: int) -> bool:
        """Whether the endpoint of this generation of the spec was not given up. A new generation begins anew."""
        facts = self._facts.get(uid)
        if facts is None:
            return True
        if facts.health.generation != generation:
            facts.health.renew(generation)
            self._touch(uid)
        return not facts.health.disabled

    def handled(self, uid: str) -> str:
        """The last request (value of the annotation) of a subscription that was carried out; empty: none."""
        facts = self._facts.get(uid)
        return facts.handled if facts is not None else ""

    def handle(self, uid: str, requested_at: str) -> None:
        """A request was carried out: its receipt, and another chance for the endpoint."""
        if (facts := self._facts.get(uid)) is not None:
            facts.handled = requested_at
            facts.health.renew(facts.health.generation)
            self._touch(uid)

    def breaker(self, uid: str, is_open: bool) -> None:
        """The circuit breaker of a subscription's endpoint opened or closed."""
        if (facts := self._facts.get(uid)) is not None:
            changes.breaker(facts, is_open=is_open)
            facts.broken = is_open
            self._touch(uid)

    def consented(self, uid: str) -> Consent:
        """What is known of the consent of a subscription's endpoint."""
        facts = self._facts.get(uid)
        return (facts.consent if facts is not None else None) or Consent()

    def consent(self, uid: str, consent: Consent | None) -> None:
        """What is known of it now; None: nobody is asked."""
        if (facts := self._facts.get(uid)) is not None and facts.consent != consent:
            facts.consent = consent
            self._touch(uid)

    def access(self, uid: str, grant: Grant) -> bool:
        """What a subscription's ServiceAccount may do. Returns whether it lost its rights with that."""
        facts = self._facts.get(uid)
        if facts is None or facts.access == grant:
            return False
        lost = facts.was_granted and grant.granted is False
        if lost:
            self.dropped(uid, reasons.DROP_REASONS["gap"], "changes while the ServiceAccount lacks rights are not told")
        if grant.granted is not None:
            facts.was_granted = grant.granted
        facts.access = grant
        self._touch(uid)
        return lost

    @property
    def clocks(self) -> tuple[list[int], int]:
        """By how many seconds the endpoints' clocks are off, as far as that is known, and how many are off too far."""
        known = [facts.clock for facts in self._facts.values() if facts.clock.settled]
        return [clock.seconds or 0 for clock in known], sum(clock.exceeds for clock in known)

    def public_keys(self, namespace: str, name: str) -> tuple[str, ...]:
        """The keys that verify a subscription's messages, as its status tells them; empty where it has none."""
        known = (facts for facts in self._facts.values() if (facts.namespace, facts.name) == (namespace, name))
        facts = next(known, None)
        return tuple((signing_of(facts) or {}).get("publicKeys") or ()) if facts is not None else ()

    @property
    def states(self) -> Mapping[reasons.SubscriptionState, int]:
        """How many subscriptions are in each state that any is in."""
        return Counter(state_of(facts) for facts in self._facts.values())

    def store_failing(self, *, failing: bool) -> None:
        """The outbox can't be read or written, which concerns all subscriptions; or it can again."""
        if failing == self._store_fails:
            return
        self._store_fails = failing
        for uid, facts in self._facts.items():
            facts.store_fails = failing
            self._touch(uid)

    def forget(self, uid: str) -> None:
        """Stop reporting on a subscription."""
        self._facts.pop(uid, None)
        self._dirty.discard(uid)

    def wants(self, uid: str, scope_keys: frozenset[str]) -> None:
        """The scopes that a subscription's spec asks for."""
        if (facts := self._facts.get(uid)) is not None and facts.wanted != scope_keys:
            facts.wanted = scope_keys
            for key in facts.watching.keys() - scope_keys:
                del facts.watching[key]
            self._touch(uid)

    def watching(self, uid: str, scope: Scope) -> None:
        """A subscription listens to a scope from now on."""
        if (facts := self._facts.get(uid)) is not None and scope.key not in facts.watching:
            resource = f"{scope.resource.plural}.{scope.resource.group}".rstrip(".")
            namespace = scope.namespace or "*" if scope.resource.namespaced else ""
            facts.watching[scope.key] = (resource, namespace, self._clock())
            self._touch(uid)

    def problem(self, uids: frozenset[str], scope: Scope, text: str) -> None:
        """A scope's watch fails with this text; empty: it works again."""
        for uid in uids:
            facts = self._facts.get(uid)
            if facts is None or facts.problems.get(scope.key, "") == text:
                continue
            facts.problems[scope.key] = text
            if not text:
                del facts.problems[scope.key]
            self._touch(uid)

    def attempt(self, attempt: Attempt, disable_after: float = 0.0) -> bool:
        """The result of one attempt. Returns whether the endpoint is given up with it, see ``Health.note``."""
        uid = attempt.claimed.message.subscription
        facts = self._facts.get(uid)
        if facts is None:
            return False
        verdict = attempt.verdict
        entry: dict[str, Any] = {"id": attempt.claimed.message.id, "time": timestamp(attempt.started)}
        if verdict.status_code is not None and verdict.status_code in STATUS_CODES:
            entry["statusCode"] = verdict.status_code
        if verdict.outcome is Outcome.DELIVERED:
            facts.last_delivery, facts.failing = entry, False
        else:
            facts.last_failure, facts.failing = {**entry, "reason": verdict.reason}, True
        ended = attempt.started + attempt.duration
        given_up_now = attempt.current and facts.health.note(verdict, attempt.started, ended, disable_after)
        if given_up_now:
            where, note = (facts.namespace, facts.name, uid), given_up(facts)
            changes.disabled(facts, note)
            self._events.append(events.warning(*where, facts.health.disabled, note, self._clock()))
        if attempt.skew is not None:
            facts.clock.note(attempt.skew)
        self._touch(uid)
        return given_up_now

    def dropped(self, uid: str, reason: str, message: str) -> None:
        """An event that matched, or might have, was not stored."""
        if (facts := self._facts.get(uid)) is not None:
            facts.dropped += 1
            facts.last_drop = {"reason": reason, "time": timestamp(self._clock()), "message": message[:1024]}
            self._touch(uid)

    def counts(self, counts: Mapping[str, Counts], full: Container[str] = ()) -> None:
        """The outbox's numbers for all subscriptions, and those of which as much waits as may."""
        for uid, facts in self._facts.items():
            now = counts.get(uid, Counts())
            if (facts.counts.pending, facts.counts.dead, facts.full) != (now.pending, now.dead, uid in full):
                facts.counts = now
                facts.full = uid in full
                self._touch(uid)

    async def run(self) -> None:
        """Patch what changed, one round per interval, for ever."""
        while True:
            await self._wake.wait()
            await self.flush()
            await asyncio.sleep(self._interval)

    async def flush(self) -> None:
        """Patch everything that changed, now."""
        self._wake.clear()
        dirty, self._dirty = self._dirty, set()
        pending = iter(dirty)
        await self._post_events()
        await asyncio.gather(*(self._patch_each(pending) for _ in range(PARALLEL)))

    async def write(self, where: Where, uid: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Make one status ``after`` of ``before``, and count that. Raises ApiError."""
        plural, namespace, name = where
        path = f"/apis/{reasons.GROUP}/{reasons.VERSION}/namespaces/{namespace}/{plural}/{name}/status"
        # The uid makes sure that an object of the same name that came after a deleted one is never meant.
        body = {"metadata": {"uid": uid}, "status": merge_patch(before, after)}
        try:
            await self._api.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        except NotServed:
            raise
        except ApiError as error:
            self._on_error(error.status)
            raise
        self.patches += 1

    async def _post_events(self) -> None:
        posted, self._events = self._events, []
        for event in posted:
            try:
                await self._api.request("POST", events.path(event["metadata"]["namespace"]), body=event)
            except ApiError as error:  # the status says the same, and stays
                log.warning("an Event was not posted: %s", error, extra={"reason": event["reason"]})

    async def _patch_each(self, uids: Iterator[str]) -> None:
        for uid in uids:
            facts = self._facts.get(uid)
            if facts is not None and not await self._patch(uid, facts):
                self._touch(uid)

    async def _patch(self, uid: str, facts: Facts) -> bool:
        status = status_of(facts, self._clock())
        changes.ready(facts, status["conditions"])
        if status == facts.status:
            return True
        try:
            await self.write((reasons.PLURAL, facts.namespace, facts.name), uid, facts.status, status)
        except NotServed:  # deleted, or the CRD is: the controller sees which
            return True
        except ApiError as error:
            log.warning("a status patch failed: %s", error, extra={"subscription": f"{facts.namespace}/{facts.name}"})
            return error.status in (
                409,
                422,
            )  # another uid, or a value that the schema refuses: the same would fail again
        facts.status = status
        return True

    def _touch(self, uid: str) -> None:
        self._dirty.add(uid)
        self._wake.set()


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that makes ``after`` of ``before``, with null for what vanished, at any depth."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        patch[key] = merge_patch(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return patch
