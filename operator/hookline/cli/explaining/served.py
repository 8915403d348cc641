"""The resources that a cluster serves, and how people name them: ``deploy``, ``deployments.apps``, ``Deployment``.

In: the API server's aggregated discovery, two requests. Out: ``Served``. ``hookline.cli.explain`` finds an object with
it, ``hookline.cli.new`` offers what can be watched.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hookline.cli.cluster import Cluster, CommandError, sentence
from hookline.errors import ApiError
from hookline.model import Resource
from hookline.reasons import GROUP

_KIND = "APIGroupDiscoveryList"
_ACCEPT = ",".join(f"application/json;g=apidiscovery.k8s.io;v={version};as={_KIND}" for version in ("v2", "v2beta1"))


@dataclass(frozen=True, slots=True)
class Served:
    """One resource, its other names, and what may be done with it. ``preferred``: in its group's first version."""

    resource: Resource
    singular: str
    short: tuple[str, ...]
    verbs: frozenset[str]
    preferred: bool

    @property
    def name(self) -> str:
        """As kubectl writes it: ``deployments.apps``, ``configmaps``."""
        return f"{self.resource.plural}.{self.resource.group}".rstrip(".")

    @property
    def watchable(self) -> bool:
        """Whether a subscription can listen to it."""
        return {"list", "watch"} <= self.verbs and self.resource.group != GROUP

    def is_called(self, text: str) -> bool:
        """Whether it has this name, with or without version and group, in any case."""
        name, _, group = text.lower().partition(".")
        names = {self.resource.plural, self.singular, self.resource.kind.lower(), *self.short}
        version = self.resource.api_version.rpartition("/")[2]
        own = self.resource.group
        return name in names and group in ("", own, f"{version}.{own}".rstrip("."), own or version)


async def served(cluster: Cluster) -> list[Served]:
    """All resources, core group first, in the API server's order of groups. Raises CommandError."""
    found: list[Served] = []
    for path in ("/api", "/apis"):
        try:
            answer = orjson.loads(await cluster.kube.get_bytes(path, accept=_ACCEPT))
            if answer.get("kind") != _KIND:
                raise CommandError("the API server does not list its resources at once: it must be Kubernetes 1.27+")
            found += _read(answer)
        except ApiError as error:
            text = sentence(error, cluster.place)
            raise CommandError(f"what the cluster serves can't be found out: {text}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(f"what the cluster serves can't be found out: {error}") from None
    return found


def find(every: Sequence[Served], text: str) -> Served:
    """The resource of this name, the first where several have it, as kubectl does. Raises CommandError."""
    for preferred in (True, False):
        for one in every:
            if one.preferred is preferred and one.is_called(text):
                return one
    names = sorted({one.name for one in every} | {one.singular for one in every} | {one.resource.kind for one in every})
    close = difflib.get_close_matches(text, names, 1)
    hint = f'; did you mean "{close[0]}"?' if close else "; see kubectl api-resources"
    raise CommandError(f'the cluster serves no "{text}"{hint}')


def _read(answer: Any) -> Iterator[Served]:
    for group in answer["items"]:
        name = group["metadata"].get("name", "")
        for number, version in enumerate(group["versions"]):
            api_version = f"{name}/{version['version']}".lstrip("/")
            for item in version.get("resources") or ():
                kind = item.get("responseKind") or {}
                resource = Resource(api_version, kind.get("kind", ""), item["resource"], item["scope"] == "Namespaced")
                singular = item.get("singularResource") or resource.kind.lower()
                verbs = frozenset(item.get("verbs") or ())
                if resource.kind:
                    yield Served(resource, singular, tuple(item.get("shortNames") or ()), verbs, number == 0)
