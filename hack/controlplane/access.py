"""Ways to talk to the control plane: kubeconfig files for programs, plain requests for ourselves.

In: an address and certificates. Out: a kubeconfig as text, or a JSON answer. Standard library only, so that starting a
control plane needs none of what is tested with it.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

from controlplane.errors import ControlPlaneError
from controlplane.pki import KeyPair


def kubeconfig(server: str, authority: bytes, user: KeyPair) -> bytes:
    """A kubeconfig with everything inside and the server's certificate verified. It is JSON, which is YAML, too."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "hookline",
        "clusters": [
            {"name": "hookline", "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
        ],
        "users": [
            {
                "name": "hookline",
                "user": {
                    "client-certificate-data": _base64(user.certificate),
                    "client-key-data": _base64(user.key),
                },
            }
        ],
        "contexts": [{"name": "hookline", "context": {"cluster": "hookline", "user": "hookline"}}],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def tls(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """A context that trusts ``authority`` alone and shows the client certificate; all three are PEM files."""
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    return context


class LocalConnection(http.client.HTTPConnection):
    """HTTP over the unix socket at ``path``."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's file instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def healthy(connection: http.client.HTTPConnection, path: str, mentioning: bytes = b"") -> bool:
    """Whether ``GET path`` is answered now, by 200 and a body that contains ``mentioning``. Closes the connection.

    False also when nobody listens yet; a server with a wrong certificate raises.
    """
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status == http.client.OK and mentioning in response.read()
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def request(connection: http.client.HTTPConnection, method: str, path: str, body: object = None) -> Any:
    """Send ``body`` as JSON and return the answer's JSON; a status of 400 or above raises. Closes the connection."""
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", "Accept": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ControlPlaneError(f"{method} {path}: no answer from the API server: {error}") from error
    finally:
        connection.close()
    if response.status >= http.client.BAD_REQUEST:
        raise ControlPlaneError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
    return json.loads(answer)


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
