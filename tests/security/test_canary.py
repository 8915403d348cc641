"""Claims about where requests can be made to go, judged by a listener that owns the forbidden addresses.

``support.canary`` runs the real client in a process of its own, in a network namespace where that is permitted, and on
two addresses of the loopback everywhere. ``HOOKLINE_CORPORA`` adds published collections (docs/security.md).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
FIELDS = ("destination", "spec", "urlFrom", "tokenUrl")
NAMESPACES = (["unshare", "-rn"], ["unshare", "-n"], ["sudo", "-n", "unshare", "-n"])


def _namespace() -> list[str] | None:
    """The command that runs another one in an empty network namespace; None where nobody may."""
    if shutil.which("ip") is None:
        return None
    for command in NAMESPACES:
        if shutil.which(command[0]):
            done = subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
            if done.returncode == 0:
                return command
    return None


def _run(mode: str, prefix: list[str]) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "support.canary", mode], capture_output=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["loopback", "netns"])
def report(request) -> Any:
    if request.param == "loopback":
        return _run("loopback", [])
    prefix = _namespace()
    if prefix is None:
        pytest.skip("no network namespace may be made here; the same claims are tested on the loopback")
    return _run("netns", prefix)


pytestmark = pytest.mark.timeout(900)


def test_no_spelling_of_a_forbidden_address_reaches_it_by_any_field(report):
    for name, ways in report["guarded"].items():
        assert {way: found["accepts"] for way, found in ways.items()} == dict.fromkeys(
            [*FIELDS, "Location", "answer"], 0
        ), name
    for field in FIELDS:
        assert report["guarded"]["generated"][field]["urls"] > 5000


def test_the_same_urls_reach_it_without_the_guard(report):
    """The control: other clients, and ours when everything is allowed."""
    controls = report["control"]["generated"]
    assert set(controls) == {f"control {name}" for name in ("aiohttp", "httpx", "urllib", "Location", *FIELDS)}
    for name, found in controls.items():
        assert found["accepts"] > found["urls"] // 20, name


def test_a_name_that_changes_its_address_reaches_nothing_and_is_looked_up_once_for_each_attempt(report):
    found = report["rebindings"]
    assert found["rebinding"]["accepts"] == 0
    assert found["rebinding"]["urls"] == found["rebinding"]["lookups"] == 1000
    assert found["rebinding"]["delivered"] > 100  # those answered with the good address alone, on the receiver's port
    assert found["control"]["accepts"] > 900


def test_the_forbidden_blocks_were_really_there(report):
    if report["mode"] == "netns":
        assert report["blocks"] > 30
        assert {"169.254.169.254", "10.0.0.1", "192.0.0.192", "fd00::1"} <= set(report["reached"])
    else:
        assert {"127.0.0.1", "127.0.0.2"} <= set(report["reached"])
