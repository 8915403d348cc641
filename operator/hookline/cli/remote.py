"""The operator's API for deliveries, as a client: whose token, which address, and refusals as sentences.

In: the options that ``add_operator`` added. Out: Delivery objects as the operator gives them, which
``hookline.cli.answers`` reads. Nothing is sent in the clear over a network: plain http only to this machine's own
loopback, where a tunnel begins. A token for the whole cluster goes through the tunnel alone, unless the user says
otherwise.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from hookline.cli import answers
from hookline.cli.answers import Again
from hookline.cli.arguments import Parser, add_timeout, namespace_name
from hookline.cli.cluster import Cluster, CommandError, Missing, collection
from hookline.cli.output import Output
from hookline.cli.tunnel import Tunnel, tunnel, unverified
from hookline.errors import SettingsError

if TYPE_CHECKING:
    import aiohttp

Object = dict[str, Any]
NAMESPACE, VARIABLE = "hookline", "HOOKLINE_OPERATOR_NAMESPACE"
SERVER_VARIABLE = "HOOKLINE_SERVER"
AUDIENCE = "hookline.dev"
PAGE = 500
PATIENCE_SECONDS = 20.0
"""How long a request is made again that found a pod that does not lead: another one takes its place in that time."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
IDLE_SECONDS = 60.0
TOKEN_SECONDS = 1200
SHORT_SECONDS, FIRST_PAUSE, LONGEST_PAUSE = 1.0, 0.5, 8.0


def add_operator(parser: Parser) -> None:
    """Add what says where the operator's API is, and as whom to ask it."""
    group = parser.add_argument_group("the operator's API (default: through kubectl port-forward)")
    group.add_argument(
        "--operator-namespace",
        type=namespace_name,
        default=os.environ.get(VARIABLE) or NAMESPACE,
        metavar="NAME",
        help=f"namespace of the operator (default: {NAMESPACE}; env: {VARIABLE})",
    )
    group.add_argument(
        "--server",
        default="",
        metavar="URL",
        help=f"address of the API, https://host:port (env: {SERVER_VARIABLE})",
    )
    group.add_argument(
        "--server-ca",
        default=os.environ.get("HOOKLINE_SERVER_CA", ""),
        metavar="FILE",
        help="PEM file of the authority to trust for it (default: the system's; env: HOOKLINE_SERVER_CA)",
    )
    whose = group.add_mutually_exclusive_group()
    whose.add_argument("--token-file", type=Path, metavar="FILE", help="bearer token (default: the kubeconfig's)")
    whose.add_argument(
        "--service-account",
        default="",
        metavar="NAME",
        help="ask as this ServiceAccount of the same namespace",
    )
    whose.add_argument(
        "--send-cluster-token",
        action="store_true",
        help="send the kubeconfig's token to --server, which may then do all that you may",
    )
    add_timeout(parser, PATIENCE_SECONDS, "how long to try again while no pod leads")


def choose_server(options: Namespace) -> None:
    """Let ``options.server`` be the address that counts, empty for a tunnel. Raises SettingsError."""
    option, given = "--server", options.server
    if not given and (told := os.environ.get(SERVER_VARIABLE, "")):
        for flag, value in (("--context", options.context), ("--kubeconfig", options.kubeconfig)):
            if value:
                raise SettingsError(
                    f"{flag}: {SERVER_VARIABLE} is set, and may be of another cluster: unset it, or give --server"
                )
        option, given = SERVER_VARIABLE, told
    options.server = _checked(given.rstrip("/"), option) if given else ""


def _checked(server: str, option: str) -> str:
    """An address that means the same to whoever reads it. Raises SettingsError."""
    try:
        address = urlsplit(server)
        plain = address.port != 0 and set("\\@%?#").isdisjoint(server)
    except ValueError:  # a port that is none, brackets without an address
        plain = False
    plain = plain and server.isascii() and server.isprintable() and " " not in server
    if not plain or address.scheme not in ("http", "https") or not address.hostname:
        raise SettingsError(f"{option}: write https://host:port")
    if address.scheme == "http" and address.hostname not in LOOPBACK:
        raise SettingsError(f"{option}: your token would pass in the clear; write https://, or use a tunnel")
    return server


class Pace:
    """How long to wait before a stream is opened again: longer and longer while streams end at once."""

    def __init__(self) -> None:
        self._pause = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait after a stream that lived so many."""
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE) if lived < SHORT_SECONDS else 0.0
        return self._pause


class Remote:
    """The API of one operator. Made by ``connect``; every method raises CommandError."""

    def __init__(self, cluster: Cluster, options: Namespace, out: Output, session: aiohttp.ClientSession) -> None:
        self._cluster = cluster
        self._options = options
        self._out = out
        self._session = session
        self._tunnel = contextlib.AsyncExitStack()
        self._way: Tunnel | None = None
        self._base = ""
        self._tls: ssl.SSLContext | bool = True
        self._tokens: dict[str, tuple[str, float]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, cluster: Cluster, options: Namespace, out: Output) -> AsyncIterator[Remote]:
        """A client for as long as the context lasts. Raises CommandError, SettingsError."""
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=IDLE_SECONDS)
        jar = aiohttp.DummyCookieJar()
        # A connection for each request: the next try may then get to another pod, the one that leads.
        pool = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=pool, timeout=limits, cookie_jar=jar, trust_env=False) as session:
            made = cls(cluster, options, out, session)
            try:
                await made._open()
                yield made
            finally:
                await made._tunnel.aclose()

    async def newest(self, namespace: str, name: str, states: Sequence[str], limit: int) -> list[Object]:
        """At most ``limit`` deliveries of a subscription (0: all), the newest first."""
        found: list[Object] = []
        token = ""
        while True:
            size = min(limit - len(found), PAGE) if limit else PAGE
            query = [("limit", str(size)), *(("state", state) for state in states)]
            if token:
                query.append(("continue", token))
            items, token = answers.page(await self._ask(namespace, name, "", query))
            found += items
            if not token or (limit and len(found) >= limit):
                return found
            self._out.progress.update(f"{len(found)} deliveries read")

    async def one(self, namespace: str, name: str, identity: str) -> Object:
        """One delivery with its request. Raises Missing when the subscription has none of that id."""
        return answers.delivery(await self._ask(namespace, name, quote(identity, safe=""), []))

    async def watch(
        self, namespace: str, name: str, states: Sequence[str], tail: int
    ) -> AsyncIterator[tuple[str, Object]]:
        """Events (type and object) for ever; what was told already is not told again when the stream begins anew."""
        told: dict[str, Object] = {}
        deadline: float | None = self._deadline()
        pace = Pace()
        while True:
            began = time.monotonic()
            query = [("watch", "true"), ("tail", str(tail)), *(("state", state) for state in states)]
            try:
                async with self._send(namespace, name, "", query) as answer:
                    deadline = None
                    async for kind, obj in answers.events(answer):
                        identity = obj["metadata"]["name"]
                        if told.get(identity) == obj:
                            continue
                        told.pop(identity, None)
                        told[identity] = obj
                        if len(told) > PAGE:
                            del told[next(iter(told))]
                        yield kind, obj
            except (Again, OSError, TimeoutError, _client_error()) as error:
                deadline = deadline or self._deadline()
                if time.monotonic() > deadline:
                    raise self._given_up(error) from None
                self._out.progress.update("the stream broke; it is opened again")
                await self._recover(error)
            await asyncio.sleep(pace.after(time.monotonic() - began))
            tail = PAGE  # what happened in between; the rest of it is known

    async def _ask(self, namespace: str, name: str, identity: str, query: Sequence[tuple[str, str]]) -> Any:
        """The answer, decoded; None where it is no JSON."""
        deadline = self._deadline()
        while True:
            try:
                async with self._send(namespace, name, identity, query) as answer:
                    return answers.decoded(await answer.read())
            except (Again, OSError, TimeoutError, _client_error()) as error:
                # At an address that was given, nothing else will listen soon; through a tunnel, another pod may.
                hopeless = self._options.server and not isinstance(error, Again)
                if hopeless or time.monotonic() > deadline:
                    raise self._given_up(error) from None
                await self._recover(error)

    def _deadline(self) -> float:
        seconds = self._options.timeout
        return time.monotonic() + seconds if seconds else float("inf")

    @contextlib.asynccontextmanager
    async def _send(
        self, namespace: str, name: str, identity: str, query: Sequence[tuple[str, str]]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        from yarl import URL

        path = f"{collection('webhooksubscriptions', namespace)}/{quote(name, safe='')}/deliveries"
        url = URL(self._base + path + (f"/{identity}" if identity else ""), encoded=True).with_query(list(query))
        headers = {"Authorization": f"Bearer {await self._token(namespace)}", "Accept": "application/json"}
        if self._way is not None:
            self._way.check()  # else whoever has the port now would get the token
        async with self._session.get(url, headers=headers, ssl=self._tls, allow_redirects=False) as answer:
            if answer.status != 200:
                raise answers.refusal(answer.status, await answer.read())
            yield answer

    async def _open(self) -> None:
        server, authority = self._options.server, self._options.server_ca
        if server:
            self._base, self._tls = server, _trusting(authority) if authority else True
            return
        await self._tunnel.aclose()
        namespace = self._options.operator_namespace
        self._way = await self._tunnel.enter_async_context(tunnel(self._cluster, namespace, self._out))
        self._base = self._way.base
        self._tls = unverified() if self._base.startswith("https") else True
        if authority and self._base.startswith("https"):
            self._tls = _trusting(authority)
            self._tls.check_hostname = False  # the name is the Service's, and this is a tunnel to one of its pods

    async def _recover(self, error: BaseException) -> None:
        await asyncio.sleep(1)
        if not self._options.server and not (isinstance(error, Again) and not error.leader):
            await self._open()  # the pod is gone, or another one leads

    def _given_up(self, error: BaseException) -> CommandError:
        if isinstance(error, Again):
            return CommandError(f"{error}; that was still so after {self._options.timeout:g} s")
        where = f"the operator's API at {self._options.server}" if self._options.server else "the operator's API"
        certificate = _client_error("ClientConnectorCertificateError")
        if isinstance(error, certificate):
            return CommandError(f"{where} has a certificate that is not trusted: give its authority with --server-ca")
        what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        return CommandError(f"{where} can't be reached ({what}): does the operator run, with --api-port not 0?")

    async def _token(self, namespace: str) -> str:
        if self._options.token_file:
            return _read_token(self._options.token_file)
        account = self._options.service_account
        if account:
            token, until = self._tokens.get(namespace, ("", 0.0))
            if time.monotonic() >= until:
                token = await self._requested(namespace, account)
                self._tokens[namespace] = token, time.monotonic() + TOKEN_SECONDS / 2
            return token
        header = await asyncio.to_thread(self._cluster.kube.access.authorization)
        scheme, _, token = (header or "").partition(" ")
        if scheme != "Bearer" or not token:
            raise CommandError(CERTIFICATE_ONLY)
        if self._options.server and not self._options.send_cluster_token and AUDIENCE not in audiences(token):
            raise CommandError(TOO_MUCH)
        return token

    async def _requested(self, namespace: str, account: str) -> str:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/serviceaccounts/{quote(account, safe='')}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [AUDIENCE], "expirationSeconds": TOKEN_SECONDS},
        }
        try:
            answer = await self._cluster.ask("POST", path, body=body)
        except Missing:
            raise CommandError(f'there is no ServiceAccount "{account}" in namespace "{namespace}"') from None
        token: str = answer["status"]["token"]
        return token


CERTIFICATE_ONLY = (
    "the kubeconfig has no bearer token, only a client certificate perhaps, which the operator can't check. Ask as a "
    "ServiceAccount that may read deliveries with --service-account NAME, or give --token-file FILE"
)
TOO_MUCH = (
    "the kubeconfig's token is one for the whole cluster, and was not sent: whoever runs --server could do with it all "
    f"that you may. Ask with a token for {AUDIENCE} alone, by --service-account NAME or --token-file FILE, or leave "
    "out --server; where you trust it with all that, add --send-cluster-token"
)


def audiences(token: str) -> tuple[str, ...]:
    """For whom a token says it is, unverified; none where it is no JWT (RFC 7519)."""
    claims: Any = None
    if len(parts := token.split(".")) == 3:
        with contextlib.suppress(ValueError):
            claims = answers.decoded(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    said = claims.get("aud") if isinstance(claims, dict) else None
    return tuple(map(str, said)) if isinstance(said, list) else (said,) if isinstance(said, str) else ()


def _trusting(file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise SettingsError(f"--server-ca: {file} can't be used: {error.strerror or error}") from None


def _read_token(file: Path) -> str:
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--token-file: {file} can't be read: {getattr(error, 'strerror', 'no text')}") from None
    if not token or len(token.split()) != 1:
        raise SettingsError(f"--token-file: {file} must hold one token and nothing else")
    return token


def _client_error(name: str = "ClientError") -> type[Exception]:
    import aiohttp

    found: type[Exception] = getattr(aiohttp, name)
    return found
