"""Whose token is whose, how often a stream is opened again, and when a tunnel is no longer one."""

from __future__ import annotations

import asyncio
import base64
import json
import sys

import pytest

from hookline.cli.remote import LONGEST_PAUSE, Pace, audiences
from hookline.cli.tunnel import Tunnel


def jwt(claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize(
    ("token", "found"),
    [
        (jwt({"aud": ["hookline.dev"]}), ("hookline.dev",)),
        (jwt({"aud": "hookline.dev"}), ("hookline.dev",)),
        (jwt({"aud": ["https://kubernetes.default.svc"]}), ("https://kubernetes.default.svc",)),
        (jwt({}), ()),
        (jwt({"aud": 7}), ()),
        (jwt([]), ()),
        ("opaque", ()),
        ("a.b.c", ()),
        ("a.!!!.c", ()),
        ("a.ü.c", ()),
    ],
)
def test_the_audiences_of_a_token_are_those_that_it_names(token, found):
    assert audiences(token) == found


def test_streams_that_end_at_once_are_opened_more_and_more_seldom():
    pace = Pace()
    assert [pace.after(0.1) for _ in range(7)] == [0.5, 1, 2, 4, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert pace.after(60) == 0, "a stream that lived is opened again at once"
    assert pace.after(0.1) == 0.5


async def test_a_tunnel_whose_child_is_gone_is_none():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    tunnel = Tunnel("http://127.0.0.1:1", process)
    tunnel.check()
    process.kill()
    await process.wait()
    with pytest.raises(ConnectionError, match="kubectl port-forward has ended"):
        tunnel.check()
