"""Whoever names an address inside learns nothing of what is there: the same words, and nothing that could take time.

What takes time is told by the calls that are made, not by a clock: no socket, so nobody's answer is waited for.
"""

from __future__ import annotations

import socket
import time

import pytest

from hookline.deliver import dial
from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.verdict import Failure, Reason, Response
from hookline.errors import DestinationRefused
from support.receiver import Receiver


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each socket that the client makes."""
    made: list[object] = []
    whole = GuardedSockets(made)
    monkeypatch.setattr(dial, "socket", whole)
    return made


class GuardedSockets:
    """The module ``socket``, which notes each socket."""

    def __init__(self, made: list[object]) -> None:
        self._made = made

    def __getattr__(self, name: str) -> object:
        return getattr(socket, name)

    def socket(self, *arguments: int) -> socket.socket:
        self._made.append(arguments)
        return socket.socket(*arguments)


def lookup(_: str, port: int):
    return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM, proto=6)


@pytest.fixture
async def ports():
    """A port on which somebody listens, and one on which nobody does."""
    async with Receiver(names=("hooks.example.com",)) as receiver:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            gone = closed.getsockname()[1]
        yield receiver, (receiver.port, gone)


@pytest.mark.parametrize("host", ["127.0.0.1", "hooks.example.com"])
async def test_an_attempt_at_an_address_inside_ends_alike_whether_somebody_listens_there(ports, tools, sockets, host):
    receiver, both = ports
    async with Client(AddressPolicy(), tls_context(receiver.ca_pem), lookup) as client:
        results = [
            await client.send(tools.target(f"https://{host}:{port}/"), tools.message(), int(time.time()))
            for port in both
        ]
    assert results == [Failure(Reason.DESTINATION_REFUSED)] * 2
    assert sockets == []
    assert receiver.connections == 0


async def test_the_control_where_it_is_allowed_the_two_differ_and_sockets_are_made(ports, tools, sockets):
    receiver, both = ports
    async with Client(tools.loopback, tls_context(receiver.ca_pem), lookup) as client:
        found, absent = [
            await client.send(tools.target(f"https://hooks.example.com:{port}/"), tools.message(), int(time.time()))
            for port in both
        ]
    assert isinstance(found, Response)
    assert absent == Failure(Reason.UNREACHABLE)
    assert len(sockets) == 2


async def test_the_words_of_a_refused_spec_are_the_same_for_both(ports):
    _, both = ports
    async with Client(AddressPolicy(), tls_context()) as client:
        texts = []
        for port in both:
            with pytest.raises(DestinationRefused) as refused:
                client.check_url(f"https://127.0.0.1:{port}/")
            texts.append(str(refused.value).replace(str(port), "PORT"))
    assert texts[0] == texts[1]
