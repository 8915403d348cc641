"""Objects made to break whoever reads them: each is told or counted with a reason, and harms nobody else.

Short: 300 poison objects through the real API server. Full: 10,000. What the API server would not take is fed to the
watch's decoder and teller as lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from hookline.errors import ApiError
from hookline.kube import KubeClient
from hookline.model import Scope
from hookline.outbox.sqlite import SqliteStore
from hookline.watch import wire
from hookline.watch.ledger import Ledger
from hookline.watch.teller import Teller
from support.cluster import eventually
from support.scale import note, scale
from support.watching import CONFIG_MAPS, Recorder, install

COUNT = scale(300, 10_000)
HEALTHY_EVERY = 10
LARGE_EVERY = scale(30, 200)
LIMIT = 262_144
TOLD = "told"


@dataclass(frozen=True)
class Poison:
    """``spec`` is JSON as written; ``fate`` is TOLD or the reason with which the plain subscription drops it."""

    spec: str
    fate: str = TOLD
    annotations: str = "{}"


def nested(depth: int, opening: str = '{"a":', inside: str = "1", closing: str = "}") -> str:
    return opening * depth + inside + closing * depth


SURROGATE = '"\\ud800"'
POISON: dict[str, Callable[[], Poison]] = {
    "nested 100 deep": lambda: Poison(nested(100)),
    "nested 400 deep": lambda: Poison(nested(400), "not_encodable"),
    "nested 2000 deep": lambda: Poison(nested(2000), "not_decodable"),
    "lists 2000 deep": lambda: Poison(f'{{"a": {nested(2000, "[", "0", "]")}}}', "not_decodable"),
    "an int of 64 bits": lambda: Poison('{"n": 9223372036854775807, "m": -9223372036854775808}'),
    "an int of 65 bits": lambda: Poison('{"n": 18446744073709551616}'),
    "an int of 300 digits": lambda: Poison(f'{{"n": {"9" * 300}}}'),
    "the largest float": lambda: Poison('{"n": 1.7976931348623157e308, "m": 5e-324, "z": -0.0}'),
    "a lone surrogate": lambda: Poison(f'{{"n": {SURROGATE}, "a{SURROGATE[1:-1]}": 1}}'),
    "swapped surrogates": lambda: Poison('{"n": "\\udc00\\ud800"}'),
    "NUL in keys and values": lambda: Poison('{"n": "a\\u0000b", "\\u0000": "\\u0000"}'),
    "control characters": lambda: Poison('{"n": "\\u0001\\u001b[31m\\r\\n\\u2028\\u2029\\ufeff\\uffff"}'),
    "all planes": lambda: Poison(json.dumps({"n": "\U0010ffff\U0001f4a9é" * 50})),
    "empty names": lambda: Poison('{"": {"": {"": []}}}'),
    "__proto__": lambda: Poison('{"__proto__": {"x": 1}, "constructor": 1, "__class__": {}}'),
    "types where others expect maps": lambda: Poison('{"n": [1, "2", null, true, {}], "metadata": 1, "spec": null}'),
    "nulls": lambda: Poison('{"n": null, "m": {"x": null}}'),
    "a text template": lambda: Poison('{"n": "{{.}} ${jndi:ldap://x} %s %n {0.__class__}"}'),
    "2,000 keys": lambda: Poison(json.dumps({f"k{number}": number for number in range(2000)})),
    "hostile annotations": lambda: Poison("{}", annotations=json.dumps({"a/b": "\r\nX-Evil: 1\u0000\u202e", "c": "é"})),
}
LARGE = Poison(json.dumps({"n": "x" * 1_000_000}), "too_large")


def poison(number: int) -> Poison:
    if number % LARGE_EVERY == LARGE_EVERY - 1:
        return LARGE
    return list(POISON.values())[number % len(POISON)]()


def body_of(name: str, kind: str, api_version: str, spec: str, annotations: str = "{}") -> bytes:
    head = f'{{"apiVersion": "{api_version}", "kind": "{kind}"'
    metadata = f'"metadata": {{"name": "{name}", "annotations": {annotations}}}'
    return f'{head}, {metadata}, "spec": {spec}}}'.encode()


@dataclass
class Made:
    """What the API server took: names by their fate; ``refused`` are those that it did not."""

    by_fate: dict[str, list[str]]
    refused: Counter[str]


async def make_all(kubeconfig: Path, namespace: str, resource) -> Made:
    made = Made({TOLD: []}, Counter())
    waiting = iter(range(COUNT))
    client = await KubeClient.connect(str(kubeconfig))

    async def make(name: str, one: Poison) -> None:
        body = body_of(name, resource.kind, resource.api_version, one.spec, one.annotations)
        try:
            # Raw: what is sent here no JSON encoder would write.
            await client._exchange(
                "POST", resource.path(namespace), 30, headers={"Content-Type": "application/json"}, data=body
            )
        except ApiError as error:
            made.refused[str(error)[:60]] += 1
        else:
            made.by_fate.setdefault(one.fate, []).append(name)

    async def work() -> None:
        for number in waiting:
            await make(f"{number}-{'x' * (200 if number % 7 == 0 else 1)}", poison(number))
            if number % HEALTHY_EVERY == 0:
                await make(f"healthy-{number}", Poison('{"n": 1, "healthy": true}'))

    try:
        await asyncio.gather(*(work() for _ in range(8)))
    finally:
        await client.close()
    return made


async def installed(kubeconfig: Path):
    client = await KubeClient.connect(str(kubeconfig))
    try:
        return await install(client)
    finally:
        await client.close()


def test_poison_objects_are_told_or_counted_and_healthy_ones_are_unharmed(
    make_operator, control_plane, namespace, subscriptions, receiver
):
    operator = make_operator("--max-body-bytes", str(LIMIT)).start()
    process = operator.process
    resource = asyncio.run(installed(control_plane.kubeconfig))
    source = {"apiVersion": resource.api_version, "kind": resource.kind}
    subscriptions.ready("plain", sources=[source], delivery={"maxInFlight": 16})
    picky = {"filter": {"expression": "object.spec.n > 0 && object.spec.healthy"}}
    subscriptions.ready("picky", sources=[source], delivery={"maxInFlight": 16}, **picky)
    shaped = {"payload": {"format": "Raw", "transform": "{'name': object.metadata.name, 'n': object.spec.n}"}}
    subscriptions.ready("shaped", sources=[source], delivery={"maxInFlight": 16}, **shaped)
    made = asyncio.run(make_all(control_plane.kubeconfig, namespace, resource))
    healthy = {name for name in made.by_fate[TOLD] if name.startswith("healthy")}
    assert len(healthy) == -(-COUNT // HEALTHY_EVERY)
    expected = Counter({fate: len(names) for fate, names in made.by_fate.items() if fate != TOLD})

    names: dict[str, set[str]] = defaultdict(set)
    looked: list[str] = []

    def named(path):
        """The names that a subscription was told of so far; each body is read once, some are large."""
        requests = receiver.requests
        for request in itertools.islice(requests, len(looked), None):
            body = json.loads(request.body)
            names[request.target].add(body["name"] if "name" in body else body["data"]["object"]["metadata"]["name"])
            looked.append(request.id)
        return names[path]

    eventually(lambda: healthy <= named("/picky"), "the picky one's healthy events", scale(60, 600))
    eventually(lambda: healthy <= named("/shaped"), "the shaped one's healthy events", scale(60, 600))
    eventually(lambda: len(named("/plain")) >= len(made.by_fate[TOLD]), "all that can be told", scale(60, 600))
    assert named("/plain") == set(made.by_fate[TOLD])
    assert named("/picky") == healthy
    too_large = 'hookline_events_dropped_total{reason="too_large"}'
    eventually(lambda: operator.metric(too_large) >= 2 * expected["too_large"], "the last one is a large one", 60)
    drops = {reason: operator.metric(f'hookline_events_dropped_total{{reason="{reason}"}}')
             for reason in ("not_encodable", "not_decodable", "too_large", "internal_error", "expression_failed",
                            "transform_failed")}  # fmt: skip
    note(f"{COUNT} poison objects, {dict(expected)} expected to drop, refused {dict(made.refused)}; counted {drops}")
    assert drops["not_decodable"] == expected["not_decodable"], "once for each, told to nobody"
    assert drops["not_encodable"] == expected["not_encodable"], "by the plain one; the others look at one field only"
    assert drops["too_large"] == 2 * expected["too_large"], "by the plain and the shaped one"
    assert drops["expression_failed"] > 0
    assert drops["transform_failed"] > 0
    assert drops["internal_error"] == 0
    assert process.poll() is None, "it is still the same process"
    assert operator.get("/healthz")[0] == 200


# Lines that no API server would send.


def line_of(name: str, spec: bytes = b"{}", kind: bytes = b"ADDED", metadata: bytes = b"") -> bytes:
    known = orjson.dumps({"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "5"})
    return b'{"type":"%s","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":%s,"spec":%s}}' % (
        kind,
        metadata or known,
        spec,
    )


DAMAGED = {
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "an escaped lone surrogate": b'"\\ud800"',
    "no UTF-8": b'"\xff\xfe\x80"',
    "overlong UTF-8": b'"\xc0\x80"',
    "a float out of range": b"1e999",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "a bad escape": b'"\\x"',
    "a raw control character": b'"\x00"',
    "an octal number": b"0777",
}
UNREADABLE = {
    "nothing": b"",
    "no JSON": b"hello",
    "cut": line_of("cut")[:-10],
    "cut in a string": b'{"type":"ADDED","object":{"metadata":{"name":"abc',
    "a list": b"[]",
    "a number": b"12",
    "null": b"null",
    "no object": b'{"type":"ADDED"}',
    "an object that is a list": b'{"type":"ADDED","object":[]}',
    "no metadata": b'{"type":"ADDED","object":{}}',
    "metadata that is null": line_of("x", metadata=b"null"),
    "metadata that is a list": line_of("x", metadata=b"[1]"),
    "no uid": line_of("x", metadata=b'{"name":"x","resourceVersion":"5"}'),
    "an empty uid": line_of("x", metadata=b'{"name":"x","resourceVersion":"5","uid":""}'),
    "a version that is a number": line_of("x", metadata=b'{"name":"x","uid":"u","resourceVersion":5}'),
    "damaged metadata": line_of("x", metadata=b'{"name":"\\ud800","uid":"u","resourceVersion":"5"}'),
    "only opening brackets": b"{" * 1_000_000,
    "only closing brackets": b"}" * 1_000_000,
    "quotes": b'"' * 1_000_001,
    "backslashes": b"\\" * 1_000_000,
    "NUL": bytes(1000),
    "an ERROR without a code": b'{"type":"ERROR","object":{}}',
    "an ERROR that is a list": b'{"type":"ERROR","object":[]}',
    "an ERROR whose code is a text": b'{"type":"ERROR","object":{"code":"410"}}',
}


@pytest.mark.parametrize("spec", DAMAGED.values(), ids=DAMAGED)
async def test_a_line_with_a_damaged_object_costs_that_object_only_and_is_counted(tmp_path, spec):
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    recorder = Recorder()
    scope = Scope(CONFIG_MAPS, "shop")
    ledger = Ledger(store, scope, recorder.hooks.after_commit, lambda: 0.5)
    teller = Teller(scope, ledger, recorder.hooks, lambda: 0.0, full=True)
    lines = [line_of("before"), line_of("poison", spec), line_of("after")]
    await teller.events([wire.decode_event(line) for line in lines])
    assert [name for _, name in recorder.told] == ["before", "after"]
    assert recorder.drops == ["not_decodable"]
    assert len(recorder.committed) == 2
    assert await store.seen_uids(scope.key) >= {"uid-before", "uid-poison", "uid-after"}
    await store.close()


def test_metadata_that_can_be_read_in_part_only_costs_that_object_only():
    """The API server's own ``managedFields`` are nested as deep as the object: nobody need write them."""
    identity = b'{"name":"x","uid":"u","resourceVersion":"5","managedFields":[%s],"labels":{"a":"b"}}'
    line = line_of("x", metadata=identity % nested(2000).encode())
    event = wire.decode_event(line)
    assert event.damaged
    assert event.object["metadata"] == {"name": "x", "uid": "u", "resourceVersion": "5", "labels": {"a": "b"}}


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_can_not_be_read_is_refused_with_an_error_of_ours(line):
    with pytest.raises(ApiError):
        wire.decode_event(line)


@pytest.mark.parametrize("raw", [*UNREADABLE.values(), *DAMAGED.values()])
def test_a_page_that_can_not_be_read_is_refused_with_an_error_of_ours(raw):
    for page in (raw, b'{"items":[%s],"metadata":{"resourceVersion":"5"}}' % raw, b'{"items":%s}' % raw):
        with contextlib.suppress(ApiError):
            assert isinstance(wire.decode_page(page, CONFIG_MAPS), wire.Page)


def test_what_is_whole_is_read():
    """The control: the same line without poison."""
    assert not wire.decode_event(line_of("healthy")).damaged
    assert wire.decode_event(line_of("poison", b"NaN")).damaged
