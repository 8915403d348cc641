"""Claims about the ids of traces, about what tracing costs when it is off, and about the queue to the exporter."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from functools import partial

import pytest

from hookline.errors import SettingsError
from hookline.model import Attempt, Claimed, Message, Outcome, SigningKeys, Target, Verdict
from hookline.observe.tracing import attempt_id, make_tracer, trace_ids, traceparent
from hookline.observe.tracing_queue import Limits, SendQueue
from hookline.spec import RetryPolicy
from support.cluster import eventually
from support.collector import Collector

LOADED = "import sys; print(*sorted(name for name in sys.modules if name.startswith(('opentelemetry', 'google.'))))"
APP = "from hookline.app import App; from hookline.settings import Settings; App(Settings(tracing={}));"


def make(**environ):
    counts = {}
    tracer = make_tracer(wanted=True, cluster="", environ=environ, counted=lambda what, n: counts.update({what: n}))
    return tracer, counts


def message(ident="msg_1"):
    return Message(ident, "uid", 1, "object", "type", (), b"{}", 100.0)


def test_a_trace_is_a_function_of_the_id_and_each_attempt_has_another_span():
    trace, root = trace_ids("msg_a")
    assert (trace, root) == trace_ids("msg_a") != trace_ids("msg_b")
    # What docs/tracing.md tells people to compute: printf 'trace %s' msg_a | sha256sum | cut -c1-32
    assert f"{trace:032x}" == "60af620a24326ade5960e08daa2bf4e8"
    spans = {root, *(attempt_id("msg_a", 1.0 + number / 1e6) for number in range(1000)), attempt_id("msg_b", 1.0)}
    assert len(spans) == 1002
    assert all(0 < span < 2**64 for span in spans)


@pytest.mark.parametrize(("sampled", "flags"), [(True, "01"), (False, "00")])
def test_traceparent_is_as_the_recommendation_has_it(sampled, flags):
    value = traceparent(1, 2, sampled=sampled)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", value)
    assert value == f"00-{'0' * 31}1-{'0' * 15}2-{flags}"


@pytest.mark.parametrize(("switch", "loads"), [("False", False), ("True", True)])
def test_opentelemetry_is_imported_only_when_tracing_is_on(switch, loads):
    done = subprocess.run(
        [sys.executable, "-c", APP.format(switch) + LOADED], capture_output=True, text=True, check=True
    )
    assert ("opentelemetry.sdk.trace" in done.stdout.split()) is loads
    assert bool(done.stdout.split()) is loads


def test_without_the_packages_the_start_is_refused_with_what_to_install():
    hide = "import sys; sys.modules['opentelemetry'] = None; from hookline.cli.main import main; "
    command = [sys.executable, "-c", hide + "sys.exit(main(['run', '--tracing']))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "hookline run: tracing: OpenTelemetry is not installed: pip install 'hookline[otel]'"
    )


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "many"},
        {"OTEL_BSP_SCHEDULE_DELAY": "0"},
    ],
)
def test_variables_that_ask_for_what_is_not_there_are_refused_by_name(environ):
    (name,) = environ
    with pytest.raises(SettingsError, match=name):
        make(**environ)


def test_what_switches_it_off():
    assert make(OTEL_SDK_DISABLED="TRUE")[0] is None
    assert make_tracer(wanted=False, cluster="", environ={}, counted=print) is None
    tracer, _ = make(OTEL_PROPAGATORS="none")
    assert tracer.headers(message(), 1.0) == ()
    tracer.close(1.0)
    tracer, _ = make()
    ((name, _),) = tracer.headers(message(), 1.0)
    assert name == "traceparent"
    tracer.close(1.0)


def test_a_ratio_samples_whole_traces(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    tracer, _ = make()
    values = [[tracer.headers(message(f"msg_{n}"), at)[0][1] for at in (1.0, 2.0)] for n in range(1000)]
    sampled = [first.endswith("-01") for first, _ in values]
    assert [second.endswith("-01") for _, second in values] == sampled
    assert 150 < sum(sampled) < 350
    tracer.close(1.0)


@pytest.mark.parametrize(("sampler", "count"), [("always_off", 0), ("always_on", 2)])
def test_what_is_not_sampled_is_sent_on_as_such_and_not_exported(monkeypatch, sampler, count):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracer, _ = make()
        assert tracer.headers(message(), 1.0)[0][1].endswith("-01" if count else "-00")
        tracer.stored(message(), "shop/orders")
        verdict = Verdict(Outcome.DELIVERED, "Delivered", 200)
        tracer.attempted(Attempt(Claimed(1, message(), 0, 100.0), verdict, 101.0, 2.0), "shop/orders", None)
        tracer.close(5.0)
        assert len(collector.spans) == count


def test_a_span_holds_the_host_but_neither_path_nor_query_nor_credentials(monkeypatch):
    url = "https://user:s3cret@hooks.example.com:8443/s3cret?s3cret=s3cret"
    retry = RetryPolicy((1.0,), 60.0)
    target = Target("uid", "shop", "orders", url, (("x", "s3cret"),), SigningKeys((), ()), (), 5.0, retry, 1)
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracer, counts = make(OTEL_BSP_SCHEDULE_DELAY="1")
        verdict = Verdict(Outcome.RETRY, "Timeout", retry_at=5.0)
        tracer.attempted(Attempt(Claimed(1, message(), 0, 100.0), verdict, 101.0, 2.0), "shop/orders", target)
        eventually(lambda: counts.get("exported"), "it is exported")
        tracer.close(5.0)
        (span,) = collector.spans
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("hooks.example.com", 8443)
    assert (span.attributes["error.type"], span.failed) == ("Timeout", True)
    assert "http.response.status_code" not in span.attributes
    assert (span.start, span.end) == (101 * 10**9, 103 * 10**9)
    assert b"s3cret" not in collector.raw[0]
    assert b"hooks.example.com" in collector.raw[0], "the control"


class Sending:
    """A ``send`` that waits for ``go``."""

    def __init__(self):
        self.go, self.begun = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []
        self.counts: dict[str, int] = {}
        self.problem = ""

    def __call__(self, batch):
        self.begun.set()
        self.go.wait(30)
        self.batches.append(list(batch))
        if self.problem == "raise":
            raise RuntimeError(self.problem)
        return self.problem

    def counted(self, what, number):
        self.counts[what] = self.counts.get(what, 0) + number

    def has_failed(self, times: int) -> bool:
        return self.counts.get("export_failed") == times


def test_a_full_queue_drops_and_counts_and_never_waits():
    sending = Sending()
    queue = SendQueue(sending, sending.counted, Limits(queue=10, batch=5, delay=0.001))
    for number in range(5):
        queue.put(number)
    assert sending.begun.wait(30)
    waiting = len(queue._items)
    for number in range(100):  # the thread hangs all the while: were it waited for, this would never end
        queue.put(5 + number)
    assert sending.counts == {"queue_full": 100 - (10 - waiting)}
    sending.go.set()
    queue.close(30)
    assert sum(map(len, sending.batches)) == sending.counts["exported"] == 105 - sending.counts["queue_full"]
    assert all(len(batch) <= 5 for batch in sending.batches)
    sent = [number for batch in sending.batches for number in batch]
    assert sent == sorted(sent)


@pytest.mark.parametrize("problem", ["HTTP503", "raise"])
def test_a_failing_export_is_counted_said_once_and_does_not_end_the_thread(caplog, problem):
    caplog.set_level("INFO")
    sending = Sending()
    sending.go.set()
    sending.problem = problem
    queue = SendQueue(sending, sending.counted, Limits(queue=10, batch=1, delay=0.001))
    for number in range(3):
        queue.put(number)
        eventually(partial(sending.has_failed, number + 1), "it fails")
    sending.problem = ""
    queue.put(3)
    queue.close(30)
    assert sending.counts == {"export_failed": 3, "exported": 1}
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.records[0].reason == ("HTTP503" if problem == "HTTP503" else "RuntimeError")


def test_what_waits_at_the_end_is_sent_and_a_hanging_collector_is_not_waited_for():
    sending = Sending()
    queue = SendQueue(sending, sending.counted, Limits(delay=3600.0))
    queue.put(1)
    queue.close(0.01)  # returns, though ``send`` hangs
    assert sending.batches == []
    sending.go.set()
    queue._thread.join(30)
    assert sending.batches == [[1]]
