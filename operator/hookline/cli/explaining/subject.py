"""The object that is explained, and the state that it had before.

In: the options of ``explain``. Out: a ``Subject``, read from the cluster, from a file, or pasted on stdin.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import yaml

from hookline.cli.arguments import LABEL
from hookline.cli.cluster import Cluster, CommandError, Missing, Place, sentence
from hookline.cli.explaining.served import find, served
from hookline.errors import ApiError, NotServed, SettingsError
from hookline.model import Object, Resource
from hookline.spec import Operation
from hookline.watch.bare import bare
from hookline.watch.discovery import Discovery

NO_UID = "00000000-0000-0000-0000-000000000000"
NO_VERSION = "0"


class _Loader(yaml.SafeLoader):
    """YAML without timestamps: to Kubernetes they are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Subject:
    """An object, what happens to it, and its state before (None: there was none, or nobody knows it).

    Without an ``operation`` it is what a source listens to; see ``happening``. ``live``: the cluster has it. ``lacks``
    are the fields that a pasted object has not, and that the API server sets.
    """

    resource: Resource
    object: Object
    operation: Operation | None = None
    old: Object | None = None
    live: bool = False
    lacks: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace, empty where it is in none."""
        return str(self.object["metadata"].get("namespace") or "")

    def happening(self, operations: Collection[Operation]) -> Operation:
        """What happens to it; where that was left open, the first of these operations that a source listens to."""
        return self.operation or next(operation for operation in Operation if operation in operations)

    def blind(self, operation: Operation) -> bool:
        """Whether this is an update, and nobody knows the state before."""
        return operation is Operation.UPDATED and self.old is None


async def subject_of(options: Namespace, cluster: Cluster, discovery: Discovery) -> Subject:
    """The one that the options mean. Raises SettingsError and CommandError."""
    operation, old = _operation(options), _read_one(options.old, "--old") if options.old else None
    namespace = options.object_namespace or cluster.place.namespace
    lacks: tuple[str, ...] = ()
    if options.filename:
        if options.object:
            raise SettingsError("an object is given by its name or by -f, not by both")
        pasted = _read_one(options.filename, "-f")
        resource = await _resource(pasted, discovery, cluster.place, "-f")
        obj, lacks = _complete(pasted, resource, namespace, "-f")
    else:
        resource, name = await _named(options.object, cluster)
        obj = await live(cluster, resource, namespace, name)
    if old is not None:
        old = _as_old(old, await _resource(old, discovery, cluster.place, "--old"), resource, obj, namespace)
    return Subject(resource, bare(obj, resource), operation, old, live=not options.filename, lacks=lacks)


async def live(cluster: Cluster, resource: Resource, namespace: str, name: str) -> Object:
    """An object as the cluster has it now, by a resource whose version may be any. Raises CommandError."""
    where = namespace if resource.namespaced else ""
    try:
        # As a watch has it: only the order of keys within the object is the API server's own in any case.
        found: Object = await cluster.ask("GET", f"{resource.path(where)}/{quote(name, safe='')}")
    except Missing:
        place = f' in namespace "{where}"' if where else ""
        raise CommandError(f'there is no {resource.plural.removesuffix("s")} "{name}"{place}') from None
    return found


def read_objects(source: str, option: str) -> list[Any]:
    """All objects of a YAML or JSON file, or of stdin (``-``); a List is taken apart. Raises CommandError."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{option} {source}: it can't be read: {getattr(error, 'strerror', None) or 'no UTF-8'}"
        ) from None
    found: list[Any] = []
    for document in _documents(text, f"{option} {source}"):
        is_list = isinstance(document, dict) and isinstance(document.get("items"), list) and "spec" not in document
        found += document["items"] if is_list else [document]
    for one in found:
        if not isinstance(one, dict) or not isinstance(one.get("metadata"), dict):
            raise CommandError(f"{option} {source}: it is no object of Kubernetes: it has no metadata")
        if not all(isinstance(one.get(key), str) for key in ("apiVersion", "kind")):
            raise CommandError(f"{option} {source}: it is no object of Kubernetes: it has no apiVersion and kind")
        namespace = one["metadata"].get("namespace") or ""
        if namespace and not (isinstance(namespace, str) and LABEL.fullmatch(namespace)):
            raise CommandError(f"{option} {source}: {namespace!r} is no name of a namespace")
    return found


def _documents(text: str, where: str) -> list[Any]:
    try:
        return [orjson.loads(text)]
    except orjson.JSONDecodeError:
        pass
    try:
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except RecursionError:
        raise CommandError(f"{where}: it is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise CommandError(f"{where}: it is neither JSON nor YAML{line}") from None


def _read_one(source: str, option: str) -> Any:
    found = read_objects(source, option)
    if len(found) != 1:
        raise CommandError(f"{option} {source}: it must hold one object, not {len(found)}")
    if not isinstance(found[0]["metadata"].get("name"), str):
        raise CommandError(f"{option} {source}: the object has no metadata.name")
    return found[0]


def _operation(options: Namespace) -> Operation | None:
    if options.old == options.filename == "-":
        raise SettingsError("-f and --old can't both be read from stdin")
    wanted = Operation(options.operation) if options.operation else None
    if options.old and wanted not in (None, Operation.UPDATED):
        raise SettingsError(f"--old is for an update, not with --operation {wanted}")
    return wanted or (Operation.UPDATED if options.old else None)


async def _resource(obj: Object, discovery: Discovery, place: Place, option: str) -> Resource:
    try:
        return await discovery.resource(obj["apiVersion"], obj["kind"])
    except NotServed as error:
        raise CommandError(f"{option}: {str(error).partition(': ')[2]}") from None
    except ApiError as error:
        raise CommandError(sentence(error, place)) from None


async def _named(words: list[str], cluster: Cluster) -> tuple[Resource, str]:
    kind, _, name = (
        words[0].partition("/") if len(words) == 1 else (words[0] if words else "", "", words[-1] if words else "")
    )
    if not kind or not name or "/" in name or len(words) > 2:
        raise SettingsError("say which object: deployment/orders, or -f FILE, or -f - to paste it")
    return find(await served(cluster), kind).resource, name


def _complete(pasted: Any, resource: Resource, namespace: str, option: str) -> tuple[Object, tuple[str, ...]]:
    """A pasted object with what the API server would have set, as placeholders; and what that is."""
    metadata = dict(pasted["metadata"])
    if resource.namespaced:
        metadata.setdefault("namespace", namespace)
    elif metadata.get("namespace"):
        raise CommandError(f"{option}: a {resource.kind} is in no namespace, but the object names one")
    placeholders = {"uid": NO_UID, "resourceVersion": NO_VERSION}
    missing = {key: value for key, value in placeholders.items() if not metadata.get(key)}
    return {**pasted, "metadata": {**metadata, **missing}}, tuple(f"metadata.{key}" for key in missing)


def _as_old(old: Any, own: Resource, resource: Resource, obj: Object, namespace: str) -> Object:
    completed, _ = _complete(old, own, namespace, "--old")
    if (own.group, own.plural) != (resource.group, resource.plural) or any(
        completed["metadata"].get(key) != obj["metadata"].get(key) for key in ("name", "namespace")
    ):
        raise CommandError("--old: it is another object; it must be an earlier state of the same one")
    if own != resource:
        raise CommandError(f"--old: it is of {own.api_version}, the object of {resource.api_version}: give both alike")
    return bare(completed, resource)
