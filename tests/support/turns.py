"""Turns of the event loop: for what must not have happened yet, which nobody can tell of."""

from __future__ import annotations

import asyncio


async def turns(number: int = 20) -> None:
    """Let every task that can go on do so, some steps far. No time passes."""
    for _ in range(number):
        await asyncio.sleep(0)
