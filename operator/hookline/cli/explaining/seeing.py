"""How a source sees the object: in its own version, through its field selector, with the labels of the namespace.

In: a ``Subject`` and a ``Scope``. Out: what the API server says, and the ``Change`` that the operator's watch would
tell. The API server is only read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from hookline.cli.cluster import Cluster
from hookline.cli.explaining.fields import mismatch, seen_as
from hookline.cli.explaining.steps import NEEDS_OLD, Check, Result
from hookline.cli.explaining.subject import Subject, live
from hookline.errors import ApiError, NotServed
from hookline.model import Change, Object, Resource, Scope
from hookline.spec import Operation
from hookline.watch.bare import bare
from hookline.watch.projection import metadata_only
from hookline.watch.wire import named

FIELDS = "field selector"


class Seeing:
    """What was asked about one subject; each question is asked once."""

    def __init__(self, cluster: Cluster, subject: Subject) -> None:
        self._cluster = cluster
        self._subject = subject
        self._versions: dict[Resource, Object] = {subject.resource: subject.object}
        self._visible: dict[Scope, tuple[bool, str]] = {}
        self._labels: tuple[Mapping[str, str] | None, str] | None = None

    async def namespace(self) -> tuple[Mapping[str, str] | None, str]:
        """The labels of the object's namespace (None: there is no such namespace), or why they can't be read."""
        if self._labels is None:
            name = self._subject.namespace
            try:
                namespace = await self._cluster.kube.request("GET", f"/api/v1/namespaces/{name}")
                self._labels = (namespace["metadata"].get("labels") or {}, "")
            except NotServed:
                self._labels = (None, "")
            except ApiError as error:
                self._labels = (None, f"the labels of namespace {name} can't be read: {error}")
        return self._labels

    async def version(self, resource: Resource) -> Object | None:
        """The object in another version of its API; None where it is not the cluster that has it."""
        if resource not in self._versions:
            if not self._subject.live or self._subject.old is not None:
                return None
            obj = await live(self._cluster, resource, self._subject.namespace, self._subject.name)
            self._versions[resource] = bare(obj, resource)
        return self._versions[resource]

    async def fields(self, scope: Scope, obj: Object, happening: Operation) -> tuple[Check, Operation | None]:
        """Whether the API server shows this to who watches by a field selector, and as what."""
        subject, text = self._subject, scope.field_selector
        seen, why = await self._is_visible(scope, obj)
        if subject.blind(happening):
            return Check(FIELDS, Result.UNKNOWN, f"{why or text}; {NEEDS_OLD}"), None
        was = mismatch(text, subject.old) if subject.old is not None else why
        operation = seen_as(happening, before=not was, after=seen)
        if operation is None:
            return Check(FIELDS, Result.FAILED, why), None
        if operation is happening:
            return Check(FIELDS, Result.PASSED, text), operation
        told = f"before, {was}" if operation is Operation.CREATED else f"now, {why}"
        return Check(FIELDS, Result.PASSED, f"{told}: to who looks through it that is {operation}"), operation

    async def _is_visible(self, scope: Scope, obj: Object) -> tuple[bool, str]:
        """Whether a selector matches the present state, and what does not; the API server decides where it can."""
        if scope not in self._visible:
            subject, why = self._subject, mismatch(scope.field_selector, obj)
            selector = f"{scope.field_selector},{named(subject.name)}" if subject.live else scope.field_selector
            path = scope.resource.path(subject.namespace if scope.resource.namespaced else "")
            params = {"fieldSelector": selector, "limit": "1"}
            try:
                answer = await self._cluster.kube.request("GET", path, params=params)
                seen = bool(answer["items"]) if subject.live else not why
                self._visible[scope] = seen, "" if seen else why or f"{scope.field_selector}: it does not match"
            except ApiError as error:
                refused = f"the API server can't select by it: {error}"
                self._visible[scope] = (False, refused) if error.status == 400 else (not why, why)
        return self._visible[scope]


def change_of(scope: Scope, operation: Operation, obj: Object, old: Object | None, *, full: bool) -> Change:
    """The change as the operator's watch would tell it now.

    ``full``: the operator keeps whole last-seen objects, not their metadata alone. An object that leaves a field
    selector (a deletion with an ``old``) is told in its old state, at the new version.
    """
    version: str = obj["metadata"]["resourceVersion"]
    if operation is Operation.CREATED:
        return Change(scope, operation, obj, None, version, time.time())
    if operation is Operation.DELETED:
        old = obj if old is None else old
        obj = {**old, "metadata": {**old["metadata"], "resourceVersion": version}}
    kept = old if full or old is None else metadata_only(old)
    partial = kept is not None and not full and operation is Operation.UPDATED
    return Change(scope, operation, obj, kept, version, time.time(), partial=partial)
