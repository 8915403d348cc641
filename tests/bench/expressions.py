"""What expressions cost: events a second and milliseconds an event, for one and for many subscriptions to a resource.

    .venv/bin/python tests/bench/expressions.py

It drives ``Flow.sink`` with changes of one ConfigMap of about 1.3 kB in steps of 100, as a watch does; the outbox and
the network are not part of it. The second part is a hostile expression on an object of 300 kB.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hookline.settings import Settings
from support.samples import change, config_map, subscription
from unit.shared.test_flow import SqliteStore, Whole

STEP = 100
HOSTILE = "object.l.map(x, object.data.s + object.data.s + object.data.s)"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def changes() -> list:
    def seen(number: int) -> dict:
        labels = {f"label-{k}": f"value-{k}" for k in range(10)}
        return config_map(f"web-{number}", version=str(10 + number), labels=labels, data={"a": "x" * 800, "n": number})

    return [change(obj=seen(number), old=seen(number)) for number in range(STEP)]


async def measure(store: SqliteStore, expressions: int, steps: int) -> None:
    whole = Whole(store, Settings())
    for number in range(expressions):
        text = f"object.data.n == {number} && object.metadata.labels['label-1'] == 'value-1'"
        await whole.activate(subscription(uid=f"uid-{number}", expression=text))
    if not expressions:
        await whole.activate(subscription(uid="uid"))
    told = changes()
    await whole.flow.sink(told)
    begun, own = time.perf_counter(), time.process_time()
    for _ in range(steps):
        await whole.flow.sink(told)
    taken, cpu = time.perf_counter() - begun, time.process_time() - own
    events = steps * STEP
    say(
        f"{expressions:5} expressions: {events / taken:9.0f} events/s, {taken / events * 1000:.3f} ms each, "
        f"{cpu / events * 1000:.3f} ms of them processor time of the operator"
    )
    if hasattr(whole.flow, "asked"):
        await whole.flow.asked.close()


async def hostile(store: SqliteStore) -> None:
    whole = Whole(store, Settings())
    await whole.activate(subscription(uid="hostile", expression=f"size({HOSTILE}) > 0"))
    await whole.activate(subscription(uid="honest", expression="object.metadata.name == 'web'"))
    large = config_map(data={"s": "x" * 300_000}) | {"l": list(range(1000))}
    await whole.flow.sink([change()])
    for turn in range(7):
        begun = time.perf_counter()
        messages = await whole.flow.sink([change(obj=large)])
        told = [message.subscription for message in messages]
        say(f"hostile, time {turn + 1}: {(time.perf_counter() - begun) * 1000:.0f} ms; told {told}")
    if hasattr(whole.flow, "asked"):
        await whole.flow.asked.close()
    for who, what in (("operator", resource.RUSAGE_SELF), ("largest child", resource.RUSAGE_CHILDREN)):
        say(f"peak memory of the {who}: {resource.getrusage(what).ru_maxrss // 1024} MiB")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "outbox.db")
        await store.open()
        for expressions, steps in ((0, 50), (1, 50), (1000, 3)):
            await measure(store, expressions, steps)
        await hostile(store)
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
