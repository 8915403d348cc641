"""The demo: a real change of a real object in a real API server arrives as a signed request that is verified.

Brings up a control plane (or uses the cluster of KUBECONFIG), a TLS receiver and the operator, changes a Deployment,
shows what came, and takes everything down again. ``--keep`` leaves it running until Ctrl-C.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "hack"))

from controlplane import ControlPlane, ControlPlaneError  # noqa: E402 (needs the path above)
from demo.receiver import Delivery, Receiver  # noqa: E402

HERE = Path(__file__).parent
NAMESPACE = "hookline-demo"
PATIENCE = 60.0
SHOWN_METRICS = (
    "hookline_changes_received_total",
    "hookline_events_matched_total",
    'hookline_delivery_attempts_total{outcome="delivered"}',
    'hookline_outbox_messages{state="pending"}',
    "hookline_delivery_latency_seconds_sum",
    "hookline_delivery_latency_seconds_count",
)


class DemoError(Exception):
    """The demo can't go on; the message says why."""


class Demo:
    """The steps. ``kubectl`` is a command line that reaches the cluster."""

    def __init__(self, kubeconfig: str, kubectl: str, scratch: Path) -> None:
        self.kubeconfig = kubeconfig
        self.program = kubectl
        self.scratch = scratch
        self.receiver = Receiver()
        self.started = time.monotonic()
        self.operator: subprocess.Popen[bytes] | None = None
        self.port = 0

    def say(self, text: str) -> None:
        """One step, with the time since the start."""
        print(f"\n\033[1m[{time.monotonic() - self.started:5.1f} s] {text}\033[0m" if sys.stdout.isatty() else
              f"\n[{time.monotonic() - self.started:5.1f} s] {text}", flush=True)  # fmt: skip

    def kubectl(self, *arguments: str, stdin: str | None = None, shown: bool = True) -> str:
        """Run kubectl in the demo's namespace, and show the command and what it prints."""
        command = [self.program, "--kubeconfig", self.kubeconfig, "-n", NAMESPACE, *arguments]
        if shown:
            print("$ kubectl", *arguments, flush=True)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"kubectl {arguments[0]}: {done.stderr.strip()}")
        if shown and done.stdout:
            print(done.stdout.rstrip(), flush=True)
        return done.stdout

    def prepare(self) -> None:
        """Install the CRD, start the operator, apply the subscription, wait until it is ready."""
        self.say("the CRDs, the policy about ServiceAccounts, and a namespace")
        self.kubectl("apply", "-f", str(ROOT / "crds"))
        for kind in ("webhooksubscriptions", "webhookreplays"):
            self.kubectl("wait", "--for=condition=Established", f"crd/{kind}.hookline.dev", shown=False)
        self.kubectl("create", "namespace", NAMESPACE)
        self.say("the operator")
        self._start_operator()
        self.say("a ServiceAccount that may watch Deployments here: a subscription sees what its ServiceAccount may")
        print((HERE / "rights.yaml").read_text().rstrip())
        self.kubectl("apply", "-f", str(HERE / "rights.yaml"))
        self.say("a subscription to the size of one Deployment")
        manifest = (HERE / "subscription.yaml").read_text().replace("$URL", self.receiver.url)
        print(manifest.rstrip())
        self.kubectl("apply", "-f", "-", stdin=manifest)
        self.kubectl("wait", "--for=condition=Ready", "whsub/orders-scaled", f"--timeout={PATIENCE:.0f}s")
        self._trust()

    def _start_operator(self) -> None:
        ca = self.scratch / "receiver-ca.pem"
        ca.write_bytes(self.receiver.ca_pem)
        log = (self.scratch / "operator.log").open("wb")
        flags = {
            "--kubeconfig": self.kubeconfig,
            "--data-dir": str(self.scratch / "data"),
            "--listen-host": "127.0.0.1",
            "--listen-port": "0",
            "--api-port": "0",
            "--ca-bundle": str(ca),
            "--allow-host": "localhost",
            "--namespace": NAMESPACE,
        }
        words = [word for pair in flags.items() for word in pair]
        print("$ hookline run", " ".join(words))
        self.operator = subprocess.Popen([sys.executable, "-m", "hookline", "run", *words], stderr=log)
        until = time.monotonic() + PATIENCE
        while not self.port:
            if self.operator.poll() is not None or time.monotonic() > until:
                raise DemoError(f"the operator did not start:\n{(self.scratch / 'operator.log').read_text()}")
            for line in (self.scratch / "operator.log").read_text().splitlines():
                with contextlib.suppress(ValueError):
                    self.port = json.loads(line).get("port", self.port)
            time.sleep(0.05)

    def _trust(self) -> None:
        """Give the receiver what its owner would copy: the keys of the signing Secret."""
        raw = self.kubectl("get", "secret", "orders-scaled-signing", "-o", "json", shown=False)
        data = json.loads(raw)["data"]
        self.receiver.trust([base64.b64decode(data[name]).decode() for name in ("v1", "v1a.pub")])

    def change(self) -> None:
        """Change the Deployment and show each request that it causes."""
        self.say("create the Deployment")
        self.kubectl("apply", "-f", str(HERE / "deployment.yaml"))
        self._show("Created")
        self.say("label it: the filter lets only changes of spec.replicas through, so nothing is sent")
        self.kubectl("label", "deployment/orders", "team=shop")
        self.say("scale it")
        self.kubectl("scale", "deployment/orders", "--replicas=3")
        self._show("Updated")
        self.say("delete it")
        self.kubectl("delete", "deployment/orders", "--wait=false")
        self._show("Deleted")

    def _show(self, operation: str) -> None:
        try:
            delivery: Delivery = self.receiver.deliveries.get(timeout=PATIENCE)
        except queue.Empty:
            log = (self.scratch / "operator.log").read_text()
            raise DemoError(f"no request came within {PATIENCE:.0f} s; the operator's log:\n{log}") from None
        print("\n  " + delivery.line)
        for name, value in delivery.headers:
            print(f"  {name}: {value}")
        body = json.loads(delivery.body)
        print("\n" + "\n".join("  " + line for line in json.dumps(body, indent=2).splitlines()))
        print(f"\n  ==> {delivery.verdict}", flush=True)
        if not delivery.verified or body["data"]["operation"] != operation:
            raise DemoError(f"this is not the verified {operation} that was expected")

    def conclude(self) -> None:
        """Show the subscription and the metrics."""
        self.say("the subscription, as kubectl shows it")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            status = json.loads(self.kubectl("get", "whsub/orders-scaled", "-o", "json", shown=False))["status"]
            if status.get("lastDelivery") and not status.get("pending"):
                break
            time.sleep(0.2)
        self.kubectl("get", "whsub")
        self.say(f"some metrics of http://127.0.0.1:{self.port}/metrics")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(SHOWN_METRICS):
                    print(line)

    def clean(self) -> None:
        """Stop the operator and remove what was put into the cluster (all but the CRD, which may be in use)."""
        if self.operator is not None and self.operator.poll() is None:
            self.operator.terminate()
            self.operator.wait(timeout=30)
        with contextlib.suppress(DemoError):
            self.kubectl("delete", "namespace", NAMESPACE, "--wait=false", shown=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args(arguments).keep
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-demo-")))
        kubeconfig, kubectl = os.environ.get("KUBECONFIG", ""), "kubectl"
        if not kubeconfig:
            print("starting etcd, kube-apiserver and kube-controller-manager", flush=True)
            plane = stack.enter_context(ControlPlane())
            kubeconfig, kubectl = str(plane.kubeconfig), str(plane.programs["kubectl"])
        demo = Demo(kubeconfig, kubectl, scratch)
        stack.callback(demo.clean)
        demo.prepare()
        demo.change()
        demo.conclude()
        demo.say("done: three changes, three signed requests, all verified")
        if keep:
            print(f"\nkept running. In another terminal:\n  export KUBECONFIG={kubeconfig}")
            print(f"  {kubectl} -n {NAMESPACE} get whsub\nCtrl-C ends it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (DemoError, ControlPlaneError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
