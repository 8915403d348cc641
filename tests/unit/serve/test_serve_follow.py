"""How long a stream goes on while nobody can be asked whether it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hookline.serve import follow, shapes
from hookline.serve.refusals import Refused, too_many, unauthorized, unavailable
from hookline.stored import DeliveryState

OWNER = shapes.Owner("shop", "orders")


class Nothing:
    """An outbox in which nothing happens."""

    async def follow(self, uid, told):
        return lambda: None


class Stream:
    """A stream whose clock goes on with each check; ``answers`` are what the checks come to, the last one for ever."""

    def __init__(self, *answers):
        self.now = 0.0
        self.answers = list(answers)
        self.checks = []

    async def check(self):
        self.checks.append(self.now)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer

    async def until_its_end(self, monkeypatch):
        """When it ended, and by which refusal."""

        async def asleep(_):
            self.now += 0.5

        monkeypatch.setattr(asyncio, "sleep", asleep)
        reader: Any = Nothing()
        follower = follow.Follower(reader, OWNER, "uid", frozenset(DeliveryState), lambda: self.now)

        async def woken(until):
            self.now = max(self.now, min(until, self.now + 0.5))

        monkeypatch.setattr(follower, "_woken", woken)
        try:
            async for _ in follower._lines(0, 60.0, self.check):
                pass
        except Refused as refused:
            return self.now, refused.code
        return self.now, 200


@pytest.mark.parametrize("busy", [too_many("x"), unavailable("x")], ids=["429", "503"])
class TestNobodyCanBeAsked:
    async def test_for_a_time_ends_no_stream(self, monkeypatch, busy):
        stream = Stream(None, busy, busy, None, busy, None)
        assert (await stream.until_its_end(monkeypatch))[1] == 200
        assert len(stream.checks) > 10

    async def test_since_the_last_good_check_for_longer_ends_it(self, monkeypatch, busy):
        stream = Stream(None, busy)
        ended, code = await stream.until_its_end(monkeypatch)
        assert code == busy.code
        assert stream.checks[0] + follow.GRACE_SECONDS <= ended < stream.checks[0] + follow.GRACE_SECONDS + 2.0

    async def test_before_it_is_refused_ends_it_at_once(self, monkeypatch, busy):
        stream = Stream(busy, unauthorized("x"))
        ended, code = await stream.until_its_end(monkeypatch)
        assert (code, len(stream.checks)) == (401, 2)
        assert ended < follow.GRACE_SECONDS


async def test_a_stream_whose_reader_is_slow_is_checked_between_its_parts(monkeypatch):
    now, reads = [0.0], []

    class Slow:
        async def some(self, uid, ids):
            reads.append(now[0])
            return {}

    async def refused() -> None:
        raise Refused(403, "Forbidden", "the right is gone")

    reader: Any = Slow()
    stream = follow.Follower(reader, OWNER, "uid", frozenset(DeliveryState), lambda: now[0])
    monkeypatch.setattr(stream, "_tell", lambda ident, delivery: b"line\n")
    for number in range(500):
        stream.told(str(number))

    async def read_slowly() -> None:
        async for _ in stream._lines(0, 600, refused):
            now[0] += 29.0

    with pytest.raises(Refused):
        await read_slowly()
    assert reads == [0.0]
