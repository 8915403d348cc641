"""The admission policy on our kinds: put in force for a test, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.cluster import Kubectl, KubectlError, eventually
from support.schema import CRDS

POLICY = CRDS / "serviceaccount-policy.yaml"


def refused(work: Callable[[], Any], policy: str = "serviceaccounts.hookline.dev") -> str:
    """The words of the policy's refusal, empty when there is none. Whatever else goes wrong is an error."""
    try:
        work()
    except KubectlError as error:
        if policy not in str(error):
            raise
        return str(error)
    return ""


@contextmanager
def forced(kubectl: Kubectl, nobody: Kubectl, bad: dict[str, Any]) -> Iterator[None]:
    """The policy in force. ``bad`` is what ``nobody`` may then not create."""

    def words() -> str:
        return refused(lambda: nobody("create", "--dry-run=server", "-f", "-", input=json.dumps(bad)))

    kubectl("apply", "--server-side", "-f", str(POLICY))
    eventually(words, "the policy is in force")
    yield
    kubectl("delete", "-f", str(POLICY))
    eventually(lambda: not words(), "the policy is gone")
