"""What it costs to ask: calls by the API server's own count, for subscriptions that share a ServiceAccount or don't."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from controlplane import ControlPlane
from controlplane.flags import API_SERVER
from hookline.controller.access import ROUND_SECONDS, Access
from hookline.controller.reviews import Reviews
from hookline.kube import KubeClient
from hookline.scopes import scopes_of
from support.samples import CONFIG_MAPS, subscription
from support.scale import note

MANY = 1000


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def calls(client: KubeClient) -> float:
    """How many reviews the API server has taken."""
    text = (await client.get_bytes("/metrics")).decode()
    wanted = [
        line for line in text.splitlines() if line.startswith("apiserver_request_total") and "subjectaccess" in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


@pytest.mark.parametrize("accounts", [1, MANY])
async def test_a_round_costs_three_calls_for_each_service_account_however_many_subscriptions_it_has(
    control_plane: ControlPlane, accounts: int
) -> None:
    client = await KubeClient.connect(str(control_plane.kubeconfig))
    now = [0.0]
    access = Access(Reviews(client, 1e9, lambda: now[0]), scopes_of, lambda: now[0])
    try:
        await calls(client)
        for number in range(MANY):
            await access.admit(subscription(uid=f"u{number}", service_account=f"a{number % accounts}"), [CONFIG_MAPS])
        now[0] += ROUND_SECONDS
        pid = control_plane.pids[API_SERVER]
        before, begun, cpu, own = await calls(client), time.monotonic(), cpu_seconds(pid), time.process_time()
        await access.look()
        lasted, used, mine = time.monotonic() - begun, cpu_seconds(pid) - cpu, time.process_time() - own
        asked = await calls(client) - before
    finally:
        await client.close()
    assert asked == 3 * accounts
    note(
        f"{MANY} subscriptions of {accounts} ServiceAccounts: {asked:.0f} reviews a round of {ROUND_SECONDS:g} s, "
        f"{asked / ROUND_SECONDS:.2f}/s; {asked / lasted:.0f}/s at most; "
        f"CPU per review {1000 * used / asked:.2f} ms API server, {1000 * mine / asked:.2f} ms operator"
    )
