"""Claims about looking again at Secrets and ConfigMaps by name."""

from __future__ import annotations

from typing import Any

from hookline.controller.polled import Polled
from hookline.errors import ApiError


class Cluster:
    """Has whatever is asked for, in the version ``version``; notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.version = "1"
        self.failing = ""

    async def request(self, method: str, path: str, **_: Any) -> Any:
        self.asked.append(path.split("/")[4])
        if self.failing and self.failing in path:
            raise ApiError(500, "no usable answer")
        return {"metadata": {"resourceVersion": self.version}}


async def test_a_change_is_told_before_the_rest_of_another_namespace_is_looked_at():
    cluster, told = Cluster(), list[tuple[str, int]]()
    polled = Polled(cluster, lambda names: told.extend((name[1], len(cluster.asked)) for name in names))
    for number in range(1000):
        await polled.read(("secrets", "loud", f"s{number}"))
    await polled.read(("secrets", "quiet", "s"))
    cluster.asked.clear()
    cluster.version = "2"
    await polled.poll()
    assert dict(reversed(told))["quiet"] == 2, "the second that was looked at"
    assert len(told) == 1001


async def test_one_that_can_not_be_looked_at_keeps_nobody_from_being_told():
    cluster, told = Cluster(), list[tuple[str, str, str]]()
    polled = Polled(cluster, told.extend)
    names = [("secrets", "shop", name) for name in ("a", "b")]
    for name in names:
        await polled.read(name)
    cluster.version, cluster.failing = "2", "/secrets/a"
    await polled.poll()
    assert told == names[1:]
    cluster.failing = ""
    await polled.poll()
    assert told[1:] == names, "each time until somebody reads it"
