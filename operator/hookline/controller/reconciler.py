"""Level-based reconciliation: whatever happened, look at the object as it is now and make the rest equal to it.

A key waits in the queue once, however often it was named. Nothing here writes to a subscription but the status room.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from hookline import paths, reasons
from hookline.controller.access import Access
from hookline.controller.credentials import AdmitProfile, CheckUrl, check_token_url, check_tokens, references, unchecked
from hookline.controller.endpoint import path_secret_name
from hookline.controller.kinds import check_kinds, check_scope
from hookline.controller.listing import list_objects
from hookline.controller.polled import Api, Name
from hookline.controller.queue import Queue
from hookline.controller.quota import Quota
from hookline.controller.secrets import OVERLAP_SECONDS, Secrets, signing_secret_name
from hookline.controller.secrets import PLURAL as SECRETS
from hookline.controller.target import literal_endpoint, prepare
from hookline.errors import ApiError, HooklineError, NotServed, SpecError
from hookline.model import Finding, Object, Resource, Target
from hookline.spec import Source, Subscription

log = logging.getLogger(__name__)
WORKERS = 8
ScopeKeys = Callable[[Subscription, Sequence[Resource | None]], frozenset[str]]


class Applier(Protocol):
    """What the controller decides is carried out behind this; ``hookline.app`` implements it."""

    async def check(self, subscription: Subscription) -> None:
        """Compile its expressions. Raises SpecError with the position."""

    async def activate(self, subscription: Subscription, resources: Sequence[Resource | None]) -> None:
        """Watch, match and render from now on as this spec says.

        ``resources`` are those of the sources, in order; None where none is served.
        """

    async def requested(self, subscription: Subscription) -> None:
        """Carry out what the annotation ``hookline.dev/requested-at`` asks for, once for each of its values.

        The endpoint gets another chance, and a ``ping``. Raises StoreError.
        """

    def send_to(self, uid: str, target: Target | None) -> None:
        """Send the subscription's messages there; None: keep them until there is a target."""

    def report(self, obj: Object, finding: Finding) -> None:
        """Show what was found in the object's status."""

    def withdraw(self, uid: str, gap: str = "") -> None:
        """Put a subscription out of force, and keep what it left; ``gap`` says why changes are not told from now on."""

    async def forget(self, uid: str) -> None:
        """Drop everything that a deleted subscription left."""

    async def sweep(self, existing: frozenset[str]) -> None:
        """Drop what subscriptions left that were deleted while nobody looked."""


class Reconciler:
    """Keeps the applier's state equal to the declared one.

    ``parse`` is the api room's, ``resolve`` finds the served resource of an apiVersion and kind (raises NotServed),
    ``check_url`` is the address guard's, ``admit_profile`` looks at certificates. ``failed`` has the uids of those
    whose look ended with an error other than their spec's, to be tried again. ``access`` knows what ServiceAccounts may
    watch, ``quota`` says who has a place; ``scope_keys`` which scopes a subscription needs.
    """

    def __init__(
        self,
        api: Api,
        applier: Applier,
        parse: Callable[[Object], Subscription],
        resolve: Callable[[str, str], Awaitable[Resource]],
        check_url: CheckUrl,
        access: Access,
        namespaces: Sequence[str] = (),
        quota: Quota | None = None,
        scope_keys: ScopeKeys = lambda _, __: frozenset(),
        admit_profile: AdmitProfile = unchecked,
        key_overlap: float = OVERLAP_SECONDS,
        clock: Callable[[], float] = time.time,
        secret_metadata: bool = False,
        service_account_tokens: bool = False,
    ) -> None:
        self._api = api
        self._secret_metadata = secret_metadata
        self._service_account_tokens = service_account_tokens
        self._scope_keys = scope_keys
        self._quota = quota or Quota()
        self._quota.on_lost = self._displaced
        self._applier = applier
        self._parse = parse
        self._resolve = resolve
        self._check_url = check_url
        self._admit_profile = admit_profile
        self._access = access
        self._namespaces = tuple(namespaces)
        self._objects: dict[str, Object] = {}
        self._existing: frozenset[str] = frozenset()
        self._gone: set[str] = set()  # until a list that began later: a late event must not bring one back
        self._users: dict[Name, set[str]] = {}  # Secret or ConfigMap -> subscriptions that refer to it
        self._used: dict[str, frozenset[Name]] = {}  # the same the other way round
        self._unresolved: set[str] = set()
        self._reported: set[str] = set()
        self.failed: set[str] = set()
        self._waiting = Queue()
        self._wake = asyncio.Event()
        self._again: dict[str, float] = {}  # when a key of theirs stops signing
        self.secrets = Secrets(api, self._references_changed, key_overlap, clock)

    def observe(self, kind: str | None, obj: Object) -> None:
        """Take in one event of our own kind. What is older than what is known already changes nothing."""
        uid = obj["metadata"]["uid"]
        before = self._objects.get(uid)
        if kind == "DELETED":
            self._lost(obj)
        elif uid not in self._gone and not (before is not None and _is_older(obj, before)):
            self._objects[uid] = obj
            self._quota.put(obj)
            if before is None or _declared(before) != _declared(obj):
                self.enqueue(uid)

    def uid_of(self, namespace: str, name: str) -> str | None:
        """The uid of the subscription of this name, or None."""
        wanted = (namespace, name)
        known = self._objects.items()
        return next(
            (uid for uid, obj in known if (obj["metadata"]["namespace"], obj["metadata"]["name"]) == wanted), None
        )

    def enqueue(self, uid: str) -> None:
        """Look at this subscription soon."""
        self._enqueue(uid, self._objects.get(uid))

    def _enqueue(self, uid: str, obj: Object | None) -> None:
        self._waiting.put(obj["metadata"]["namespace"] if obj is not None else "", uid)
        self._wake.set()

    def enqueue_unresolved(self) -> None:
        """Look again at those whose resource was not served, whose look failed, or a key of which stops signing."""
        now = self.secrets.clock()
        for uid in [*self._unresolved, *(uid for uid, when in self._again.items() if when <= now)]:
            if not self._quota.is_too_young(uid):  # there may be any number of them, and this changes nothing for them
                self.enqueue(uid)

    async def resync(self) -> bool:
        """List our kind: take in what events missed, drop what is left of those that vanished. Raises ApiError.

        Events that come meanwhile may be newer than the list: it speaks only of what was known when it began. Returns
        whether there was anything that events should have told.
        """
        known, gone = set(self._objects), set(self._gone)
        listed = [obj async for obj in list_objects(self._api, reasons.PLURAL, self._namespaces)]
        self._existing = frozenset(obj["metadata"]["uid"] for obj in listed)
        vanished = known & self._objects.keys() - self._existing
        for uid in vanished:
            self._lost(self._objects[uid])
        waiting = len(self._waiting)
        for obj in listed:
            self.observe(None, obj)
        self._gone -= gone
        return bool(vanished) or len(self._waiting) > waiting

    async def sweep(self) -> None:
        """Drop what subscriptions left in the store that were deleted before this process began. Raises StoreError."""
        await self._applier.sweep(self._existing.union(self._objects))

    async def drain(self) -> None:
        """Reconcile everything that waits, then return."""
        await asyncio.gather(*(self._work(forever=False) for _ in range(WORKERS)))

    async def run(self) -> None:
        """Reconcile for ever."""
        await asyncio.gather(*(self._work(forever=True) for _ in range(WORKERS)))

    async def _work(self, *, forever: bool) -> None:
        while True:
            uid = self._waiting.take()
            if uid is None:
                if not (forever or self._waiting):
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._reconcile(uid)
            except HooklineError as error:
                self.failed.add(uid)
                log.warning("reconciling failed, it will be tried again: %s", error, extra={"uid": uid})
                reason = reasons.API_FAILING if isinstance(error, ApiError) else reasons.STORE_FAILING
                self._put_off(uid, reason, str(error))
            except Exception as error:  # one poison object must not end the controller
                log.exception("reconciling failed unexpectedly", extra={"uid": uid})
                text = f"an unexpected error ({type(error).__name__}), tried again: see the operator's log"
                self._put_off(uid, reasons.INTERNAL_ERROR, text)
            finally:
                self._waiting.done(uid)
                self._wake.set()

    def _put_off(self, uid: str, reason: str, message: str) -> None:
        """Say why nothing came of it, and look again later."""
        self._unresolved.add(uid)
        obj = self._objects.get(uid)
        if obj is not None:
            generation = obj["metadata"].get("generation", 0)
            self._applier.report(obj, Finding(generation, True, reasons.VALID, message, blocked=reason))

    async def _reconcile(self, uid: str) -> None:
        obj = self._objects.get(uid)
        if obj is None:
            self._use(uid, frozenset())
            self._again.pop(uid, None)
            self._access.forget(uid)
            await self._applier.forget(uid)
            self._reported.discard(uid)
            self._unresolved.discard(uid)
            self.failed.discard(uid)
            return
        self._unresolved.discard(uid)
        self.failed.discard(uid)
        generation = obj["metadata"].get("generation", 0)
        if uid not in self._reported:
            self._reported.add(uid)
            self._applier.report(obj, Finding(generation, True, reasons.VALID, "it is looked at", reasons.PENDING))
        try:
            self._admit(uid, self._quota.too_young(uid))
            finding = await self._apply(self._parse(obj))
        except SpecError as error:
            finding = Finding(generation, False, error.reason, str(error))
        if finding.reason in reasons.TRANSIENT or finding.blocked == reasons.PENDING:
            self._unresolved.add(uid)
        self._applier.report(obj, finding)

    async def _apply(self, subscription: Subscription) -> Finding:
        """Put a subscription in force as far as it goes. Raises SpecError when its spec can't be used."""
        _read_paths(subscription)
        await self._applier.check(subscription)
        endpoint = literal_endpoint(subscription, self._check_url)
        check_token_url(subscription, self._check_url)
        check_tokens(subscription, self._service_account_tokens)
        check_kinds(subscription, self._secret_metadata)
        resources = [await self._served(source) for source in subscription.sources]
        account = subscription.service_account
        wanted = frozenset(f"{account} {key}" for key in self._scope_keys(subscription, resources))
        self._quota.wants(subscription.uid, wanted)
        self._admit(subscription.uid, self._quota.refusal(subscription.uid))
        grant = await self._access.admit(subscription, resources)
        if not grant.granted:
            self._applier.withdraw(subscription.uid)
            blocked = reasons.ACCESS_DENIED
            return Finding(subscription.generation, True, reasons.VALID, grant.message, blocked, endpoint)
        # Before the Secrets: what can't be sent yet is recorded all the same.
        await self._applier.activate(subscription, resources)
        self._use(subscription.uid, frozenset(_references(subscription)))
        await self._applier.requested(subscription)
        prepared = await prepare(subscription, self.secrets, self._check_url, self._admit_profile)
        self._applier.send_to(subscription.uid, prepared.target)
        self._again.pop(subscription.uid, None)
        if prepared.again is not None:
            self._again[subscription.uid] = prepared.again
        missing = [source for source, served in zip(subscription.sources, resources, strict=True) if served is None]
        if missing:
            kinds = ", ".join(f"{source.api_version}/{source.kind}" for source in missing)
            message = f"spec.sources: {kinds} is not served by this cluster: correct it, or install its CRD"
            return replace(prepared.finding, accepted=False, reason=reasons.RESOURCE_NOT_SERVED, message=message)
        return prepared.finding

    async def _served(self, source: Source) -> Resource | None:
        try:
            resource = await self._resolve(source.api_version, source.kind)
        except NotServed:
            return None
        check_scope(source, resource)
        return resource

    def _admit(self, uid: str, refusal: str) -> None:
        """Raise SpecError when a subscription has no place in its namespace, and put it out of force."""
        if refusal:
            self._applier.withdraw(uid, "changes while its namespace had no place for it are not told")
            raise SpecError(reasons.QUOTA_EXCEEDED, "metadata.namespace", refusal)

    def _displaced(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self.enqueue(uid)

    def _lost(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        self._objects.pop(uid, None)
        self._quota.drop(uid)
        self._gone.add(uid)
        self._enqueue(uid, obj)

    def _use(self, uid: str, names: frozenset[Name]) -> None:
        """This is what a subscription refers to from now on; what nobody does is forgotten."""
        before = self._used.pop(uid, frozenset())
        if names:
            self._used[uid] = names
        for name in names:
            self._users.setdefault(name, set()).add(uid)
        for name in before - names:
            self._users[name].discard(uid)
        unused = [name for name in before - names if not self._users[name]]
        for name in unused:
            del self._users[name]
        self.secrets.polled.forget(unused)

    def _references_changed(self, names: Iterable[Name]) -> None:
        for name in names:
            for uid in self._users.get(name, ()):
                self.enqueue(uid)


def _is_older(obj: Object, known: Object) -> bool:
    """By resourceVersion, where both are whole numbers (https://kep.k8s.io/5504); what can't be compared is not."""
    versions = [str(item["metadata"].get("resourceVersion", "")) for item in (obj, known)]
    return all(map(str.isdecimal, versions)) and int(versions[0]) < int(versions[1])


def _declared(obj: Object) -> tuple[int | None, str | None, str | None]:
    """What of an object people change; all else of it is ours."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    return metadata.get("generation"), annotations.get(reasons.REQUESTED_AT), annotations.get(reasons.ROTATE_KEY)


def _read_paths(subscription: Subscription) -> None:
    """Refuse paths that can't be read. Raises SpecError."""
    for text in subscription.changed:
        paths.parse(text, "spec.filter.changed")
    for text in subscription.payload.exclude:
        paths.parse(text, "spec.payload.exclude")


def _references(subscription: Subscription) -> Iterable[Name]:
    namespace = subscription.namespace
    yield SECRETS, namespace, subscription.signing_secret or signing_secret_name(subscription.name)
    if subscription.unguessable:
        yield SECRETS, namespace, path_secret_name(subscription.name)
    refs = [header.ref for header in subscription.headers] + [subscription.url_ref]
    yield from ((SECRETS, namespace, ref.name) for ref in refs if ref is not None)
    yield from references(subscription)
