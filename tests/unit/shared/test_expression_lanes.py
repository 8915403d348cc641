"""Turns at the one child: who asks little never waits for all that another asks."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from hookline.expressions.lanes import Lanes


class Turns:
    """Lanes on a clock of their own; ``order`` says who had the turns, each of which takes 1 s if nothing else."""

    def __init__(self, **seconds: float) -> None:
        self._seconds = seconds
        self.now = 0.0
        self.order: list[str] = []
        self.lanes = Lanes(lambda: self.now)
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, *lanes: str) -> list[asyncio.Task[None]]:
        """Line up for turns of these lanes, in this order."""
        made = [asyncio.create_task(self._turn(lane)) for lane in lanes]
        self._tasks += made
        await asyncio.sleep(0)  # they begin
        return made

    async def done(self) -> str:
        """The order, when all had their turn."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return "".join(self.order)

    async def _turn(self, lane: str) -> None:
        await self.lanes.begin(lane)
        self.order.append(lane)
        await asyncio.sleep(0)  # others ask meanwhile
        self.now += self._seconds.get(lane, 1.0)
        self.lanes.end()


async def test_who_comes_last_waits_for_the_turn_under_way_and_not_for_a_lane():
    turns = Turns()
    await turns.ask(*"gggggggggg", "v")
    assert await turns.done() == "gv" + "g" * 9


async def test_in_one_lane_it_is_first_come_first_served():
    """The control: without a lane of its own the last one waits for all."""
    turns = Turns()
    tasks = await turns.ask(*["g"] * 10)
    await turns.done()
    assert turns.order == ["g"] * 10
    assert all(task.done() for task in tasks)
    ended: list[int] = []

    def note(number: int, _: object) -> None:
        ended.append(number)

    again = await turns.ask(*["g"] * 5)
    for number, task in enumerate(again):
        task.add_done_callback(partial(note, number))
    await turns.done()
    await asyncio.sleep(0)  # the callbacks
    assert ended == [0, 1, 2, 3, 4]


async def test_each_busy_lane_has_at_most_one_turn_before_a_newcomer():
    turns = Turns()
    await turns.ask(*"abcdabcdabcd")
    await turns.ask("v")
    order = await turns.done()
    before = order[: order.index("v")]
    assert max(before.count(lane) for lane in "abcd") == 1
    assert sorted(order) == sorted("abcdabcdabcdv")


async def test_lanes_share_the_time_and_not_the_number_of_turns():
    turns = Turns(d=10.0)
    await turns.ask(*"xdddd", *"c" * 20)
    assert await turns.done() == "xd" + "c" * 10 + "d" + "c" * 10 + "dd"


async def test_to_have_been_away_gives_no_right_to_all_turns():
    turns = Turns()
    await turns.ask(*"aaaaa")
    await turns.done()
    await turns.ask(*"aaaa", *"bbbb")
    assert (await turns.done())[5:] in ("abababab", "abbababa", "abbaabba")


@pytest.mark.parametrize("place", [0, 1, 2, 3])
async def test_who_gives_up_disturbs_nobody(place: int):
    turns = Turns()
    tasks = await turns.ask(*"gggv")
    tasks[place].cancel()
    if place == 0:  # in the middle of its turn, which nobody ended
        await asyncio.gather(tasks[0], return_exceptions=True)
        turns.lanes.end()
    order = await turns.done()
    assert len(order) == 4 - (place != 0)
    await turns.ask("n")
    assert (await turns.done()).endswith("n"), "and the turn is free again"


async def test_a_turn_that_was_given_to_one_who_gave_up_goes_on():
    lanes = Lanes()
    await lanes.begin("a")
    given_up, other = (asyncio.create_task(lanes.begin(lane)) for lane in "bc")
    await asyncio.sleep(0)  # both wait
    lanes.end()  # it is given the turn,
    given_up.cancel()  # and is gone before it knows
    await asyncio.gather(given_up, return_exceptions=True)
    await asyncio.wait_for(other, 30)
    lanes.end()


async def test_lanes_that_were_used_once_are_forgotten():
    turns = Turns()
    keep = asyncio.create_task(turns.lanes.begin("busy"))
    await keep
    for number in range(2000):
        waiting = await turns.ask(f"n{number}", "busy")
        if number == 0:
            turns.lanes.end()
        await asyncio.gather(*waiting[:1])
    assert len(turns.lanes._stand) < 1000
    await turns.done()


async def test_there_is_no_turn_to_end_when_none_began():
    with pytest.raises(RuntimeError, match="no turn"):
        Lanes().end()
