"""The pure comparison of what the API server says with what was last seen: is this a change, and which?

In: one object with the type of its watch event or its place in a list, and its last-seen state. Out: a ``Change`` or
None. The informer gives the changes to the sink.
"""

from __future__ import annotations

from dataclasses import dataclass

from hookline.model import Change, Object, Scope
from hookline.spec import Operation

_OPERATIONS = {"ADDED": Operation.CREATED, "MODIFIED": Operation.UPDATED, "DELETED": Operation.DELETED}
EVENT_TYPES = frozenset(_OPERATIONS)


@dataclass(frozen=True, slots=True)
class Known:
    """The last-seen state of an object, decoded. ``full`` is False when it is only metadata."""

    resource_version: str
    object: Object
    full: bool


def is_newer(version: str, than: str) -> bool:
    """Whether a resourceVersion is later than another of the same resource type.

    They are integers and may be compared (KEP-5504); where a server has others, different counts as later.
    """
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than


def went_back(head: str, checkpoint: str) -> bool:
    """Whether a collection is, for certain, behind a checkpoint: its history was rewritten, as by an etcd restore."""
    return head.isdecimal() and checkpoint.isdecimal() and int(head) < int(checkpoint)


def from_watch(event_type: str, obj: Object, known: Known | None, scope: Scope, observed: float) -> Change | None:
    """The change that a watch event tells, or None when its state was seen already.

    ADDED of a known object is an update: it came into being while nobody looked, or came back into a field selector.
    MODIFIED of an unknown one is a creation, of which the API server failed to tell.
    """
    operation = _OPERATIONS[event_type]
    version = obj["metadata"]["resourceVersion"]
    if known is None:
        unheard = operation is Operation.UPDATED
        return Change(
            scope, Operation.CREATED if unheard else operation, obj, None, version, observed, coalesced=unheard
        )
    if operation is not Operation.DELETED:
        if not is_newer(version, known.resource_version):
            return None
        operation = Operation.UPDATED
    return Change(scope, operation, obj, known.object, version, observed, partial=not known.full)


def from_list(obj: Object, known: Known | None, scope: Scope, observed: float) -> Change | None:
    """The change between the last-seen state of an object and the one in a list made after a gap, or None.

    Any other resourceVersion counts, also a lower one: the API server may have been restored from a backup.
    """
    version = obj["metadata"]["resourceVersion"]
    if known is None:
        return Change(scope, Operation.CREATED, obj, None, version, observed, coalesced=True)
    if version == known.resource_version:
        return None
    return Change(
        scope, Operation.UPDATED, obj, known.object, version, observed, coalesced=True, partial=not known.full
    )


def vanished(known: Known, scope: Scope, list_version: str, observed: float) -> Change:
    """The deletion of an object that is in the last-seen index and in no list any more.

    Its resourceVersion is that of the list: the deletion's own is unknown, and the object's own would put the deletion
    before whatever happened since.
    """
    return Change(
        scope,
        Operation.DELETED,
        known.object,
        known.object,
        list_version,
        observed,
        coalesced=True,
        partial=not known.full,
    )
