"""What a payload says of the object: all of it, its metadata, or the fields that changed. Pure."""

from __future__ import annotations

from typing import Any

from hookline import paths
from hookline.model import Change, Object
from hookline.spec import Content, Operation

_IDENTITY = ("namespace", "name", "uid", "resourceVersion")


def describe(
    change: Change, content: Content, changed: tuple[paths.Path, ...], names: tuple[str, ...]
) -> dict[str, Any]:
    """The ``data`` of an event without a transform.

    ``operation`` and ``object`` are always there; ``changes`` (a list of ``path``, ``old``, ``new``) with
    Content.CHANGES; ``coalesced`` when several changes may have become one; ``partial`` when only the metadata of a
    deleted object is known. ``names`` are the paths as the user wrote them.
    """
    data: dict[str, Any] = {"operation": change.operation.value}
    match content:
        case Content.FULL:
            data["object"] = change.object
        case Content.METADATA:
            data["object"] = _head(change.object, change.object["metadata"])
        case Content.CHANGES:
            metadata = change.object["metadata"]
            data["object"] = _head(change.object, {key: metadata[key] for key in _IDENTITY if key in metadata})
            data["changes"] = _changes(change, changed, names)
    if change.coalesced:
        data["coalesced"] = True
    # Of an object whose deletion was seen the last state is whole, whatever was kept of the one before.
    if change.partial and change.operation is Operation.DELETED and change.object == change.old:
        data["partial"] = True
    return data


def _head(obj: Object, metadata: Any) -> dict[str, Any]:
    return {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": metadata}


def _changes(change: Change, changed: tuple[paths.Path, ...], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Old and new value of each field that differs; an absent value is left out, null stays null."""
    before = change.object if change.operation is Operation.DELETED else change.old
    after = None if change.operation is Operation.DELETED else change.object
    found = []
    for name, path in zip(names, changed, strict=True):
        old, new = paths.lookup(before, path), paths.lookup(after, path)
        if old != new:
            entry = {"path": name}
            if old is not paths.ABSENT:
                entry["old"] = old
            if new is not paths.ABSENT:
                entry["new"] = new
            found.append(entry)
    return found
