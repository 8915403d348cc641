"""Certificates that are right in all but one thing, and a server that counts what reaches its application.

In: nothing. Out: server contexts for ``TlsServer``. It accepts, does the handshake, and counts the bytes that follow:
what a client sends to somebody whose certificate it does not trust is there in full.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import warnings
from typing import Self

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def pair(certificate: trustme.LeafCert) -> tuple[str, str]:
    """Certificate and private key in PEM form."""
    chain = "".join(blob.bytes().decode() for blob in certificate.cert_chain_pems)
    return chain, certificate.private_key_pem.bytes().decode()


def expired(authority: trustme.CA) -> ssl.SSLContext:
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return server_context(authority.issue_cert("127.0.0.1", not_after=moment))


def self_signed() -> ssl.SSLContext:
    """A certificate that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(text).tempfile() as path:
        context.load_cert_chain(path)
    return context


def only_tls_1_1(authority: trustme.CA) -> ssl.SSLContext:
    context = server_context(authority.issue_cert("127.0.0.1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def allow_old(context: ssl.SSLContext) -> None:
    """Let a client speak what it should not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")


def only_tls_1_2(authority: trustme.CA) -> ssl.SSLContext:
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def demanding(authority: trustme.CA, clients: trustme.CA) -> ssl.SSLContext:
    """Demands a certificate of the client that ``clients`` vouches for."""
    context = server_context(authority.issue_cert("127.0.0.1", "localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    clients.configure_trust(context)
    return context


class TlsServer:
    """Counts connections, and the application bytes that came over them; answers each request with 204."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.connections = 0
        self.handshakes = 0
        self.received = b""
        self.peers: list[str] = []
        self.idle = asyncio.Event()
        self.idle.set()
        self._busy = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}/"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._busy += 1
        self.idle.clear()
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await writer.start_tls(self._context)
                self.handshakes += 1
                peer = writer.get_extra_info("peercert")
                self.peers += [name[0][1] for name in (peer or {}).get("subject", ())]
                while part := await reader.read(65_536):
                    self.received += part
                    writer.write(ANSWER)
                    await writer.drain()
        finally:
            writer.transport.abort()
            self._busy -= 1
            if not self._busy:
                self.idle.set()
