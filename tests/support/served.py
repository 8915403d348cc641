"""What tests of the operator's API share: tokens of ServiceAccounts, and a client that sends what it is told.

In: a control plane, the API's address. Out: answers as (code, decoded body), lines of a stream.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

from controlplane import ControlPlane

AUDIENCE = "hookline.dev"
BASE = "/apis/hookline.dev/v1alpha1/namespaces/{}/webhooksubscriptions/{}/deliveries"


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        port: int = sock.getsockname()[1]
        return port


def token_of(plane: ControlPlane, namespace: str, name: str, *audiences: str, seconds: int = 3600) -> str:
    """A token of a ServiceAccount, by default for the API server itself."""
    spec: dict[str, Any] = {"expirationSeconds": seconds, **({"audiences": [*audiences]} if audiences else {})}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    token: str = plane.request("POST", path, {"spec": spec})["status"]["token"]
    return token


class ApiClient:
    """Asks the API at a port of the loopback. ``tls`` verifies its certificate; None: plain HTTP."""

    def __init__(self, port: int, token: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.token = token
        self._tls = tls

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """One request: code and decoded answer."""
        with closing(self._connection()) as connection:
            connection.request(method, path, body, self._headers() | headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def lines(self, path: str) -> Stream:
        """A stream of lines."""
        return Stream(self._connection(), path, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        return http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self._tls)


class Stream:
    """A stream, read in a thread. ``code`` is the answer's; ``events`` grows; ``ended`` is set at its clean end."""

    def __init__(self, connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> None:
        self._connection = connection
        connection.request("GET", path, headers=headers)
        assert connection.sock is not None
        self._socket = connection.sock  # the connection forgets it when the answer says that it closes
        self._answer = connection.getresponse()
        self.code = self._answer.status
        self.events: list[Any] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def of(self, kind: str) -> list[Any]:
        """The objects of the events of one type."""
        return [event["object"] for event in list(self.events) if event["type"] == kind]

    def states(self, ident: str) -> Sequence[str]:
        """The states that were told of one delivery, in order."""
        told = [event["object"] for event in list(self.events) if event["type"] in ("ADDED", "MODIFIED")]
        return [obj["status"]["state"] for obj in told if obj["metadata"]["name"] == ident]

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._answer.close()
        self._connection.close()

    def _read(self) -> None:
        try:
            for line in self._lines():
                self.events.append(json.loads(line))
        except (OSError, http.client.HTTPException, ValueError):
            return
        self.ended.set()

    def _lines(self) -> Iterator[bytes]:
        while line := self._answer.readline():
            yield line
