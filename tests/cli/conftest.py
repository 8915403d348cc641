"""The fixtures of the command line's tests: the command as a process, and one whole operator that they share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver
from support.served import AUDIENCE, free_port, token_of
from support.strange import Server
from support.terminal import CommandLine, Terminal
from support.whole import Subscriptions, config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]


@pytest.fixture
def hookline(control_plane: ControlPlane, crds: object, namespace: str, tmp_path: Path) -> CommandLine:
    """``hookline("status", "orders")`` runs the command in the test's namespace, as the administrator."""
    (tmp_path / "home").mkdir()
    return CommandLine(control_plane, namespace, tmp_path / "home")


@pytest.fixture
def terminal(hookline: CommandLine) -> Iterator[Callable[..., Terminal]]:
    """The same in a terminal; what is left of it is killed after the test."""
    made: list[Terminal] = []

    def start(*arguments: str, env: Mapping[str, str] | None = None) -> Terminal:
        made.append(hookline.terminal(*arguments, env=env))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """``serve(body)`` is a server that answers each request with this, whoever asks."""
    made: list[Server] = []

    def start(body: bytes, port: int = 0) -> Server:
        made.append(Server(body, port))
        return made[-1]

    yield start
    for server in made:
        server.close()


class Whole:
    """A running operator with its API, a receiver, and a namespace, shared by tests that each use names of their own.

    A subscription made here listens to the ConfigMaps ``<its name>-0``, ``-1`` and so on.
    """

    def __init__(self, plane: ControlPlane, kubectl: Kubectl, home: Path) -> None:
        self.namespace = f"test-{uuid.uuid4().hex[:12]}"
        self.kubectl = kubectl
        self.plane = plane
        kubectl("create", "namespace", self.namespace)
        self.receiver = LiveReceiver()
        self.port = free_port()
        flags = ("--namespace", self.namespace, "--api-port", str(self.port))
        self.operator = LiveOperator(plane.kubeconfig, home / "operator", self.receiver.ca_pem, *flags)
        self.subscriptions = Subscriptions(kubectl, self.namespace, self.receiver)
        self.hookline = CommandLine(plane, self.namespace, home)
        self.token_file = home / "token"

    @property
    def api(self) -> tuple[str, ...]:
        """The options that reach the operator's API, as a ServiceAccount that sees everything."""
        eventually(lambda: self._token(), "the ServiceAccount is there")
        return ("--server", f"http://127.0.0.1:{self.port}", "--token-file", str(self.token_file))

    def subscribe(self, name: str, **spec: Any) -> None:
        """Apply a subscription and wait until it watches."""
        self.subscriptions.ready(name, **self._spec(name), **spec)

    def apply(self, name: str, **spec: Any) -> None:
        """Apply one, and do not wait."""
        self.subscriptions.apply(name, **self._spec(name), **spec)

    def change(self, name: str, *numbers: int, **data: str) -> None:
        """Make or change the ConfigMaps that a subscription listens to."""
        for number in numbers or (0,):
            head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-{number}"}}
            self.kubectl.apply(head | {"data": data}, namespace=self.namespace)

    def dead_letters(self, name: str, number: int) -> list[str]:
        """A subscription with so many dead letters, and an endpoint that works again; returns their ids."""
        before = len(self.receiver.requests)
        self.subscribe(name, delivery={"retry": {"maxAttempts": 1}})
        self.receiver.do(lambda live: live.answer(422))
        self.change(name, *range(number))
        dead = lambda: self.subscriptions.get(name)["status"].get("deadLettered")  # noqa: E731
        eventually(lambda: dead() == number, f"{number} dead letters")
        self.receiver.do(lambda live: live.answer(200))
        return [request.id for request in self.receiver.requests[before:]]

    def _spec(self, name: str) -> dict[str, Any]:
        return {"sources": [{"apiVersion": "v1", "kind": "ConfigMap", "names": [f"{name}-{n}" for n in range(3)]}]}

    def _token(self) -> bool:
        if not self.token_file.exists():
            self.token_file.write_text(token_of(self.plane, self.namespace, "default", AUDIENCE))
        return True


@pytest.fixture(scope="session")
def whole(
    control_plane: ControlPlane, kubectl: Kubectl, crds: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    """One for all tests of the session that want it."""
    made = Whole(control_plane, kubectl, tmp_path_factory.mktemp("whole"))
    try:
        made.operator.start()
        yield made
    finally:
        made.operator.kill()
        made.receiver.close()


@pytest.fixture
def screen(whole: Whole) -> Iterator[Callable[..., Terminal]]:
    """``hookline`` in a terminal, in the namespace of the whole."""
    made: list[Terminal] = []

    def start(*arguments: str, env: Mapping[str, str] | None = None) -> Terminal:
        made.append(whole.hookline.terminal(*arguments, env=env))
        return made[-1]

    yield start
    for one in made:
        one.close()
