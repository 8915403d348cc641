"""The ground that scenarios stand on: API server, sink, operators and load, and the waiting for them.

In: a started control plane. Out: a namespace, an operator or a load in one call. Each scenario takes a namespace and an
operator of its own, so that none sees the objects of another.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Self

from bench import tool
from bench.errors import BenchError
from bench.process import Snapshot, snapshot
from bench.screen import Screen
from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, running
from support.rights import EVERYBODY_SEES_EVERYTHING

CALLERS = 16  # of the load: enough to keep the API server busy
_CRDS = Path(__file__).resolve().parents[2] / "crds"
_STALL_SECONDS = 60.0
_POLL_SECONDS = 0.1
_LOAD_SECONDS = 900.0
_CALM_SECONDS = 1.0
_CALM_SHARE = 0.1  # of a core; what is polled for a thousand subscriptions takes less
# The tests' operator logs and polls more than a real one; these are the defaults of ``hookline run`` again.
_DEFAULTS = (
    *("--log-level", "info", "--secret-poll-seconds", "10"),
    *("--resolve-retry-seconds", "5", "--status-interval-seconds", "2"),
)

Spec = Mapping[str, Any]


class Ground:
    """A context manager; what it starts ends with it."""

    def __init__(self, plane: ControlPlane, scratch: Path, screen: Screen) -> None:
        self.screen = screen
        self._plane = plane
        self._scratch = scratch
        self._kubectl = Kubectl(plane)
        self._numbers = count(1)
        self._program = tool.provide(screen)
        self.sink = tool.Sink(self._program, scratch)

    def __enter__(self) -> Self:
        files = [f"--filename={path}" for path in sorted(_CRDS.glob("*.yaml"))]
        names = self._kubectl("apply", "--server-side", *files, "-o", "name").split()
        kinds = [name for name in names if name.startswith("customresourcedefinition")]
        self._kubectl("wait", "--for=condition=Established", "--timeout=30s", *kinds)
        self._kubectl.apply(*EVERYBODY_SEES_EVERYTHING)
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.__exit__()

    def namespace(self) -> str:
        """A new namespace."""
        name = f"bench-{next(self._numbers)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self._plane.request("POST", "/api/v1/namespaces", body)
        return name

    @contextlib.contextmanager
    def operator(self, namespace: str) -> Iterator[LiveOperator]:
        """An operator with an empty outbox that serves this namespace, as its defaults are."""
        home = self._scratch / f"operator-{next(self._numbers)}"
        flags = ("--namespace", namespace, *_DEFAULTS)
        with running(LiveOperator(self._plane.kubeconfig, home, self.sink.ca.read_text(), *flags)) as operator:
            yield operator

    def subscribe(self, namespace: str, specs: Mapping[str, Spec], *, ready: LiveOperator | None) -> None:
        """Apply subscriptions by name: every change of a ConfigMap to the sink, unless a spec says otherwise.

        With ``ready`` it waits until this operator has that many ready ones.
        """
        plain = {
            "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "destination": {"url": f"{self.sink.url}/hooks"},
        }
        objects = [
            {
                "apiVersion": "hookline.dev/v1alpha1",
                "kind": "WebhookSubscription",
                "metadata": {"name": name},
                "spec": {**plain, **spec},
            }
            for name, spec in specs.items()
        ]
        for start in range(0, len(objects), 100):
            self.screen.progress(f"applying subscriptions: {start:,} of {len(objects):,}")
            self._kubectl.apply(*objects[start : start + 100], namespace=namespace)
        if ready is not None:
            self._await_ready(ready, len(objects))

    def _await_ready(self, operator: LiveOperator, wanted: int) -> None:
        last, changed = -1.0, time.monotonic()
        while (now := operator.metric('hookline_subscriptions{state="ready"}')) < wanted:
            self.screen.progress(f"subscriptions ready: {now:,.0f} of {wanted:,}")
            if now != last:
                last, changed = now, time.monotonic()
            elif time.monotonic() - changed > 4 * _STALL_SECONDS:  # a first list of 100,000 objects comes before it
                raise BenchError(f"only {now:.0f} of {wanted} subscriptions are ready; the log:\n{_tail(operator)}")
            time.sleep(2 * _POLL_SECONDS)

    def await_calm(self, operator: LiveOperator) -> None:
        """Wait until the operator has next to nothing to do: a thousand new subscriptions take it a while."""
        deadline = time.monotonic() + _STALL_SECONDS
        before = self.snapshot(operator)
        while time.monotonic() < deadline:
            time.sleep(_CALM_SECONDS)
            after = self.snapshot(operator)
            if after.since(before).cpu["operator"] < _CALM_SHARE * _CALM_SECONDS:
                return
            before = after
            self.screen.progress("waiting until the operator is calm")

    def suspend(self, namespace: str, name: str, *, suspended: bool) -> None:
        """Stop or resume the sending of one subscription."""
        patch = f'{{"spec":{{"suspend":{str(suspended).lower()}}}}}'
        self._kubectl("patch", "whsub", name, "-n", namespace, "--type=merge", "-p", patch)
        if suspended:
            what = "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Suspended"
            self._kubectl("wait", f"whsub/{name}", "-n", namespace, what, "--timeout=30s")

    def load(self, namespace: str, n: int, *, rate: float = 0, watch: bool = False, what: str = "created") -> Any:
        """Create ``n`` ConfigMaps; ``rate`` per second, 0: as fast as it goes. Returns what ``hack/bench`` says."""
        flags = {
            "-kubeconfig": self._plane.kubeconfig,
            "-namespace": namespace,
            "-prefix": f"load-{next(self._numbers)}",
            "-n": n,
            "-c": CALLERS,
            "-rate": rate,
        }
        command = [str(self._program), "load", *(str(word) for pair in flags.items() for word in pair)]
        if watch:
            command.append("-watch")
        return tool.run(command, lambda done: self.screen.progress(f"{what}: {done:,} of {n:,}"), _LOAD_SECONDS)

    def bare_sender(self, n: int, callers: int) -> float:
        """Requests per second that the sink takes from a sender with nothing else to do, ``callers`` at once."""
        flags = {"-url": self.sink.url, "-ca": self.sink.ca, "-n": n, "-c": callers}
        command = [str(self._program), "post", *(str(word) for pair in flags.items() for word in pair)]
        result = tool.run(command, lambda done: self.screen.progress(f"bare sender: {done:,} of {n:,}"), _LOAD_SECONDS)
        rate: float = n / result["seconds"]
        return rate

    def await_arrivals(self, n: int, operator: LiveOperator) -> dict[str, Any]:
        """Wait until the sink has ``n`` different messages; returns its statistics."""
        last, changed = -1, time.monotonic()
        while (now := self.sink.count()) < n:
            self.screen.progress(f"arrived: {now:,} of {n:,}")
            if now != last:
                last, changed = now, time.monotonic()
            elif time.monotonic() - changed > _STALL_SECONDS:
                raise BenchError(f"{now} of {n} messages arrived, then none any more; the log:\n{_tail(operator)}")
            time.sleep(_POLL_SECONDS)
        stats = self.sink.stats()
        if stats["distinct"] != n or stats["unsigned"]:
            raise BenchError(f"{n} signed messages were expected, the sink has {stats}")
        return stats

    def await_pending(self, n: int, operator: LiveOperator) -> None:
        """Wait until the outbox holds ``n`` messages that are not sent."""
        pending = 'hookline_outbox_messages{state="pending"}'
        eventually(lambda: operator.metric(pending) >= n, f"{n} messages are in the outbox", _STALL_SECONDS)

    def snapshot(self, operator: LiveOperator | None = None) -> Snapshot:
        """What everything of ours that shares the cores has used so far."""
        pids = {**self._plane.pids, "sink": self.sink.pid}
        return snapshot(pids if operator is None else {**pids, "operator": pid_of(operator)})


def pid_of(operator: LiveOperator) -> int:
    """The process id of a running operator."""
    if operator.process is None:
        raise BenchError("the operator is not running")
    return operator.process.pid


def _tail(operator: LiveOperator) -> str:
    return operator.log.read_text()[-3000:]
