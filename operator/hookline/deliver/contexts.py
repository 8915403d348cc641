"""The TLS contexts in use: made when an attempt needs one, kept while there is room, shared out among namespaces.

In: a profile and who asks. Out: its context, lent for the time of an attempt. A context holds its own copy of every
authority that it trusts, about 6 KiB each, so one with the system's takes about 1 MiB: OpenSSL could share them, Python
can't. What counts is therefore authorities. ``tls`` makes a context, in a thread, since that takes some 15 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from hookline.deliver.tls import profile_context
from hookline.model import TlsProfile

AUTHORITIES = 16 * 1024
"""All contexts together hold so many, about 100 MiB: some 100 contexts with the system's, or 1,800 with one of their
own."""

ITSELF = 8
"""What a context and its pool of connections take beside its authorities, in authorities."""


@dataclass(eq=False, slots=True)
class _Kept:
    """A context, who had it made, how much it counts, and how many attempts use it now."""

    profile: TlsProfile
    namespace: str
    size: int
    context: ssl.SSLContext
    users: int = 0


class Contexts:
    """One context for each profile, however many subscriptions have the same. Make it inside the running event loop.

    ``usual`` is for who has no profile, with ``extra_ca`` in it; ``drop`` is told of each that is not kept any more.
    Where there is no room, the one goes that was idle longest, of the namespace that holds most: so a namespace with
    many never shrinks one that holds less. One that has none gets its first even where all are in use.
    """

    def __init__(
        self,
        usual: ssl.SSLContext,
        extra_ca: str | None,
        drop: Callable[[ssl.SSLContext], None],
        *,
        limit: int = AUTHORITIES,
    ) -> None:
        self._usual = usual
        self._extra_ca = extra_ca
        self._drop = drop
        self._limit = limit
        self._profiles: dict[str, TlsProfile] = {}
        self._wanted: Counter[TlsProfile] = Counter()
        self._kept: dict[TlsProfile, _Kept] = {}  # the least recently used first
        self._held: Counter[str] = Counter()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._making = asyncio.Lock()
        self._idle = asyncio.Event()

    @property
    def held(self) -> int:
        """How much all contexts count together, in authorities."""
        return self._held.total()

    def use(self, subscription: str, profile: TlsProfile | None) -> None:
        """From now on this subscription has this profile. What nobody has any more is dropped, when it is idle."""
        before = self._profiles.pop(subscription, None)
        if profile is not None:
            self._profiles[subscription] = profile
            self._wanted[profile] += 1
        if before is not None:
            self._wanted[before] -= 1
            if not self._wanted[before]:
                del self._wanted[before]
            self._tidy(self._kept.get(before))

    @contextlib.asynccontextmanager
    async def lend(self, namespace: str, profile: TlsProfile | None) -> AsyncIterator[ssl.SSLContext]:
        """The context of this profile, which is not dropped as long as this lasts. Raises InvalidKey.

        Waits for room, and for those that the namespace asked for earlier; whoever asks has the deadline.
        """
        if profile is None:
            yield self._usual
            return
        kept = self._kept.get(profile) or await self._make(namespace, profile)
        self._kept[profile] = self._kept.pop(profile)
        kept.users += 1
        try:
            yield kept.context
        finally:
            kept.users -= 1
            self._tidy(kept)
            self._wake()

    async def _make(self, namespace: str, profile: TlsProfile) -> _Kept:
        """Make one; each namespace is at one only, so that nobody stands behind all profiles of another."""
        async with self._turns.setdefault(namespace, asyncio.Lock()):
            if (kept := self._kept.get(profile)) is not None:
                return kept
            size = self._size(profile)
            await self._room(namespace, size)
            self._held[namespace] += size
            try:
                async with self._making:
                    context = await asyncio.to_thread(profile_context, profile, self._extra_ca)
            except BaseException:
                self._give_back(namespace, size)
                raise
            if (kept := self._kept.get(profile)) is not None:  # another namespace has the same
                self._give_back(namespace, size)
                return kept
            kept = self._kept[profile] = _Kept(profile, namespace, size, context)
            return kept

    def _size(self, profile: TlsProfile) -> int:
        if profile.authorities:
            return ITSELF + profile.authorities.count("-----BEGIN ")
        return ITSELF + self._usual.cert_store_stats()["x509"]

    async def _room(self, namespace: str, size: int) -> None:
        while self.held + size > self._limit:
            if self._evict(namespace, size):
                continue
            if not self._held[namespace]:
                return
            self._idle.clear()
            await self._idle.wait()

    def _evict(self, namespace: str, size: int) -> bool:
        """Drop an idle one, if this namespace may have its room; tells whether there was one.

        It may have its own, and of others what leaves them no less than it has then; for its first, any.
        """
        held = self._held[namespace]

        def yields(kept: _Kept) -> bool:
            theirs = self._held[kept.namespace] - kept.size
            return not kept.users and (kept.namespace == namespace or not held or theirs >= held + size)

        idle = [kept for kept in self._kept.values() if yields(kept)]
        if idle:
            self._remove(max(idle, key=lambda kept: self._held[kept.namespace]))
        return bool(idle)

    def _tidy(self, kept: _Kept | None) -> None:
        if kept is not None and not kept.users and not self._wanted[kept.profile]:
            self._remove(kept)

    def _remove(self, kept: _Kept) -> None:
        del self._kept[kept.profile]
        self._drop(kept.context)
        self._give_back(kept.namespace, kept.size)

    def _give_back(self, namespace: str, size: int) -> None:
        self._held[namespace] -= size
        if not self._held[namespace]:
            del self._held[namespace]
        self._wake()

    def _wake(self) -> None:
        self._idle.set()
