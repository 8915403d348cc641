"""What a receiver was told, compared with what the API server committed: lost, invented, changed, overtaken.

In: the journal of ``support.load`` and the requests of ``support.receiver``. Out: an ``Account``, whose lists are empty
when all is well. A subscription is known by the path of its URL.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hookline.spec import Operation
from support.load import Written
from support.receiver import Received

Key = tuple[str, str, str]
"""uid, operation, resourceVersion (empty for a deletion, whose own is not in the API server's answer)."""


@dataclass(frozen=True)
class Telling:
    """One request, decoded."""

    id: str
    path: str
    sequence: int
    operation: str
    uid: str
    version: int
    coalesced: bool

    @property
    def key(self) -> Key:
        version = "" if self.operation == Operation.DELETED else str(self.version)
        return self.uid, self.operation, version


@dataclass
class Account:
    """All that is wrong, for one subscription; ``duplicates`` (the same again) are allowed and counted."""

    expected: int = 0
    duplicates: int = 0
    lost: list[Key] = field(default_factory=list)
    invented: list[Key] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    told_under_two_ids: list[Key] = field(default_factory=list)
    coalesced: list[str] = field(default_factory=list)
    misnumbered: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, Any]:
        """What is not as it must be, a few examples of each kind."""
        names = [name for name, value in vars(self).items() if isinstance(value, list) and value]
        return {name: (len(getattr(self, name)), getattr(self, name)[:3]) for name in names}


def decode(request: Received) -> Telling:
    """The facts of a request whose body is a CloudEvent or a Standard Webhook of Full or Metadata content."""
    data = json.loads(request.body)["data"]
    metadata = data["object"]["metadata"]
    return Telling(
        request.id,
        request.target,
        int(request.headers["hookline-sequence"]),
        data["operation"],
        metadata["uid"],
        int(metadata["resourceVersion"]),
        data.get("coalesced", False),
    )


def account(
    journal: Iterable[Written],
    requests: Sequence[Received],
    path: str,
    matters: Callable[[Written], bool] = lambda written: True,
    *,
    ordered: bool = False,
) -> Account:
    """Compare. ``ordered``: also the first arrivals of one object must be in order, not only the sequence numbers."""
    result = Account()
    wanted = {
        (written.uid, str(written.operation), written.resource_version) for written in journal if matters(written)
    }
    result.expected = len(wanted)
    first: dict[str, Received] = {}
    tellings: list[Telling] = []
    for request in requests:
        if request.target != path:
            continue
        known = first.setdefault(request.id, request)
        if known is request:
            tellings.append(decode(request))
        else:
            result.duplicates += 1
            if _fixed(known) != _fixed(request):
                result.changed.append(request.id)
    told = {telling.key for telling in tellings}
    result.lost = sorted(wanted - told)
    result.invented = sorted(told - wanted)
    result.told_under_two_ids = _twice(tellings)
    result.coalesced = [telling.id for telling in tellings if telling.coalesced]
    result.misnumbered = _inversions(tellings, lambda telling: telling.sequence)
    if ordered:
        place = {telling.id: number for number, telling in enumerate(tellings)}
        result.overtaken = _inversions(tellings, lambda telling: place[telling.id])
    return result


def _fixed(request: Received) -> tuple[bytes, str | None, str | None]:
    headers = request.headers
    return request.body, headers.get("hookline-sequence"), headers.get("content-type")


def _twice(tellings: Iterable[Telling]) -> list[Key]:
    ids: dict[Key, set[str]] = defaultdict(set)
    for telling in tellings:
        ids[telling.key].add(telling.id)
    return [key for key, found in ids.items() if len(found) > 1]


def _inversions(tellings: Iterable[Telling], place: Callable[[Telling], int]) -> list[str]:
    """The ids of those that come before an older state of the same object."""
    objects: dict[str, list[Telling]] = defaultdict(list)
    for telling in tellings:
        objects[telling.uid].append(telling)
    found = []
    for mine in objects.values():
        mine.sort(key=place)
        found += [late.id for early, late in pairwise(mine) if early.version > late.version - (not _known(late))]
    return found


def _known(telling: Telling) -> bool:
    """Whether its version may be one that was told before: a deletion found after a gap has the last known state."""
    return telling.coalesced and telling.operation == Operation.DELETED
