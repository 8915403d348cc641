"""The seams of the controller and the status room for unit tests: a scripted API server, and an applier that notes.

The server knows only what a test tells it, and lets a test act in the middle of an answer.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from hookline.api.parse import parse
from hookline.controller.access import Access
from hookline.controller.quota import Quota
from hookline.controller.reconciler import Reconciler, ScopeKeys
from hookline.controller.reviews import PATH, Reviews
from hookline.errors import Conflict, Forbidden, NotServed
from hookline.model import Finding, Object, Resource, Target
from hookline.scopes import scopes_of
from hookline.spec import Subscription
from support.samples import CONFIG_MAPS

SUBSCRIPTIONS = "/apis/hookline.dev/v1alpha1/webhooksubscriptions"
SECRETS = "/api/v1/namespaces/shop/secrets"


def webhook(name: str = "orders", uid: str = "u1", version: str = "10", generation: int = 1, **spec: Any) -> Object:
    """A subscription as the API server has it."""
    metadata = {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": version, "generation": generation}
    plain = {"sources": [{"apiVersion": "v1", "kind": "ConfigMap"}], "destination": {"url": "https://a.example/"}}
    return {"metadata": metadata, "spec": {**plain, **spec}}


def secret(owner: str = "", *, deleted: bool = False, version: str = "1", **data: str) -> dict[str, Any]:
    """A Secret, owned by the subscription with this uid."""
    metadata: dict[str, Any] = {"resourceVersion": version}
    if owner:
        kind = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription"}
        metadata["ownerReferences"] = [{**kind, "name": "orders", "uid": owner}]
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}}


async def _nothing() -> None: ...


class ScriptedApi:
    """Answers from ``listed`` and ``secrets``; ``during_list`` is called between the snapshot and its arrival."""

    def __init__(self) -> None:
        self.listed: list[Object] = []
        self.secrets: dict[str, dict[str, Any]] = {}
        self.patches: list[tuple[str, Any]] = []
        self.refusal: Exception | None = None
        self.writes = 0
        self.allowed = True
        self.may_create = True
        self.during_list: Callable[[], Awaitable[None]] = _nothing

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None, **_: Any
    ) -> Any:
        if method == "PATCH" and path.startswith(SECRETS):
            return self._change(path.removeprefix(f"{SECRETS}/"), body)
        if method == "PATCH":
            self.patches.append((path, body))
            if self.refusal is not None:
                raise self.refusal
            return None
        if path == PATH:
            return {"status": {"allowed": self.allowed}}
        if path == SUBSCRIPTIONS:
            snapshot = list(self.listed)
            await self.during_list()
            return {"items": snapshot, "metadata": {}}
        return self._secret(method, path, body) if path.startswith(SECRETS) else None

    def _secret(self, method: str, path: str, body: Any) -> Any:
        name = body["metadata"]["name"] if method == "POST" else path.removeprefix(f"{SECRETS}/")
        if method == "POST":
            if not self.may_create:
                raise Forbidden(403, "the namespace is being terminated")
            if name in self.secrets:
                raise Conflict(409, "it exists")
            (owner,) = body["metadata"]["ownerReferences"]
            self.secrets[name] = secret(owner["uid"], **body["stringData"])
            self.secrets[name]["metadata"] |= {key: body["metadata"][key] for key in ("labels", "annotations")}
        if name not in self.secrets:
            raise NotServed(404, "not found")
        return self.secrets[name]

    def _change(self, name: str, body: Any) -> Any:
        """A merge patch of data and annotations, for the version that it names."""
        self.writes += 1
        if self.refusal is not None:
            raise self.refusal
        metadata, data = self.secrets[name]["metadata"], self.secrets[name]["data"]
        if body["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise Conflict(409, "it was changed")
        annotations = metadata.get("annotations", {}) | body["metadata"]["annotations"]
        changed = {key: value for key, value in {**data, **body["data"]}.items() if value is not None}
        version = str(int(metadata["resourceVersion"]) + 1)
        self.secrets[name] = {
            "metadata": {**metadata, "annotations": annotations, "resourceVersion": version},
            "data": changed,
        }
        return self.secrets[name]


class NotingApplier:
    """Notes what the controller decided. ``trouble`` is raised by ``activate``."""

    def __init__(self) -> None:
        self.activated: list[Subscription] = []
        self.targets: dict[str, Target | None] = {}
        self.findings: list[Finding] = []
        self.forgotten: list[str] = []
        self.withdrawn: list[str] = []
        self.swept: frozenset[str] = frozenset()
        self.trouble: Exception | None = None

    async def check(self, subscription: Subscription) -> None: ...

    async def activate(self, subscription: Subscription, resources: Sequence[Resource | None]) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.activated.append(subscription)

    async def requested(self, subscription: Subscription) -> None: ...

    def send_to(self, uid: str, target: Target | None) -> None:
        self.targets[uid] = target

    def report(self, obj: Object, finding: Finding) -> None:
        self.findings.append(finding)

    def withdraw(self, uid: str, gap: str = "") -> None:
        self.withdrawn.append(uid)

    async def forget(self, uid: str) -> None:
        self.forgotten.append(uid)

    async def sweep(self, existing: frozenset[str]) -> None:
        self.swept = existing


def controller(
    api: ScriptedApi, applier: NotingApplier, quota: Quota | None = None, scopes: ScopeKeys = lambda _, __: frozenset()
) -> Reconciler:
    """A reconciler for which every kind is served and every URL allowed."""

    async def resolve(_: str, __: str) -> Resource:
        return CONFIG_MAPS

    access = Access(Reviews(api, 1000, time.monotonic), scopes_of, time.monotonic)
    return Reconciler(api, applier, parse, resolve, lambda _: "https://a.example", access, (), quota, scopes)
