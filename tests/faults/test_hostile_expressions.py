"""What a tenant's expression can cost: a bounded time and memory, its own events, and nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hookline.errors import EvaluationError, ExpressionError, RenderError
from hookline.expressions import budget, child
from hookline.expressions.expression import SLOW_TIMES, Expression, Question
from hookline.expressions.worker import Cause, Death, Worker
from support.cluster import eventually
from support.evaluating import MIB, evaluating
from support.samples import change, config_map

LARGE = change(obj=config_map(data={"s": "x" * 300_000}, l=list(range(900))))
MEMORY_BOMB = "size(object.l.map(x, object.data.s + object.data.s + object.data.s)) > 0"
# Within the budget of 10,000 iterations.
DIGITS = "[0,1,2,3,4,5,6,7,8,9]"
LONG = f"object.l.all(a, {DIGITS}.all(b, size(object.data.s) > a))"
# No limit ends it: it fails by itself when it has used up the iterations, every time anew.
WITHIN = "TERMS.all(a, TERMS.all(b, TERMS.all(c, a + b + c > 0)))".replace("TERMS", str([1] * 66))
HONEST = Expression("object.metadata.name == 'web'", boolean=True)


def compile_bomb(depth: int) -> str:
    """Types that double with each level: the compiler needs gigabytes for less than 450 characters."""
    text, before = "", "{1: 1}"
    for number in range(depth):
        text += f"cel.bind(v{number}, {before}, "
        before = f"{{v{number}: v{number}}}"
    return text + before + ")" * depth


async def test_a_memory_bomb_is_killed_and_an_honest_expression_beside_it_is_answered():
    hostile = Expression(MEMORY_BOMB, boolean=True)
    async with evaluating(seconds=20.0, memory=256 * MIB) as cel:
        before, failed, after = await cel.answers(LARGE, HONEST, hostile, HONEST)
        assert (before, after) == (True, True)
        assert isinstance(failed, EvaluationError)
        assert "too much memory for one object: more than 256 MiB" in str(failed)
        assert cel.deaths == [Cause.MEMORY, Cause.MEMORY], "the second time alone, so that it is known who it was"


async def test_without_the_limit_the_same_expression_takes_several_times_as_much():
    """The control, itself bounded: 256 MiB do not suffice, 2 GiB are taken in large part."""
    async with evaluating(seconds=60.0, memory=2048 * MIB) as cel:
        peak = 0
        task = asyncio.create_task(cel.answers(LARGE, MEMORY_BOMB))
        while not task.done():
            if cel.evaluator._worker is not None:
                peak = max(peak, resident(cel.evaluator._worker._process.pid))
            await asyncio.sleep(0.002)  # a sampling rate: it is the task that is waited for
        await task
    assert peak > 2 * 256 * MIB


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def test_an_expression_that_works_too_long_is_killed_at_once_and_counted_on_its_fuse_alone():
    hostile = Expression(LONG, boolean=True)
    async with evaluating(seconds=0.1) as cel:
        answers = await cel.answers(LARGE, *[HONEST, hostile] * (SLOW_TIMES + 2))
        assert answers[::2] == [True] * (SLOW_TIMES + 2)
        texts = [str(answer) for answer in answers[1::2]]
        assert ["took too long for one object: more than 100 ms of processor time" in text for text in texts] == [
            True
        ] * SLOW_TIMES + [False] * 2
        assert all("not evaluated any more" in text for text in texts[SLOW_TIMES:])
        assert cel.deaths == [Cause.TIME] * SLOW_TIMES, "it is known without a second try who it was"
        assert not HONEST.fuse.blown


async def test_with_enough_time_the_same_expression_ends():
    """The control: it is the limit that ends it, and nothing in it."""
    async with evaluating(seconds=120.0) as cel:
        assert await cel.answers(LARGE, Expression(LONG, boolean=True)) == [True]
        assert cel.deaths == []


async def test_the_event_loop_goes_on_while_an_expression_works():
    async with evaluating(seconds=0.5) as cel:
        await cel.answers(LARGE, HONEST)
        task = asyncio.create_task(cel.answers(LARGE, LONG))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.001)  # what is counted
            turns += 1
    assert turns > 20


async def test_two_that_ask_at_once_take_turns():
    """Who asks much gives way after each portion: the other's one question does not wait for all of them."""
    dear = Expression("object.l.all(a, size(object.data.s.replace('x', 'y')) > a)", boolean=True)
    small = change(obj=config_map(data={"s": "x" * 3000}, l=list(range(200))))
    async with evaluating() as cel:
        await cel.answers(change(), HONEST)
        much = asyncio.create_task(cel.answers(small, *[dear] * 1000))
        await asyncio.sleep(0)  # let it ask first
        assert await cel.answers(change(), HONEST) == [True]
        assert not much.done()
        much.cancel()
        await asyncio.gather(much, return_exceptions=True)
        assert await cel.answers(change(), HONEST) == [True], "a question that was given up disturbs no other"


@pytest.mark.parametrize(("namespace", "place"), [("modest", 1), ("greedy", 40)], ids=["another", "its own"])
async def test_expressions_that_stay_within_the_limit_hold_up_their_own_namespace_alone(namespace: str, place: int):
    """40 watches of one namespace with expressions that no limit ends, and one watch that asks last."""
    async with evaluating() as cel:
        await cel.answers(change(), HONEST)
        ended: list[str] = []

        async def watch(who: str, text: str) -> None:
            asked = [Expression(text, boolean=True, namespace=who)] * 2
            [answers] = await cel.evaluator.answers([Question(change(), asked)])
            assert all(answer is True or "budget" in str(answer) for answer in answers)
            ended.append(text)

        watches = [asyncio.create_task(watch("greedy", WITHIN)) for _ in range(40)]
        await asyncio.sleep(0)  # let them ask first
        watches.append(asyncio.create_task(watch(namespace, HONEST.text)))
        await asyncio.gather(*watches)
        assert ended.index(HONEST.text) == place
        assert cel.deaths == []


async def test_a_namespace_that_takes_all_the_time_it_can_get_is_cut_to_its_share(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budget, "BURST_SECONDS", 0.05)
    monkeypatch.setattr(budget, "EVIDENCE_SECONDS", 0.02)
    monkeypatch.setattr(budget, "DEAR_SECONDS", 0.0001)  # however fast the machine is
    for share, switched_off in ((0.001, True), (0.0, False)):  # with the control
        async with evaluating(share=share) as cel:
            dear, honest = (Expression(text, boolean=True, namespace="greedy") for text in (WITHIN, HONEST.text))
            for _ in range(400):
                await cel.answers(change(), dear)
            assert dear.fuse.blown is switched_off
            assert await cel.answers(change(), honest) == [True], "its siblings go on"


async def test_too_large_a_result_is_refused_by_its_size():
    async with evaluating(limit=100_000) as cel:
        [answer] = await cel.answers(LARGE, "object.data.s")
        assert isinstance(answer, RenderError)
        assert (answer.reason, str(answer)) == ("too_large", "the transform yields 300002 bytes, the limit is 100000")
        assert cel.deaths == []


async def test_endless_iteration_and_deep_recursion_fail_within_the_child():
    nested = "size(" + f"{DIGITS}.map(a, " * 6 + "a" + ")" * 6 + ") > 0"
    async with evaluating() as cel:
        with pytest.raises(EvaluationError, match="budget"):
            await cel.holds(nested, change())
        for text in ("(" * 2000 + "1" + ")" * 2000, "object" + ".a" * 2000, "[" * 2000 + "]" * 2000):
            with pytest.raises(ExpressionError, match="recursion"):
                await cel.check(text, "f", boolean=False)
        assert cel.deaths == []


@pytest.mark.parametrize("depth", [20, 28])
async def test_what_can_not_be_compiled_in_bounds_is_refused(depth: int):
    async with evaluating() as cel:
        assert len(compile_bomb(depth)) < 1000
        with pytest.raises(ExpressionError, match="f: takes too much time or memory to compile"):
            await cel.check(compile_bomb(depth), "f", boolean=True)
        assert cel.deaths
        await cel.check(HONEST.text, "f", boolean=True)


def test_compiling_takes_gigabytes_where_nothing_bounds_it():
    """The control, itself bounded to 1.5 GiB, which do not suffice."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1536 << 20,) * 2)\n"
        "from hookline.expressions.child import Child\n"
        "try:\n Child(lambda _: None)._environment.compile(sys.argv[1])\n"
        "except MemoryError:\n print('no memory left')"
    )
    done = subprocess.run([sys.executable, "-c", code, compile_bomb(20)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "no memory left", done.stderr


# The child as a process.


async def test_a_child_that_is_killed_while_it_is_idle_is_nobodys_fault():
    async with evaluating() as cel:
        lonely = Expression(HONEST.text, boolean=True)
        assert await cel.answers(change(), lonely) == [True]
        assert cel.evaluator._worker is not None
        os.kill(cel.evaluator._worker._process.pid, signal.SIGKILL)
        assert await cel.answers(change(), lonely) == [True]
        assert cel.deaths == [Cause.CRASH]
        assert len(lonely.fuse._slow) == 0


async def test_a_child_that_stands_still_is_given_up():
    worker = await Worker.start(512 * MIB)
    os.kill(worker._process.pid, signal.SIGSTOP)
    with pytest.raises(Death) as caught:
        await worker.ask(b"anything", 0.2)
    assert caught.value.cause is Cause.SILENT
    await worker.end()
    assert worker._process.returncode == -signal.SIGKILL


async def test_a_child_has_no_environment_no_descriptor_and_limits():
    os.environ["HOOKLINE_TEST_SECRET"] = "a secret"
    opened = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(opened, True)
    worker = await Worker.start(100 * MIB)
    try:
        own = Path(f"/proc/{worker._process.pid}")
        environment = (own / "environ").read_bytes()
        assert b"SECRET" not in environment
        assert b"PATH" not in environment
        targets = sorted(str(entry.readlink()).split(":")[0] for entry in (own / "fd").iterdir())
        assert targets == ["/dev/null", "/memfd", "pipe", "pipe"]  # errors, the page, input, output
        limits = (own / "limits").read_text()
        assert "Max core file size        0 " in limits
        address_space = next(line for line in limits.splitlines() if line.startswith("Max address space"))
        assert int(address_space.split()[3]) < 300 * MIB
        assert (own / "oom_score_adj").read_text().strip() == "1000"
        modules = (own / "maps").read_text()
        assert "cel" in modules
        assert "aiohttp" not in modules
    finally:
        os.close(opened)
        del os.environ["HOOKLINE_TEST_SECRET"]
        await worker.end()


ORPHANS = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
from hookline.expressions.expression import Expression
from support.evaluating import evaluating
from support.samples import change, config_map

def used(pid):  # ticks of processor time
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[11])

async def main():
    async with evaluating(seconds=float(sys.argv[3])) as cel:
        await cel.answers(change(), "1")
        spare = await cel.evaluator._spare
        task = asyncio.create_task(cel.answers(change(obj=config_map(data={"s": "x" * 300_000}, l=[*range(1000)])),
                                               Expression(sys.argv[2], True)))
        busy = cel.evaluator._worker._process.pid
        begun = used(busy)
        while used(busy) < begun + 2:
            assert not task.done()
            await asyncio.sleep(0.005)
        print(busy, spare._process.pid, flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_children_end_with_the_parent_idle_ones_at_once_and_busy_ones_at_their_limit():
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS, tests, LONG, "1.0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    eventually(lambda: not any(map(is_running, pids)), "they are gone", 60)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_parent_never_loads_cel():
    code = "import sys, hookline.rooms; print([name for name in sys.modules if name.startswith('cel')])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def test_a_compilers_message_of_any_length_becomes_a_short_one():
    assert len(child.positioned("<input>:1:2: bad\n" * 10_000)) == child.MESSAGE_LIMIT
    assert child.positioned("x" * 10_000) == "x" * child.MESSAGE_LIMIT


# The whole.


def test_a_hostile_subscription_fails_alone_and_the_operator_lives(
    make_operator, subscriptions, receiver, kubectl, namespace
):
    operator = make_operator().start()
    made = "object.data.s.split('').map(x, object.data.s + object.data.s)"
    subscriptions.ready("hostile", filter={"expression": f"size({made}) > 0"})
    subscriptions.ready("honest", filter={"expression": "size(object.data.s) == 9000"})
    subscriptions.apply("bomb", filter={"expression": compile_bomb(20)})
    assert "too much time or memory to compile" in subscriptions.wait("InvalidExpression", name="bomb", kind="Accepted")
    for number in range(SLOW_TIMES + 1):
        kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"large-{number}"},
                "data": {"s": "x" * 9000},
            },
            namespace=namespace,
        )
    eventually(lambda: len(receiver.requests) == SLOW_TIMES + 1, "the honest one's events")
    assert {request.target for request in receiver.requests} == {"/honest"}
    assert operator.metric('hookline_events_dropped_total{reason="expression_failed"}') == SLOW_TIMES + 1
    assert operator.metric('hookline_expression_worker_restarts_total{cause="time"}') >= SLOW_TIMES
    dropped = eventually(lambda: subscriptions.get("hostile")["status"].get("lastDrop"), "it is told")
    assert dropped["reason"] == "ExpressionFailed"
    assert operator.process.poll() is None
    assert operator.get("/healthz")[0] == 200
