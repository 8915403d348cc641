"""What tests against a real API server share: kubectl, and waiting for something to become true.

In: a started ``ControlPlane``. Out: answers, or failures that show what kubectl said.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from controlplane import ControlPlane

_Answer = TypeVar("_Answer")
_POLL_SECONDS = 0.05
_KUBECTL_SECONDS = 120


class KubectlError(AssertionError):
    """kubectl failed; the message is its command line and its stderr."""


class Kubectl:
    """Calls kubectl against ``plane``, as the user of ``kubeconfig``, by default as its administrator."""

    def __init__(self, plane: ControlPlane, kubeconfig: Path | None = None) -> None:
        self._plane = plane
        self.kubeconfig = kubeconfig or plane.kubeconfig

    def __call__(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002  (subprocess calls it so, too)
        """Run ``kubectl ARGUMENTS…`` with ``input`` on stdin; returns stdout. Raises KubectlError when it fails."""
        command = self._plane.kubectl_command(*arguments, kubeconfig=self.kubeconfig)
        done = subprocess.run(
            command, input=input or "", capture_output=True, text=True, check=False, timeout=_KUBECTL_SECONDS
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def json(self, *arguments: str, input: str | None = None) -> Any:  # noqa: A002
        """Like a call, with ``-o json`` added and the answer parsed."""
        return json.loads(self(*arguments, "-o", "json", input=input))

    def apply(self, *objects: dict[str, Any], namespace: str | None = None) -> None:
        """Apply ``objects``, in ``namespace`` unless they name their own."""
        where = [f"--namespace={namespace}"] if namespace else []
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self("apply", "--server-side", *where, "-f", "-", input=items)


def eventually(probe: Callable[[], _Answer], what: str, seconds: float = 30) -> _Answer:
    """The first true answer of ``probe``, asked again and again; fails with ``what`` was awaited after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not so: {what}")
        time.sleep(_POLL_SECONDS)
    return answer
