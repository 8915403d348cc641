"""Whether what the outbox holds of unknown subscriptions is of deleted ones, or only of namespaces not served any more.

In: the outbox, and the namespaces that are served now. Out: a note in the outbox of all that it may hold, and the
answer. ``hookline.flow`` sweeps, or keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

from hookline.model import WatchCommit
from hookline.outbox.store import Store

NOTE = "hookline.dev/namespaces"
"""The scope whose checkpoint is the note; no watch has that key."""
ALL = "*"


async def may_sweep(store: Store, namespaces: Sequence[str]) -> bool:
    """Whether a subscription that is not found in these namespaces (empty: all) is deleted, as far as the outbox goes.

    It is, when this outbox never served others. Else it may exist where nobody looks now: its messages are kept, and
    sent when its namespace is served again. Call it before anything is stored. Raises StoreError.
    """
    served = set(namespaces) or {ALL}
    noted = set(filter(None, (await store.checkpoint(NOTE) or "").split(",")))
    complete = ALL in served or noted <= served
    note = served if complete else noted | served
    if note != noted:
        await store.commit(WatchCommit(NOTE, resource_version=",".join(sorted(note))))
    return complete
