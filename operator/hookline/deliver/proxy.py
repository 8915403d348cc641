"""The egress proxy, for clusters whose only way out is one: a tunnel (CONNECT, RFC 9110 §9.3.6) for every connection.

In: the settings, and the place where a connection should end. Out: a socket that ends there; TLS goes through it end to
end, so the proxy sees neither a body nor a header. ``dial`` has the connector that uses it. http destinations go the
same way: a proxy must let CONNECT through to their port.

Names are looked up and vetted here, and the proxy is asked for the vetted address; it can't be fooled by a second
lookup. With ``by_name`` it is asked for the name and looks it up itself: then it alone can refuse internal addresses.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from hookline.deliver.lookups import Lookups
from hookline.errors import SettingsError

log = logging.getLogger(__name__)

MAX_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")
_END = b"\r\n\r\n"


class ProxyFailed(OSError):
    """The egress proxy could not be reached, or did not open a tunnel. The message names neither it nor the target."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy listens. ``credentials`` is a file of the form user:password, read for each tunnel."""

    host: str
    port: int
    by_name: bool = False
    credentials: Path | None = None
    _told: set[str] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def parse(cls, url: str, connect: str, credentials: str) -> Proxy | None:
        """The proxy of three settings; None without a URL. Raises SettingsError."""
        if connect not in ("address", "name"):
            raise SettingsError(f"egress_proxy_connect: must be address or name, not {connect!r}")
        if not url:
            if credentials or connect == "name":
                raise SettingsError("egress_proxy: must be set where egress_proxy_connect or a credentials file is")
            return None
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not (host and port) or url.removesuffix("/") != f"http://{parts.netloc}" or "@" in parts.netloc:
            raise SettingsError(
                "egress_proxy: must be of the form http://host:port; credentials go into egress_proxy_credentials_file"
            )
        proxy = cls(host, port, connect == "name", Path(credentials) if credentials else None)
        proxy._authorization()
        return proxy

    async def tunnel(self, lookups: Lookups, host: str, port: int) -> socket.socket:
        """A connected socket that ends at this host (a name or an address) and port. Raises ProxyFailed.

        No time limit of its own.
        """
        try:
            connection = await self._connect(lookups)
            try:
                await self._ask(connection, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            except BaseException:
                connection.close()
                raise
        except ProxyFailed as failure:
            self._tell(str(failure))
            raise
        except OSError as error:
            self._tell(f"the egress proxy can't be reached ({type(error).__name__})")
            raise ProxyFailed("the egress proxy can't be reached") from error
        return connection

    async def _connect(self, lookups: Lookups) -> socket.socket:
        """To the first of the proxy's own addresses that answers. It is the administrator's: nothing is vetted."""
        loop = asyncio.get_running_loop()
        failure = OSError("the name of the egress proxy has no address")
        for family, kind, proto, _, address in await lookups.find("", self.host, self.port):
            connection = socket.socket(family, kind, proto)
            try:
                connection.setblocking(False)
                await loop.sock_connect(connection, address)
            except BaseException as error:
                connection.close()
                if not isinstance(error, OSError):
                    raise
                failure = error
            else:
                return connection
        raise failure

    async def _ask(self, connection: socket.socket, authority: str) -> None:
        loop = asyncio.get_running_loop()
        request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{self._authorization()}\r\n"
        await loop.sock_sendall(connection, request.encode("ascii"))
        head = b""
        while _END not in head:
            more = await loop.sock_recv(connection, 4096)
            head += more
            if not more or len(head) > MAX_HEAD:
                raise ProxyFailed("the egress proxy gave no HTTP answer")
        status = _STATUS.match(head)
        if status is None or not head.endswith(_END):  # nobody speaks through a tunnel before we do
            raise ProxyFailed("the egress proxy gave no HTTP answer")
        if not status[1].startswith(b"2"):
            raise ProxyFailed(f"the egress proxy answered {status[1].decode()} to CONNECT")

    def _authorization(self) -> str:
        """The header line, or nothing. Raises SettingsError."""
        if self.credentials is None:
            return ""
        try:
            text = self.credentials.read_text("utf-8").strip("\r\n")
        except (OSError, ValueError):
            text = ""
        if ":" not in text:
            raise SettingsError("egress_proxy_credentials_file: must be a file that holds user:password")
        return f"Proxy-Authorization: Basic {base64.b64encode(text.encode()).decode()}\r\n"

    def _tell(self, problem: str) -> None:
        """Each problem once: an attempt's result says only that the proxy failed."""
        if problem not in self._told:
            self._told.add(problem)
            log.warning("%s", problem)
