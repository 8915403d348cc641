"""The heartbeat of the event loop."""

import asyncio
import time

from hookline.observe.pulse import BEAT_SECONDS, Pulse


async def test_a_loop_that_was_blocked_shows_for_how_long_at_least():
    pulse = Pulse()
    running = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    time.sleep(BEAT_SECONDS + 1.0)  # noqa: ASYNC251 (the defect that is to be noticed)
    async with asyncio.timeout(30):
        while not pulse.lag:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
    assert pulse.worst() >= 1.0
    assert pulse.lag >= 1.0
    running.cancel()


async def test_the_worst_lag_is_told_once():
    pulse = Pulse()
    pulse._worst = 7.0
    assert pulse.worst() == 7.0
    assert pulse.worst() == 0.0
