"""The heartbeat of the event loop."""

import asyncio

from hookline.observe.pulse import BEAT_SECONDS, Pulse
from support.turns import turns


async def test_a_loop_that_was_blocked_shows_for_how_long_at_least(monkeypatch):
    loop, pulse = asyncio.get_running_loop(), Pulse()
    real = loop.time
    running = asyncio.create_task(pulse.run())
    await turns()  # it sleeps until its first beat
    monkeypatch.setattr(loop, "time", lambda: real() + BEAT_SECONDS + 1.0)  # as after a call that took so long
    await turns()
    assert pulse.worst() >= 1.0
    assert pulse.lag >= 1.0
    running.cancel()


async def test_the_worst_lag_is_told_once():
    pulse = Pulse()
    pulse._worst = 7.0
    assert pulse.worst() == 7.0
    assert pulse.worst() == 0.0
