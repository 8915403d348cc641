"""Who wants to know that messages changed, and of which subscription.

In: ids of messages that a backend stored, handed out or recorded. Out: a call for each, to those who follow their
subscription. Where nobody does, it costs a look into a dict. All in the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Told = Callable[[str], None]


class Followers:
    """Those who follow, by subscription uid."""

    def __init__(self) -> None:
        self._told: dict[str, list[Told]] = {}

    def add(self, subscription: str, told: Told) -> Callable[[], None]:
        """Call ``told`` with every id, until what is returned is called (once)."""
        self._told.setdefault(subscription, []).append(told)

        def end() -> None:
            rest = self._told[subscription]
            rest.remove(told)
            if not rest:
                del self._told[subscription]

        return end

    def tell(self, changed: Iterable[tuple[str, str]]) -> None:
        """These messages changed, as (subscription, id)."""
        if not self._told:
            return
        for subscription, ident in changed:
            for told in self._told.get(subscription, ()):
                told(ident)
