"""Name lookups in threads, shared so that the slow or failing names of one tenant delay nobody else's.

In: a tenant, a host and a port. Out: what the operating system's resolver answers. ``dial`` vets it.
``getaddrinfo`` can't be cancelled: whoever stops waiting leaves a busy thread behind, for as long as the resolver takes
(resolv.conf: 5 s, 2 attempts and 1 to 3 name servers by default). So what counts is threads that are busy, not
lookups that somebody still waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

AddressInfo = tuple[int, int, int, str, Any]
Lookup = Callable[[str, int], Sequence[AddressInfo]]
"""Blocking name lookup; raises OSError. What ``getaddrinfo`` returns, for stream sockets."""

TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""For whom the present task sends: a namespace. Whoever sends sets it; the resolver can't be handed it otherwise."""

THREADS = 128
"""All lookups at once; idle ones cost nothing. asyncio's own pool has six threads on two cores: six that hang stop
everybody's."""

SHARE = 8
"""Lookups of one tenant at once, while more than half of the threads are free; else one."""


def system_lookup(host: str, port: int) -> Sequence[AddressInfo]:
    """The operating system's ``getaddrinfo``, for TCP."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)


@dataclass(eq=False, slots=True)
class _Sought:
    """A lookup: who wants it, how many still wait, whether a thread is at it."""

    key: tuple[str, str, int]
    answer: asyncio.Future[Sequence[AddressInfo]]
    waiting: int = 0
    begun: bool = field(default=False)


class Lookups:
    """The lookups of one client. Half of the threads are for those who have none yet, one for each.

    So a tenant that hangs gets ``share`` threads, and whoever has none finds a free one as long as fewer tenants hang
    than half of the threads.
    """

    def __init__(self, lookup: Lookup, *, threads: int = THREADS, share: int = SHARE) -> None:
        self._lookup = lookup
        self._free = threads
        self._reserved = threads // 2
        self._share = share
        self._busy: Counter[str] = Counter()
        self._sought: dict[tuple[str, str, int], _Sought] = {}

    async def find(self, tenant: str, host: str, port: int) -> Sequence[AddressInfo]:
        """Look a name up. Raises OSError. Those of one tenant who want the same name at once share one lookup."""
        key = (tenant, host, port)
        sought = self._sought.get(key)
        if sought is None:
            sought = self._sought[key] = _Sought(key, asyncio.get_running_loop().create_future())
            sought.answer.add_done_callback(_seen)
            self._begin()
        sought.waiting += 1
        try:
            return await asyncio.shield(sought.answer)
        finally:
            sought.waiting -= 1
            if not sought.waiting and not sought.begun:  # nobody wants it any more
                self._sought.pop(key, None)

    def _begin(self) -> None:
        """Begin what may begin, in the order of asking."""
        for sought in [sought for sought in self._sought.values() if not sought.begun]:
            tenant = sought.key[0]
            if self._may_begin(self._busy[tenant]):
                sought.begun = True
                self._free -= 1
                self._busy[tenant] += 1
                loop = asyncio.get_running_loop()
                # Not a pool: at the end of the process Python would wait for its threads, however long they hang.
                thread = threading.Thread(target=self._run, args=(sought, loop), name="lookup", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the machine has no more: the place, and whoever waits, must not hang
                    loop.call_soon(self._ended, sought, (), error)

    def _may_begin(self, busy: int) -> bool:
        return self._free > (0 if busy == 0 else self._reserved) and busy < self._share

    def _run(self, sought: _Sought, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread."""
        answer: Sequence[AddressInfo] = ()
        problem: Exception | None = None
        try:
            answer = self._lookup(*sought.key[1:])
        except Exception as error:  # noqa: BLE001 (whoever waits gets it)
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
            loop.call_soon_threadsafe(self._ended, sought, answer, problem)

    def _ended(self, sought: _Sought, answer: Sequence[AddressInfo], problem: Exception | None) -> None:
        tenant = sought.key[0]
        self._free += 1
        self._busy[tenant] -= 1
        if not self._busy[tenant]:
            del self._busy[tenant]
        self._sought.pop(sought.key, None)
        if problem is None:
            sought.answer.set_result(answer)
        else:
            sought.answer.set_exception(problem)
        self._begin()


def _seen(answer: asyncio.Future[Sequence[AddressInfo]]) -> None:
    """Everybody who waited for a failure may be gone by now."""
    if not answer.cancelled():
        answer.exception()
