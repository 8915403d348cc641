"""Claims about traces, with the whole operator as a process and a real collector; see also docs/tracing.md."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from hookline.observe.tracing import trace_ids
from support.cluster import eventually
from support.collector import Collector

PRODUCER, CLIENT = 4, 3
SECRET_PATH = "/s3cr3t-path"


@pytest.fixture
def collector(monkeypatch):
    """A collector, and an environment that names it."""
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield running


def loads_protobuf(operator) -> bool:
    """Whether the process has the library of protobuf in its memory, which only OpenTelemetry needs here."""
    return "_upb" in Path(f"/proc/{operator.process.pid}/maps").read_text()


def test_a_change_its_attempts_and_the_receiver_share_a_trace_also_after_a_crash(
    make_operator, subscriptions, receiver, config_map, collector, namespace
):
    operator = make_operator("--tracing", "--cluster-name", "test").start()
    assert loads_protobuf(operator)
    receiver.do(lambda live: live.answer(503))
    url = {"url": receiver.url(SECRET_PATH)}
    subscriptions.ready(destination=url, delivery={"retry": {"schedule": [1] * 30}})
    config_map("web", a="1")
    eventually(lambda: len(collector.spans) >= 2, "the change and the first attempt are told")
    operator.kill()
    seen = len(receiver.requests)
    receiver.do(lambda live: live.answer(200))
    operator.start()
    eventually(lambda: any(not span.failed for span in collector.spans if span.kind == CLIENT), "the last attempt")
    assert len({request.id for request in receiver.requests}) == 1
    first, last = receiver.requests[0], receiver.requests[-1]
    assert len(receiver.requests) > seen, "the control: it was sent on both sides of the crash"
    trace, root = trace_ids(first.id)
    change, *attempts = collector.of(f"{trace:032x}")
    assert len(collector.of(f"{trace:032x}")) == len(collector.spans), "one trace"
    assert (change.kind, change.name, change.id, change.parent) == (PRODUCER, "create", f"{root:016x}", "")
    assert {span.parent for span in attempts} == {change.id}
    assert {(span.kind, span.name) for span in attempts} == {(CLIENT, "POST")}
    assert change.end <= min(span.start for span in attempts)
    sent = [request.headers["traceparent"].split("-") for request in receiver.requests]
    assert {(version, of, flags) for version, of, _, flags in sent} == {("00", change.trace, "01")}
    # What was recorded was sent under the same id; a crash may lose the last record before it.
    assert {span.id for span in attempts} <= {span for _, _, span, _ in sent}
    assert len({span for _, _, span, _ in sent}) == len(sent), "each attempt is a span of its own"
    ended = next(span for span in attempts if not span.failed)
    host = {"server.address": "localhost", "server.port": int(receiver.url().rpartition(":")[2].rstrip("/"))}
    subscription = {"messaging.destination.name": f"{namespace}/orders", "messaging.message.id": last.id}
    answer = {"http.request.method": "POST", "http.response.status_code": 200, "hookline.outcome": "delivered"}
    assert ended.attributes.items() >= (host | subscription | answer).items()
    assert ended.attributes["http.request.resend_count"] >= 1
    failed = next(span for span in attempts if span.failed)
    assert failed.attributes["error.type"] == "503"
    assert "http.request.resend_count" not in attempts[0].attributes
    named = {"service.name": "hookline", "k8s.cluster.name": "test"}
    assert {name: value for name, value in ended.resource.items() if name in named} == named
    assert set(collector.paths) == {"/v1/traces"}
    assert not any(SECRET_PATH.encode() in body for body in collector.raw)
    assert any(f"{namespace}/orders".encode() in body for body in collector.raw), "the control: names are found"
    assert operator.stop() == 0


def test_without_the_switch_nothing_is_sent_on_and_nothing_is_loaded(
    make_operator, subscriptions, receiver, config_map, collector
):
    operator = make_operator().start()
    subscriptions.ready()
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "it is delivered")
    assert "traceparent" not in receiver.requests[0].headers
    assert not loads_protobuf(operator), "the control is above: with the switch it is"
    assert operator.stop() == 0
    assert collector.raw == []


@pytest.mark.parametrize("trouble", ["refusing", "hanging", "failing"])
def test_a_collector_in_trouble_holds_nothing_up_and_what_it_misses_is_counted(
    make_operator, subscriptions, receiver, config_map, collector, monkeypatch, trouble
):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    if trouble == "hanging":
        collector.hold.clear()
    elif trouble == "failing":
        collector.status = 400
    else:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    operator = make_operator("--tracing").start()
    subscriptions.ready()
    for number in range(6):
        config_map(f"web-{number}", a="1")
    eventually(lambda: len(receiver.requests) >= 6, "all are delivered")

    def spans(result: str) -> Any:
        return operator.metric(f'hookline_trace_spans_total{{result="{result}"}}')

    lost = "queue_full" if trouble == "hanging" else "export_failed"
    eventually(lambda: spans(lost) > 0, "what was lost is counted")
    assert spans("exported") == 0
    if trouble == "failing":  # the control: as soon as it works again, spans arrive
        collector.status = 200
        config_map("web-again", a="1")
        eventually(lambda: spans("exported") > 0, "spans are exported")
    assert operator.stop() == 0
    log = operator.log.read_text()
    assert ("traces can't be exported" in log) is (trouble != "hanging")
    assert ("traces are exported again" in log) is (trouble == "failing")
    assert ('"reason": "HTTP400"' in log) is (trouble == "failing")
    assert "127.0.0.1" not in log.replace('"127.0.0.1"', "")
    assert "/v1/traces" not in log
