"""The one client of the Kubernetes API: requests and watch streams over aiohttp, JSON by orjson.

In: a kubeconfig file, ``KUBECONFIG``, or the pod's own service account, read by the official ``kubernetes`` package.
Out: decoded JSON, raw bytes, or the raw lines of a watch; errors of the ``ApiError`` tree. Used by the rooms ``watch``,
``controller`` and ``status``; what watch lines mean is told in ``hookline.watch.wire``.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from yarl import URL

from hookline.errors import ApiError, Conflict, Forbidden, NotServed, ResourceGone, SettingsError

MAX_LINE = 16 << 20
MAX_MESSAGE = 300
TOKEN_SECONDS = 10.0
READ_BUFFER = 256 << 10

_ERRORS: Mapping[int, type[ApiError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotServed,
    409: Conflict,
    410: ResourceGone,
}


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the API server and as whom; also what another client (kopf) needs to do the same.

    The paths are of PEM files, None where there is nothing. ``authorization()`` is the current value of the
    ``Authorization`` header or None; it may read a file or run a credential plugin, so don't call it in an event loop.
    Thread-safe. Raises ApiError when the credentials can't be had now.
    """

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    tls_server_name: str | None
    proxy: str | None
    authorization: Callable[[], str | None] = field(repr=False)

    def tls(self) -> ssl.SSLContext:
        """A context that verifies the API server and presents the client certificate. Raises SettingsError."""
        try:
            context = ssl.create_default_context(cafile=self.ca_path)
            # Many clusters' own authorities lack extensions that RFC 5280 demands; Python 3.13 began to insist on them.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if self.certificate_path:
                context.load_cert_chain(self.certificate_path, self.private_key_path)
        except OSError as error:
            raise SettingsError(f"kubeconfig: a certificate or key can't be read: {error.strerror or error}") from error
        return context


def load_access(kubeconfig: str | None, context: str | None = None) -> Access:
    """Read the credentials (blocking). Empty or None: ``KUBECONFIG``, else in-cluster, else ``~/.kube/config``.

    ``context`` is one of the kubeconfig's, empty or None for its current one. Raises SettingsError when there are no
    credentials, they are malformed, or they ask not to verify the server, and ApiError where a login has expired.
    """
    from kubernetes import client, config  # half a second and 20 MiB, so not before it is needed

    # An empty proxy, because None would take the one of the environment.
    settings = client.Configuration(proxy="", no_proxy="")
    file = kubeconfig or os.environ.get("KUBECONFIG")
    in_cluster = not file and not context and "KUBERNETES_SERVICE_HOST" in os.environ
    load: Callable[..., None] = config.load_incluster_config if in_cluster else config.load_kube_config
    where = (
        {}
        if in_cluster
        else {"config_file": file or "~/.kube/config", "persist_config": False, "context": context or None}
    )
    try:
        load(client_configuration=settings, **where)
    except Exception as error:  # whatever YAML, files and plugins raise
        raise SettingsError(f"kubeconfig: no usable credentials for a Kubernetes API: {error}") from error
    if not settings.verify_ssl:
        raise SettingsError("kubeconfig: insecure-skip-tls-verify is not supported; give certificate-authority-data")
    if not in_cluster and not settings.api_key and not settings.cert_file:
        _check_login(where["config_file"], context)
    return Access(
        server=settings.host.rstrip("/"),
        ca_path=settings.ssl_ca_cert,
        certificate_path=settings.cert_file,
        private_key_path=settings.key_file,
        tls_server_name=settings.tls_server_name,
        proxy=settings.proxy or None,
        authorization=_authorization(settings),
    )


def _check_login(file: Any, context: str | None) -> None:
    """Raise ApiError where the user should have got credentials of a plugin: the package goes on as nobody then."""
    from kubernetes.config.kube_config import KubeConfigMerger

    merged = KubeConfigMerger(file).config  # type: ignore[no-untyped-call]
    name = context or merged["current-context"]
    whose = merged["contexts"].get_with_name(name)["context"].safe_get("user")
    found = merged["users"].get_with_name(whose, safe=True) if whose and merged.safe_get("users") else None
    user: Mapping[str, Any] = (found["user"].value if found else None) or {}
    if "exec" in user:
        what = f'its command "{(user["exec"] or {}).get("command", "")}" gave none'
    elif "auth-provider" in user:
        what = f'its auth-provider "{(user["auth-provider"] or {}).get("name", "")}" gave none'
    else:
        return
    raise ApiError(0, f'context "{name}" of the kubeconfig has no credentials, {what}: log in again')


def _authorization(settings: Any) -> Callable[[], str | None]:
    lock = threading.Lock()

    def current() -> str | None:
        # The hook re-reads a rotated token file and runs an exec plugin again when its token is about to expire.
        try:
            with lock:
                token: str | None = settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        except Exception as error:
            raise ApiError(0, f"the credentials can't be renewed: {type(error).__name__}") from error
        if not token:
            return None
        scheme, _, secret = token.strip().partition(" ")
        return f"{scheme.capitalize()} {secret}"

    return current


class KubeClient:
    """One session with one API server, for one event loop. Made by ``connect``, ended by ``close``.

    Paths begin with a slash and are used as they are (already quoted). Every method raises ApiError: ``Forbidden``,
    ``NotServed``, ``Conflict``, ``ResourceGone`` by status, with status 0 when there was no usable answer.
    """

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.access = access
        self._clock = clock
        self._token: str | None = None
        self._token_until = float("-inf")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=access.tls()),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            read_bufsize=READ_BUFFER,
            # The API server would compress lists; inside a cluster that costs more time than it saves.
            headers={"Accept-Encoding": "identity", "User-Agent": "hookline"},
        )

    @classmethod
    async def connect(cls, kubeconfig: str | None = None) -> KubeClient:
        """Load the credentials (see ``load_access``) in a thread. No request is made. Raises SettingsError."""
        return cls(await asyncio.to_thread(load_access, kubeconfig))

    @property
    def server(self) -> str:
        """The API server's base URL, without a slash at the end."""
        return self.access.server

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float = 30.0,  # noqa: ASYNC109 (it bounds the whole exchange, which the caller can't see)
    ) -> Any:
        """One exchange; ``body`` is made JSON, the answer decoded (None when empty)."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        data = None if body is None else orjson.dumps(body)
        raw = await self._exchange(method, path, timeout, params=params, headers=headers, data=data)
        try:
            return orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError as error:
            raise ApiError(0, f"{method} {path}: the answer can't be decoded") from error

    async def get_bytes(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        accept: str = "application/json",
        timeout: float = 120.0,  # noqa: ASYNC109
    ) -> bytes:
        """GET, undecoded."""
        return await self._exchange("GET", path, timeout, params=params, headers={"Accept": accept})

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], idle: float, *, accept: str = "application/json"
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """Open a watch. Yields batches of raw lines: each time, all that has arrived (empty: bytes, but no whole line).

        The iteration ends with the stream; a line that was cut is dropped. It raises ApiError when ``idle`` seconds
        pass without a byte, on a broken connection, and on a line of more than 16 MiB.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=idle)
        try:
            response = await self._send("GET", path, limits, params=params, headers={"Accept": accept})
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable("GET", path, error) from error
        async with response:
            yield _lines(response.content, path)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _exchange(self, method: str, path: str, seconds: float, **options: Any) -> bytes:
        try:
            async with await self._send(method, path, aiohttp.ClientTimeout(total=seconds), **options) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError) as error:  # OSError includes TimeoutError
            raise _unreachable(method, path, error) from error

    async def _send(
        self, method: str, path: str, limits: aiohttp.ClientTimeout, *, headers: Mapping[str, str], **options: Any
    ) -> aiohttp.ClientResponse:
        if self._clock() >= self._token_until:
            self._token = await asyncio.to_thread(self.access.authorization)
            self._token_until = self._clock() + TOKEN_SECONDS
        response = await self._session.request(
            method,
            URL(self.server + path, encoded=True),
            headers={**headers, "Authorization": self._token} if self._token else headers,
            timeout=limits,
            allow_redirects=False,
            server_hostname=self.access.tls_server_name,
            proxy=self.access.proxy,
            **options,
        )
        if response.status < 300:
            return response
        async with response:
            if response.status == 401:
                self._token_until = float("-inf")
            raise _refusal(response.status, method, path, await response.read())


async def _lines(content: aiohttp.StreamReader, path: str) -> AsyncIterator[list[bytes]]:
    # StreamReader.readline would fail on lines longer than its buffer. The pieces of a long line are joined once.
    pieces: list[bytes] = []
    length = 0
    try:
        async for chunk in content.iter_any():
            head, *rest = chunk.split(b"\n")
            pieces.append(head)
            length += len(head)
            if length > MAX_LINE:
                raise ApiError(0, f"GET {path}: a line of the watch is longer than 16 MiB")
            if rest:
                first, pieces = b"".join(pieces), [rest.pop()]
                length = len(pieces[0])
                yield [line for line in (first, *rest) if line]
            else:
                yield []
    except (aiohttp.ClientError, OSError) as error:
        raise _unreachable("GET", path, error) from error


def _unreachable(method: str, path: str, error: Exception) -> ApiError:
    # Only the type: the text of connection errors names addresses.
    what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return ApiError(0, f"{method} {path}: no usable answer from the API server ({what})")


def _refusal(status: int, method: str, path: str, raw: bytes) -> ApiError:
    """The error for a refused request, with the ``message`` of the Status object (bounded) when there is one."""
    try:
        message = orjson.loads(raw)["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = ""
    text = message[:MAX_MESSAGE] if isinstance(message, str) and message else f"{method} {path} was refused"
    return _ERRORS.get(status, ApiError)(status, text)
