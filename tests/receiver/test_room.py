"""Claims about the room for bodies: whom a newcomer finds in it, and who makes way."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from hookline.receiver.room import Full, Room


class Hall:
    """A room, and people in it who read until they are told to go."""

    def __init__(self, clock, places: int) -> None:
        self.clock = clock
        self.room = Room(places, patience=1.0, clock=clock)
        self.gone: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, name: str, address: str, *, arrived: bool = False) -> None:
        """Somebody begins a body; with ``arrived`` it is there at once, and is being verified. Raises Full."""
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def read() -> None:
            with contextlib.ExitStack() as stack:
                try:
                    place = stack.enter_context(self.room.enter(address))
                except Full as error:
                    entered.set_exception(error)
                    return
                try:
                    async with asyncio.timeout(None) as deadline:
                        place.deadline = None if arrived else deadline
                        entered.set_result(None)
                        await asyncio.Event().wait()
                except TimeoutError:
                    self.gone.append(name)

        self._tasks.append(asyncio.create_task(read()))
        await entered
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def hall(clock):
    hall = Hall(clock, places=3)
    yield hall
    await hall.end()


async def fill(hall: Hall, *addresses: str) -> None:
    for number, address in enumerate(addresses):
        await hall.come(f"{address}{number}", address)
        hall.clock.now += 0.1


async def test_nobody_makes_way_while_there_is_a_place(hall):
    await fill(hall, "a", "a", "a")
    assert hall.gone == []


async def test_in_a_full_room_the_oldest_of_the_address_with_most_bodies_makes_way(hall):
    await fill(hall, "b", "a", "a")
    await hall.come("c", "c")
    assert hall.gone == ["a1"]


async def test_who_has_as_much_of_the_room_as_others_can_not_push_them_out(hall):
    """Behind a proxy all have one address."""
    for addresses in (("a", "a", "a"), ("a", "b", "c"), ("b", "b", "a")):
        await fill(hall, *addresses)
        with pytest.raises(Full):
            await hall.come("late", "a")
        assert hall.gone == []
        await hall.end()


async def test_but_who_had_his_time_makes_way_for_anybody(hall):
    await fill(hall, "a", "a", "a")
    hall.clock.now += 0.8
    await hall.come("late", "a")
    assert hall.gone == ["a0"]
    with pytest.raises(Full):
        await hall.come("later", "a")


async def test_a_body_that_has_arrived_keeps_its_place(hall):
    for number in range(3):
        await hall.come(f"a{number}", "a", arrived=True)
    hall.clock.now += 100
    with pytest.raises(Full):
        await hall.come("late", "b")


async def test_a_place_that_was_left_is_free(hall):
    await fill(hall, "a", "a", "a")
    await hall.end()
    await fill(hall, "b", "b", "b")
    assert hall.gone == []
