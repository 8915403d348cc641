"""A server that is not the operator's API, for what a client makes of it.

In: a body. Out: an address, and what came to it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Server:
    """Answers each request on a port of the loopback with the same bytes, and closes; keeps what came, and when."""

    def __init__(self, body: bytes, port: int = 0) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._answer = head + body
        self.got: list[bytes] = []
        self.times: list[float] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            with near, contextlib.suppress(ConnectionError):
                self.times.append(time.monotonic())
                self.got.append(near.recv(65536))
                near.sendall(self._answer)
