"""Spans by OpenTelemetry, sent by OTLP over HTTP. Imported only when tracing is on.

In: stored messages and recorded attempts. Out: spans for the collector that the standard variables name
(docs/tracing.md). The event loop only notes facts; a thread makes spans of them, encodes and sends them.

Names of attributes: https://opentelemetry.io/docs/specs/semconv/ (http, messaging, cloudevents). ``url.full``, which
the convention for HTTP clients asks for, is never there: URLs of webhooks are secrets.
"""

from __future__ import annotations

import logging
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from hookline import __version__
from hookline.errors import SettingsError
from hookline.model import Attempt, Message, Outcome, Target
from hookline.observe.tracing import HEADER, Counted, Headers, attempt_id, trace_ids, traceparent
from hookline.observe.tracing_queue import Limits, SendQueue

Attributes = dict[str, str | int]
OTEL_LOGGER = "opentelemetry"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("hookline", __version__)
_PROTOCOL = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


@dataclass(frozen=True, slots=True)
class Fact:
    """One span to be: ``span`` 0 is the change's own. Times are Unix seconds. Holds no body and no URL."""

    webhook_id: str
    trace: int
    root: int
    span: int
    began: float
    ended: float
    attributes: Attributes
    failure: str = ""


class OtlpTracer:
    """A ``Tracer``. ``environ`` are the variables of OpenTelemetry; ``cluster`` names this cluster.

    Sampling is by trace id, so that it is the same for all of a message's spans, also after a restart.
    """

    def __init__(self, cluster: str, environ: Mapping[str, str], counted: Counted) -> None:
        protocol = next((environ[name] for name in _PROTOCOL if environ.get(name)), "http/protobuf")
        if protocol != "http/protobuf":
            raise SettingsError(f"{_PROTOCOL[1]}: only http/protobuf is spoken, not {protocol[:32]!r}")
        # It logs URLs, addresses, answers' bodies, and malformed headers with their credentials.
        otel = logging.getLogger(OTEL_LOGGER)
        otel.propagate = False
        self._last = _LastStatus()
        otel.handlers[:] = [self._last]
        self._resource = _resource(cluster)
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        self._sends = "tracecontext" in environ.get("OTEL_PROPAGATORS", "tracecontext")
        self._exporter = OTLPSpanExporter()
        self._queue = SendQueue(self._export, counted, _limits(environ))

    def headers(self, message: Message, started: float) -> Headers:
        """``traceparent``, with the attempt's span as the parent; nothing where OTEL_PROPAGATORS leaves it out."""
        if not self._sends:
            return ()
        trace, _ = trace_ids(message.id)
        span = attempt_id(message.id, started)
        return ((HEADER, traceparent(trace, span, sampled=self._samples(trace))),)

    def stored(self, message: Message, subscription: str | None) -> None:
        """The change's span: from when the change was received to when its message was durable."""
        trace, root = trace_ids(message.id)
        if self._samples(trace):
            about = _about(message, subscription)
            self._queue.put(Fact(message.id, trace, root, 0, message.observed, time.time(), about))

    def attempted(self, attempt: Attempt, subscription: str | None, target: Target | None) -> None:
        """The span of an attempt, with its verdict."""
        message, verdict = attempt.claimed.message, attempt.verdict
        trace, root = trace_ids(message.id)
        if not self._samples(trace):
            return
        attributes = {**_about(message, subscription), "http.request.method": "POST"}
        if target is not None:
            attributes |= _server(target.url)
        if attempt.claimed.attempts:
            attributes["http.request.resend_count"] = attempt.claimed.attempts
        if verdict.status_code is not None:
            attributes["http.response.status_code"] = verdict.status_code
        attributes |= {"hookline.outcome": verdict.outcome.value, "hookline.reason": verdict.reason}
        failure = ""
        if verdict.outcome is not Outcome.DELIVERED:
            failure = verdict.reason
            attributes["error.type"] = str(verdict.status_code or verdict.reason)
        span, ended = attempt_id(message.id, attempt.started), attempt.started + attempt.duration
        self._queue.put(Fact(message.id, trace, root, span, attempt.started, ended, attributes, failure))

    def close(self, seconds: float) -> None:
        """Export what waits; a collector that does not answer is not waited for longer than that."""
        self._queue.close(seconds)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _samples(self, trace: int) -> bool:
        return self._sampler.should_sample(None, trace, "").decision is Decision.RECORD_AND_SAMPLE

    def _export(self, facts: Sequence[Fact]) -> str:
        self._last.code = 0
        done = self._exporter.export([self._span(fact) for fact in facts])
        if done is SpanExportResult.SUCCESS:
            return ""
        return f"HTTP{self._last.code}" if self._last.code else "Unreachable"

    def _span(self, fact: Fact) -> ReadableSpan:
        root = SpanContext(fact.trace, fact.root, is_remote=False, trace_flags=_SAMPLED)
        common = {"messaging.system": "hookline", "messaging.message.id": fact.webhook_id}
        if not fact.span:
            name, kind, context, parent = "create", SpanKind.PRODUCER, root, None
            operation = {"messaging.operation.name": "create", "messaging.operation.type": "create"}
        else:
            name, kind, parent = "POST", SpanKind.CLIENT, root
            context = SpanContext(fact.trace, fact.span, is_remote=False, trace_flags=_SAMPLED)
            operation = {"messaging.operation.name": "deliver", "messaging.operation.type": "send"}
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            {**common, **operation, "cloudevents.event_id": fact.webhook_id, **fact.attributes},
            kind=kind,
            status=Status(StatusCode.ERROR, fact.failure) if fact.failure else Status(StatusCode.UNSET),
            start_time=int(fact.began * 1e9),
            end_time=int(max(fact.ended, fact.began) * 1e9),
            instrumentation_scope=_SCOPE,
        )


def _resource(cluster: str) -> Resource:
    """Who we are; what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say counts first."""
    ours = {"service.version": __version__, **({"k8s.cluster.name": cluster} if cluster else {})}
    theirs = Resource.create({})
    if str(theirs.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        theirs = theirs.merge(Resource({"service.name": "hookline"}))
    return Resource(ours).merge(theirs)


class _LastStatus(logging.Handler):
    """Keeps, of what the exporter logs, only the HTTP status, which it tells nobody else."""

    code = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Look for a status among the arguments."""
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, int) and 100 <= argument < 600:
                self.code = argument


def _about(message: Message, subscription: str | None) -> Attributes:
    about: Attributes = {"cloudevents.event_type": message.event_type, "messaging.message.body.size": len(message.body)}
    if subscription is not None:
        about["messaging.destination.name"] = subscription
    return about


@lru_cache(maxsize=1024)
def _server(url: str) -> Attributes:
    parts = urllib.parse.urlsplit(url)
    return {
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        "url.scheme": parts.scheme,
    }


def _limits(environ: Mapping[str, str]) -> Limits:
    """As the batch processor of OpenTelemetry reads them. Raises SettingsError."""
    usual = Limits()

    def number(name: str, default: int) -> int:
        text = environ.get(name) or str(default)
        if not (text.isdecimal() and 0 < int(text) <= 1_000_000):
            raise SettingsError(f"{name}: must be a whole number from 1 to 1000000")
        return int(text)

    queue = number("OTEL_BSP_MAX_QUEUE_SIZE", usual.queue)
    batch = min(number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.batch), queue)
    return Limits(queue, batch, number("OTEL_BSP_SCHEDULE_DELAY", int(usual.delay * 1000)) / 1000)
