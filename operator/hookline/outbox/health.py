"""How the outbox is, seen from all that is asked of it; and the one gate that shuts it.

In: any ``Store``. Out: the same store, each call of which is noted here. Everybody else just tries again: what fails
for a while shows in ``failing``, what must end the process goes to ``on_fatal``. ``hookline.app`` tells it on.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

from hookline.errors import Fenced, StoreDamaged, StoreError, ValueRefused
from hookline.outbox.store import Store

OPERATIONS = tuple(
    name for name, member in vars(Store).items() if inspect.iscoroutinefunction(member) and not name.startswith("_")
)
"""The names of all calls: the values of a metric's label."""

GIVEN_UP_SECONDS = 60.0
"""Whoever means it tries again within seconds; a failure that nobody repeats for so long says nothing about now."""


class StoreHealth:
    """Notes how the calls of a store end. ``clock`` is monotonic seconds.

    ``admitted`` is asked before each call, the closing one apart: False means that this process may not touch the
    store now. ``on_error`` is told the operation of each failure, ``on_fatal`` the first error that can't heal. Both
    are called in the event loop.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        on_error: Callable[[str], None],
        on_fatal: Callable[[StoreError], None],
        admitted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock = clock
        self._on_error = on_error
        self._on_fatal = on_fatal
        self._admitted = admitted
        self._failures: dict[str, tuple[float, StoreError]] = {}
        self._shut: StoreError | None = None

    @property
    def failing(self) -> str:
        """What is wrong, for the administrator; empty when every call that was made last succeeded."""
        now = self._clock()
        current = [error for when, error in self._failures.values() if now < when + GIVEN_UP_SECONDS]
        return str(current[0]) if current else ""

    def shut(self, error: StoreError) -> None:
        """Let every later call but ``close`` fail with this error, without touching the store."""
        if self._shut is None:
            self._shut = error

    def watched(self, store: Store) -> Store:
        """The same store, with every call noted here."""
        return cast(Store, _Watched(self, store))

    def note(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """One method of a store, observed."""

        @wraps(method)
        async def call(*arguments: Any, **named: Any) -> Any:
            self._pass_the_gate(name)
            try:
                result = await method(*arguments, **named)
            except StoreError as error:
                self._failed(name, error)
                raise
            self._failures.pop(name, None)
            return result

        return call

    def _pass_the_gate(self, name: str) -> None:
        if name == "close":
            return
        if self._shut is None and not self._admitted():
            self._fatal(Fenced("the Lease ran out: this process may not touch the outbox any more"))
        if self._shut is not None:
            raise type(self._shut)(*self._shut.args)

    def _failed(self, name: str, error: StoreError) -> None:
        self._on_error(name)
        if isinstance(error, ValueRefused):
            return
        self._failures[name] = (self._clock(), error)
        # Only a refused take-over may be answered, by a later epoch.
        if isinstance(error, StoreDamaged) or (isinstance(error, Fenced) and name != "take_over"):
            self._fatal(error)

    def _fatal(self, error: StoreError) -> None:
        if self._shut is None:
            self._shut = error
            self._on_fatal(error)


class _Watched:
    def __init__(self, health: StoreHealth, store: Store) -> None:
        for name in OPERATIONS:
            setattr(self, name, health.note(name, getattr(store, name)))
