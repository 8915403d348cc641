"""Claims about the egress proxy: a real one on a socket, TLS end to end, and the guard in front of it."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy, Stage
from hookline.deliver.proxy import Proxy
from hookline.deliver.verdict import Failure, Reason, Response
from hookline.errors import SettingsError
from support.connect import ConnectProxy, proxy_to
from support.receiver import Receiver

PUBLIC = "8.8.8.8"


def names(**answers: str):
    """A resolver; ``localhost`` is the proxy itself."""

    def lookup(host: str, port: int):
        address = answers.get(host.partition(".")[0])
        if host == "127.0.0.1":
            address = host
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    return lookup


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(names=("hooks.example.com", PUBLIC)) as server:
        yield server


def through(proxy: ConnectProxy, connect: str = "address", credentials: str = "") -> Proxy | None:
    return Proxy.parse(f"http://127.0.0.1:{proxy.port}", connect, credentials)


async def test_a_delivery_goes_through_a_tunnel_to_the_vetted_address_with_tls_end_to_end(receiver, tools):
    async with proxy_to(receiver) as proxy:
        context = tls_context(receiver.ca_pem)
        async with Client(AddressPolicy(), context, names(hooks=PUBLIC), proxy=through(proxy)) as client:
            for number in range(3):
                target = tools.target("https://hooks.example.com/s3cret")
                assert isinstance(await client.send(target, tools.message(number), 1), Response)
        assert proxy.asked == [f"{PUBLIC}:443"]  # once: the tunnel is kept alive
        assert b"Proxy-Authorization" not in proxy.heads[0]
        assert len(receiver.requests) == 3
        assert {request.headers["host"] for request in receiver.requests} == {"hooks.example.com"}
        for visible in (b"s3cret", b"webhook-signature"):
            assert visible not in bytes(proxy.wire)


async def test_a_receiver_with_another_certificate_gets_nothing_through_a_tunnel(receiver, tools):
    async with proxy_to(receiver) as proxy:
        async with Client(AddressPolicy(), tls_context(), names(hooks=PUBLIC), proxy=through(proxy)) as client:
            result = await client.send(tools.target("https://hooks.example.com/"), tools.message(), 1)
        assert result == Failure(Reason.TLS_FAILED)
        assert receiver.requests == []


@pytest.mark.parametrize("connect", ["address", "name"])
@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://[::1]/", "https://kubernetes.default.svc/"])
async def test_no_tunnel_is_asked_for_to_a_refused_literal_or_name(receiver, tools, connect, url):
    stages: list[Stage] = []
    async with proxy_to(receiver) as proxy:
        context = tls_context(receiver.ca_pem)
        options: dict[str, Any] = {"proxy": through(proxy, connect), "refused": stages.append}
        async with Client(AddressPolicy(), context, names(), **options) as client:
            result = await client.send(tools.target(url), tools.message(), 1)
        assert result == Failure(Reason.DESTINATION_REFUSED)
        assert stages == [Stage.URL]
        assert proxy.heads == []


async def test_a_name_that_resolves_badly_is_refused_before_the_proxy_is_asked(receiver, tools):
    stages: list[Stage] = []
    async with proxy_to(receiver) as proxy:
        context = tls_context(receiver.ca_pem)
        options: dict[str, Any] = {"proxy": through(proxy), "refused": stages.append}
        async with Client(AddressPolicy(), context, names(hooks="10.0.0.1"), **options) as client:
            result = await client.send(tools.target("https://hooks.example.com/"), tools.message(), 1)
        assert result == Failure(Reason.DESTINATION_REFUSED)
        assert stages == [Stage.RESOLVE]
        assert proxy.heads == []


async def test_a_proxy_that_looks_names_up_is_asked_for_the_name_and_nothing_is_looked_up_here(receiver, tools):
    async with proxy_to(receiver) as proxy:
        context = tls_context(receiver.ca_pem)
        async with Client(AddressPolicy(), context, names(), proxy=through(proxy, "name")) as client:
            for url in ("https://hooks.example.com/", f"https://{PUBLIC}/"):
                assert isinstance(await client.send(tools.target(url), tools.message(), 1), Response)
        assert proxy.asked == ["hooks.example.com:443", f"{PUBLIC}:443"]


async def test_plain_http_goes_through_a_tunnel_as_well(tools):
    async with Receiver(tls=False) as receiver, proxy_to(receiver) as proxy:
        policy = AddressPolicy.parse(http_hosts=["hooks.example.com"])
        async with Client(policy, tls_context(), names(hooks=PUBLIC), proxy=through(proxy)) as client:
            result = await client.send(tools.target("http://hooks.example.com/x"), tools.message(), 1)
        assert isinstance(result, Response)
        assert proxy.asked == [f"{PUBLIC}:80"]


async def test_hosts_that_the_administrator_trusts_are_called_directly(receiver, tools):
    async with proxy_to(receiver) as proxy:
        policy = AddressPolicy.parse(allowed_hosts=["hooks.example.com"])
        context, url = tls_context(receiver.ca_pem), receiver.url(host="hooks.example.com")
        async with Client(policy, context, names(hooks="127.0.0.1"), proxy=through(proxy)) as client:
            assert isinstance(await client.send(tools.target(url), tools.message(), 1), Response)
        assert proxy.heads == []


async def test_credentials_come_from_a_file_and_are_read_again_for_each_tunnel(receiver, tools, tmp_path):
    file = tmp_path / "credentials"
    file.write_text("hookline:one\n")
    async with proxy_to(receiver) as proxy:
        context, way = tls_context(receiver.ca_pem), through(proxy, "address", str(file))
        for password in ("one", "two"):
            file.write_text(f"hookline:{password}\n")
            async with Client(AddressPolicy(), context, names(hooks=PUBLIC), proxy=way) as client:
                await client.send(tools.target("https://hooks.example.com/"), tools.message(), 1)
            basic = base64.b64encode(f"hookline:{password}".encode())
            assert b"Proxy-Authorization: Basic " + basic + b"\r\n" in proxy.heads[-1]
    for request in receiver.requests:
        assert "proxy-authorization" not in request.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\ntoo early",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 4096,
        b"",
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_a_failure_of_its_own(receiver, tools, answer):
    async with proxy_to(receiver, answer=answer) as proxy:
        context = tls_context(receiver.ca_pem)
        async with Client(AddressPolicy(), context, names(hooks=PUBLIC), proxy=through(proxy)) as client:
            result = await client.send(tools.target("https://hooks.example.com/"), tools.message(), 1)
        assert result == Failure(Reason.PROXY_FAILED)
        assert receiver.requests == []


async def test_a_proxy_that_is_down_is_a_failure_of_its_own_and_nothing_is_sent_directly(receiver, tools):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    policy = AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"])
    way = Proxy.parse(f"http://127.0.0.1:{port}", "address", "")
    async with Client(policy, tls_context(receiver.ca_pem), proxy=way) as client:
        result = await client.send(tools.target(receiver.url()), tools.message(), 1)
    assert result == Failure(Reason.PROXY_FAILED)
    assert receiver.connections == 0


async def test_proxies_of_the_environment_and_netrc_are_ignored(receiver, tools, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("default login trap password trap\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    async with proxy_to(receiver) as trap:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
        policy = AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"])
        async with Client(policy, tls_context(receiver.ca_pem), names(hooks="127.0.0.1")) as client:
            url = receiver.url(host="hooks.example.com")
            assert isinstance(await client.send(tools.target(url), tools.message(), 1), Response)
        assert trap.heads == []
        assert "authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize(
    ("url", "connect", "credentials"),
    [
        ("https://proxy:3128", "address", ""),
        ("http://proxy", "address", ""),
        ("proxy:3128", "address", ""),
        ("http://user:password@proxy:3128", "address", ""),
        ("http://proxy:3128/path", "address", ""),
        ("http://proxy:99999", "address", ""),
        ("http://proxy:3128", "both", ""),
        ("http://proxy:3128", "address", "/does/not/exist"),
        ("", "name", ""),
        ("", "address", "/etc/hostname"),
    ],
)
def test_settings_that_say_no_proxy_are_refused(url, connect, credentials):
    with pytest.raises(SettingsError, match="egress_proxy"):
        Proxy.parse(url, connect, credentials)


def test_without_a_url_there_is_no_proxy():
    assert Proxy.parse("", "address", "") is None
