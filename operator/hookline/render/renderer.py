"""The envelope: CloudEvents (structured or binary), Standard Webhooks, or raw. One renderer per subscription. Pure.

CloudEvents 1.0: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and its HTTP binding;
``sequence`` is the registered extension. Standard Webhooks: the body is ``{type, timestamp, data}``.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from hookline import paths, reasons
from hookline.errors import EvaluationError, RenderError
from hookline.expressions.expression import Answer, Expression, Fuse
from hookline.model import PING_TYPE, Change, Message, Scope
from hookline.render.content import describe
from hookline.render.identity import ping_id, webhook_id
from hookline.spec import Format, Subscription

JSON = "application/json"
CLOUD_EVENT = "application/cloudevents+json"


class Renderer:
    """Makes the messages of one subscription.

    ``cluster`` is the first part of an event's source; ``limit`` the largest body in bytes; ``fuse`` is that of the
    transform, which was checked: whoever renders asks for its answer on ``subject`` first.
    Raises SpecError when a path can't be read.
    """

    def __init__(self, subscription: Subscription, cluster: str, limit: int, fuse: Fuse | None = None) -> None:
        payload = subscription.payload
        self._subscription = subscription.uid
        self._own = (subscription.namespace, subscription.name)
        self._account = subscription.service_account
        self._grounds: dict[Scope, str] = {}
        self._payload = payload
        self._names = subscription.changed
        self._changed = tuple(paths.parse(text, "spec.filter.changed") for text in subscription.changed)
        self._exclude = tuple(paths.parse(text, "spec.payload.exclude") for text in payload.exclude)
        self.transform = (
            Expression(payload.transform, False, fuse or Fuse(), subscription.namespace) if payload.transform else None
        )
        self._prefix = f"/clusters/{cluster}" if cluster else ""
        self._limit = limit

    def subject(self, change: Change) -> Change:
        """What content and transform see of a change: all but what is excluded; the change itself, if nothing is."""
        if not self._exclude:
            return change
        old = None if change.old is None else paths.without(change.old, self._exclude)
        return replace(change, object=paths.without(change.object, self._exclude), old=old)

    def render(self, change: Change, sequence: int, transformed: Answer | None = None) -> Message:
        """The message for a change that matched; ``transformed`` is the answer to the transform, if there is one.

        Raises RenderError with the reason ``transform_failed``, ``not_encodable`` or ``too_large``.
        """
        kind = self._payload.type or _default_type(change)
        data = self._data(change, transformed)
        attributes = self._attributes(change, kind, sequence)
        message = self._message(attributes, data, change.uid, change.observed, sequence, self._ground(change.scope))
        if len(message.body) > self._limit:
            raise RenderError("too_large", f"the body has {len(message.body)} bytes, the limit is {self._limit}")
        return message

    def ping(self, requested_at: str, observed: float, sequence: int) -> Message:
        """A message about the subscription itself, in its format, by which somebody sees that messages arrive.

        Neither transform nor content apply: there is no object that they could be about.
        """
        namespace, name = self._own
        api_version = f"{reasons.GROUP}/{reasons.VERSION}"
        metadata = {"namespace": namespace, "name": name, "uid": self._subscription}
        attributes = {
            "specversion": "1.0",
            "id": ping_id(self._subscription, requested_at),
            "source": f"{self._prefix}/apis/{api_version}/namespaces/{namespace}/{reasons.PLURAL}",
            "type": PING_TYPE,
            "subject": name,
            "time": rfc3339(observed),
            "sequence": str(sequence),
        }
        about = {"apiVersion": api_version, "kind": reasons.KIND, "metadata": metadata}
        data = {"operation": "Ping", "object": about, "requestedAt": requested_at}
        return self._message(attributes, data, self._subscription, observed, sequence)

    def _message(
        self,
        attributes: Mapping[str, str],
        data: Any,
        object_uid: str,
        observed: float,
        sequence: int,
        ground: str = "",
    ) -> Message:
        body, headers = self._envelope(attributes, data)
        return Message(
            id=attributes["id"],
            subscription=self._subscription,
            sequence=sequence,
            object_uid=object_uid,
            event_type=attributes["type"],
            headers=headers,
            body=body,
            observed=observed,
            ground=ground,
        )

    def _ground(self, scope: Scope) -> str:
        ground = self._grounds.get(scope)
        if ground is None:
            ground = self._grounds[scope] = scope.ground(self._account)
        return ground

    def _data(self, change: Change, transformed: Answer | None) -> Any:
        if self.transform is None:
            return describe(self.subject(change), self._payload.content, self._changed, self._names)
        if isinstance(transformed, EvaluationError):
            raise RenderError("transform_failed", str(transformed))
        if isinstance(transformed, Exception):
            raise transformed
        return transformed

    def _envelope(self, attributes: Mapping[str, str], data: Any) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        match self._payload.format:
            case Format.CLOUD_EVENTS:
                event = {**attributes, "datacontenttype": JSON, "data": data}
                return _encode(event), (("content-type", CLOUD_EVENT),)
            case Format.CLOUD_EVENTS_BINARY:
                headers = tuple((f"ce-{name}", _header_value(value)) for name, value in attributes.items())
                return _encode(data), (("content-type", JSON), *headers)
            case Format.STANDARD_WEBHOOKS:
                event = {"type": attributes["type"], "timestamp": attributes["time"], "data": data}
                return _encode(event), (("content-type", JSON),)
            case Format.RAW:
                return _encode(data), (("content-type", JSON),)

    def _attributes(self, change: Change, kind: str, sequence: int) -> dict[str, str]:
        metadata = change.object["metadata"]
        return {
            "specversion": "1.0",
            "id": webhook_id(self._subscription, change),
            "source": self._prefix + change.scope.resource.path(metadata.get("namespace", "")),
            "type": kind,
            "subject": metadata["name"],
            "time": rfc3339(change.observed),
            "sequence": str(sequence),
        }


def rfc3339(seconds: float) -> str:
    """Unix seconds as ``2026-01-31T12:00:00.123Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _default_type(change: Change) -> str:
    """``dev.hookline.<group>.<kind>.<operation>`` in lower case; a hyphen, not allowed in a type, becomes ``_``."""
    group = change.scope.resource.group or "core"
    return f"dev.hookline.{group}.{change.scope.resource.kind}.{change.operation.value}".lower().replace("-", "_")


def _header_value(value: str) -> str:
    """Percent-encode what the CloudEvents HTTP binding (3.1.3.2) does not let into a header as it is."""
    return urllib.parse.quote(value, safe="!#$&'()*+,/:;<=>?@[\\]^_`{|}~")


def _encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, RecursionError) as error:
        raise RenderError("not_encodable", f"the payload can't be written as JSON: {str(error)[:200]}") from None
