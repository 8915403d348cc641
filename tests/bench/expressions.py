"""What expressions cost: events a second and milliseconds an event, for one and for many subscriptions to a resource.

    .venv/bin/python tests/bench/expressions.py

It drives ``Flow.sink`` with changes of one ConfigMap of about 1.3 kB in steps of 100, as a watch does; the outbox and
the network are not part of it. The second part is a hostile expression on an object of 300 kB, the third what a filter
waits beside 100 watches of another namespace with expressions that no limit ends.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hookline.expressions.evaluator import Evaluator
from hookline.expressions.expression import Expression, Question
from hookline.model import Change
from hookline.outbox.sqlite import SqliteStore
from hookline.settings import Settings
from support.samples import change, config_map, subscription
from unit.shared.test_flow import Whole

STEP = 100
WATCHES, EACH = 100, 10
ENDLESS = "TERMS.all(a, TERMS.all(b, TERMS.all(c, a + b + c > 0)))".replace("TERMS", str([1] * 66))
LONG = "TERMS.all(a, !object.data.s.contains('xxxxxxxxxxxxy'))".replace("TERMS", str([1] * 20))
HOSTILE = "object.l.map(x, object.data.s + object.data.s + object.data.s)"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def changes() -> list[Change]:
    def seen(number: int) -> dict[str, Any]:
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


async def beside(text: str) -> None:
    settings = Settings()
    large, small = change(obj=config_map(data={"s": "x" * 200_000})), change(obj=config_map(data={"s": "x"}))
    evaluator = Evaluator(
        settings.expression_limit_milliseconds / 1000,
        settings.expression_memory_bytes,
        settings.max_body_bytes,
        lambda _: None,
        settings.max_expression_share_per_namespace,
    )
    dear = [Expression(text, boolean=True, namespace="greedy") for _ in range(EACH)]
    plain = Expression("object.metadata.name == 'web'", boolean=True, namespace="modest")

    async def watch() -> None:
        for _ in itertools.count():
            await evaluator.answers([Question(large, dear)])
            await asyncio.sleep(0.01)  # as a step does that stores something

    async def wait() -> float:
        begun = time.perf_counter()
        await evaluator.answers([Question(small, [plain])])
        return time.perf_counter() - begun

    await wait()
    begun = time.perf_counter()
    await evaluator.answers([Question(large, dear[:1])])
    once = time.perf_counter() - begun
    watches = [asyncio.create_task(watch()) for _ in range(WATCHES)]
    taken: list[float] = []
    until = time.monotonic() + 30
    while time.monotonic() < until:
        await asyncio.sleep(0.05)  # the rate of the changes
        taken.append(await wait())
    off = sum(expression.fuse.blown for expression in dear)
    say(
        f"beside {WATCHES} watches with {EACH} expressions of {once * 1000:.0f} ms each: median "
        f"{statistics.median(taken) * 1000:.1f} ms, worst {max(taken) * 1000:.0f} ms; {off} are switched off"
    )
    for task in watches:
        task.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    await evaluator.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "outbox.db")
        await store.open()
        for expressions, steps in ((0, 50), (1, 50), (1000, 3)):
            await measure(store, expressions, steps)
        await hostile(store)
        await store.close()
    for text in (LONG, ENDLESS):
        await beside(text)


if __name__ == "__main__":
    asyncio.run(main())
