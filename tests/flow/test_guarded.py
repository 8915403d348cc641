"""The guard and the egress proxy in the whole operator: names lead where an attacker, or an administrator, wants them.

The operator runs in a mount namespace of its own with another ``/etc/hosts``, so that it looks names up as ever.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cluster import eventually
from support.connect import ConnectProxy
from support.live import LiveOperator, LiveReceiver
from support.receiver import Receiver
from support.whole import Subscriptions

NAME, PUBLIC = "hooks.example.com", "8.8.8.8"
REFUSED = 'hookline_destinations_refused_total{stage="resolve"}'
BIND = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'


@pytest.fixture
def receiver() -> Iterator[LiveReceiver]:
    live = LiveReceiver(Receiver(names=(NAME,)))
    yield live
    live.close()


@pytest.fixture
def proxy(receiver: LiveReceiver) -> Iterator[ConnectProxy]:
    made = ConnectProxy(receiver.port)
    server = receiver.run(asyncio.start_server(made.serve, "127.0.0.1", 0))
    made.port = server.sockets[0].getsockname()[1]
    yield made
    receiver.do(lambda _: server.close())


@pytest.fixture
def leading(tmp_path: Path) -> Callable[[LiveOperator, str], LiveOperator]:
    """Has an operator find the name at an address."""

    def lead(operator: LiveOperator, address: str) -> LiveOperator:
        hosts = tmp_path / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{address} {NAME} {NAME}.\n")  # with a dot: names are absolute
        operator.prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", BIND, "sh", str(hosts)]
        if subprocess.run([*operator.prefix, "true"], check=False, capture_output=True).returncode:
            pytest.skip("no mount namespace can be made here: allow user namespaces, or run as root")
        return operator

    return lead


def test_a_name_that_leads_inside_is_refused_when_it_is_dialled_and_told_on_the_object(
    make_operator: Callable[..., LiveOperator], leading: Callable[[LiveOperator, str], LiveOperator],
    subscriptions: Subscriptions, receiver: LiveReceiver, config_map: Callable[..., None],
):  # fmt: skip
    operator = leading(make_operator(), "127.0.0.1").start()
    often = {"retry": {"schedule": [1] * 30}}
    subscriptions.ready(destination={"url": f"https://{NAME}:{receiver.port}/"}, delivery=often)
    config_map("secretive")
    message = subscriptions.wait("DestinationRefused", kind="Delivering")
    assert "127.0.0.1" not in message, "where a name leads is nobody's business"
    assert operator.metric(REFUSED) >= 1
    assert receiver.connections == 0
    operator.stop()
    leading(make_operator("--allow-host", NAME), "127.0.0.1").start()
    eventually(lambda: receiver.requests, "the control: with the administrator's leave the same message arrives")


def test_every_delivery_goes_through_the_egress_proxy_to_the_vetted_address(
    make_operator: Callable[..., LiveOperator], leading: Callable[[LiveOperator, str], LiveOperator],
    subscriptions: Subscriptions, receiver: LiveReceiver, proxy: ConnectProxy, config_map: Callable[..., None],
):  # fmt: skip
    leading(make_operator("--egress-proxy", f"http://127.0.0.1:{proxy.port}"), PUBLIC).start()
    subscriptions.ready(destination={"url": f"https://{NAME}/"})
    config_map("told")
    eventually(lambda: receiver.requests, "it arrives")
    assert proxy.asked == [f"{PUBLIC}:443"]
    assert receiver.requests[0].headers["host"] == NAME
