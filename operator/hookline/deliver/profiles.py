"""What subscriptions ask of TLS, looked at once and kept once, however many of them ask for the same.

In: a ``TlsProfile`` and the namespace that asks. Out: the same, whose certificates can be used, or InvalidKey. Reading
a bundle takes a processor up to 0.2 ms for each certificate, so that is done in a thread, one bundle at a time, and
what came of it is remembered. ``contexts`` makes of a profile what a connection needs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from weakref import WeakValueDictionary

from hookline.deliver.tls import check_profile
from hookline.errors import InvalidKey
from hookline.model import TlsProfile

BUNDLE_BYTES = 256 * 1024
"""Of one bundle of authorities: a public one with some 150 certificates has 220 KiB."""
NAMESPACE_BYTES = 8 * 1024 * 1024
"""Of all different profiles of a namespace together."""
REMEMBERED = 4096
"""Verdicts that are kept, the latest."""

_Key = bytes


class Profiles:
    """The profiles in use; each is kept as long as somebody has it."""

    def __init__(self) -> None:
        self._kept: dict[str, WeakValueDictionary[_Key, TlsProfile]] = {}
        self._verdicts: OrderedDict[_Key, str] = OrderedDict()
        self._reading = asyncio.Lock()

    async def admit(self, namespace: str, profile: TlsProfile) -> TlsProfile:
        """The one profile of this content in this namespace; of a part of one, without a namespace, whether it will do.

        Raises InvalidKey when its certificates can't be used, when it is too large, or all of the namespace are.
        """
        if len(profile.authorities) > BUNDLE_BYTES:
            raise InvalidKey(
                f"it has more than {BUNDLE_BYTES // 1024} KiB: leave the authorities that vouch for the URL"
            )
        key = _key(profile)
        if namespace in self._kept and (known := self._kept[namespace].get(key)) is not None:
            return known
        if problem := await self._verdict(key, profile):
            raise InvalidKey(problem)
        if not namespace:
            return profile
        self._tidy()
        kept = self._kept.setdefault(namespace, WeakValueDictionary())
        if key not in kept and _size(profile) + sum(map(_size, kept.values())) > NAMESPACE_BYTES:
            most = f"{NAMESPACE_BYTES // (1024 * 1024)} MiB"
            raise InvalidKey(f"the certificates of this namespace's subscriptions have more than {most} together")
        return kept.setdefault(key, profile)

    async def _verdict(self, key: _Key, profile: TlsProfile) -> str:
        """What is wrong with it; empty when nothing is."""
        async with self._reading:
            if key not in self._verdicts:
                self._verdicts[key] = await asyncio.to_thread(_problem, profile)
            self._verdicts.move_to_end(key)
            while len(self._verdicts) > REMEMBERED:
                self._verdicts.popitem(last=False)
            return self._verdicts[key]

    def _tidy(self) -> None:
        for namespace in [namespace for namespace, kept in self._kept.items() if not kept]:
            del self._kept[namespace]


def _problem(profile: TlsProfile) -> str:
    try:
        check_profile(profile)
    except InvalidKey as error:
        return str(error)
    return ""


def _size(profile: TlsProfile) -> int:
    return len(profile.authorities) + len(profile.certificate) + len(profile.private_key)


def _key(profile: TlsProfile) -> _Key:
    """A digest of all of it. It is no secret of whoever has the profile, and never leaves the process."""
    parts = (profile.authorities, profile.certificate, profile.private_key, profile.min_version)
    raw = [part.encode() for part in parts]
    return hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in raw)).digest()
