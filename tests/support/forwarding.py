"""A kubectl for clusters without nodes: ``port-forward`` to a pod ends at a port of this machine instead.

In: an executable of this name in the PATH, and in FORWARD a JSON object from pods to ports. Out: what kubectl prints,
and for each call ``<pod>.pid`` and ``<pod>.port``, its local port, beside this file. Everything else is kubectl's own
business and refused.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent


def install(directory: Path) -> Path:
    """Put it into a directory as ``kubectl``; returns the directory."""
    directory.mkdir()
    program = directory / "kubectl"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
    program.chmod(0o755)
    return directory


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _main() -> None:
    pod = next(word.removeprefix("pod/") for word in sys.argv if word.startswith("pod/"))
    assert "port-forward" in sys.argv, sys.argv
    (HERE / f"{pod}.pid").write_text(str(os.getpid()))
    listener = socket.create_server(("127.0.0.1", 0))
    (HERE / f"{pod}.port").write_text(str(listener.getsockname()[1]))
    _say(f"Forwarding from 127.0.0.1:{listener.getsockname()[1]} -> 8443")
    while True:
        near, _ = listener.accept()
        _say("Handling connection for 8443")
        far = socket.create_connection(("127.0.0.1", json.loads(os.environ["FORWARD"])[pod]))
        for ends in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=ends, daemon=True).start()


if __name__ == "__main__":
    _main()
