"""The words of ``explain``: values that an expression reads, field selectors, hidden headers, names of resources."""

from __future__ import annotations

import orjson
import pytest

from hookline.cli.asking.examples import CHATS, filters, message
from hookline.cli.cluster import CommandError
from hookline.cli.explaining.fields import mismatch, seen_as
from hookline.cli.explaining.request import sketch
from hookline.cli.explaining.served import Served, find
from hookline.cli.explaining.steps import SHOWN, dotted, shown, values_read, words
from hookline.model import Resource
from hookline.paths import ABSENT, parse
from hookline.render.renderer import Renderer
from hookline.spec import (
    ApiKeySpec,
    BasicSpec,
    BearerSpec,
    ClientCredentialsSpec,
    Format,
    HeaderSpec,
    LabelRequirement,
    Operation,
    Payload,
    SecretRef,
    ServiceAccountTokenSpec,
)
from support.evaluating import evaluating
from support.samples import change, config_map, subscription

REF = SecretRef("orders", "token")


def test_the_values_that_an_expression_reads_are_shown_by_their_paths():
    seen = change(obj=config_map(data={"a": "1", "b.c": "2"}), old=config_map(data={"a": "0"}))
    text = "object.data.a != oldObject.data.a && object.data['b.c'] == '2' && object.data.?gone.orValue('') == ''"
    assert values_read(text, seen) == (
        'object.data.a = "1"',
        'oldObject.data.a = "0"',
        "object.data['b.c'] = \"2\"",
        "object.data.gone = (absent)",
    )


def test_of_a_state_before_that_nobody_knows_no_value_is_said_to_be_absent():
    seen = change(obj=config_map(data={"a": "1"}))
    text = "object.data.a != oldObject.data.a && !has(object.data.b)"
    assert values_read(text, seen, blind=True) == (
        'object.data.a = "1"',
        "oldObject.data.a = (not known)",
        "object.data.b = (absent)",
    )
    assert "oldObject.data.a = (absent)" in values_read(text, seen), "of a creation there is none"


def test_what_only_looks_like_a_path_is_not_shown():
    seen = change(obj=config_map(data={"a": "1"}))
    assert values_read("'object.data.a' == \"object.data.b\" && my.object.data.a", seen) == ()
    assert values_read("object.data.exists(k, k == 'a')", seen) == ('object.data = {"a": "1"}',), "a method is no field"


def test_a_long_value_is_cut():
    assert shown("x" * 500) == '"' + "x" * (SHOWN - 1) + "…"
    assert shown(ABSENT) == "(absent)"
    assert shown(None) == "null"


@pytest.mark.parametrize("text", ["status.replicas", "metadata.annotations['example.com/owner']", "a['b.c'].d"])
def test_paths_are_shown_as_they_are_written(text):
    assert dotted(parse(text, "")) == text


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (LabelRequirement("a", "In", frozenset({"1"})), "a=1"),
        (LabelRequirement("a", "In", frozenset({"2", "1"})), "a in (1,2)"),
        (LabelRequirement("a", "NotIn", frozenset({"1"})), "a notin (1)"),
        (LabelRequirement("a", "Exists"), "a"),
        (LabelRequirement("a", "DoesNotExist"), "!a"),
    ],
)
def test_requirements_are_shown_as_kubectl_writes_them(requirement, text):
    assert words(requirement) == text


@pytest.mark.parametrize(
    ("selector", "wrong"),
    [
        ("status.phase=Failed", ""),
        ("status.phase==Failed,spec.hostNetwork=true", ""),
        ("status.phase!=Failed", "status.phase!=Failed: the object has status.phase=Failed"),
        ("spec.nodeName=", ""),
        ("spec.nodeName!=", "spec.nodeName!=: the object has spec.nodeName="),
        ("status.phase=Failed,metadata.name=b", "metadata.name=b: the object has metadata.name=a"),
    ],
)
def test_field_selectors_are_worked_out_for_a_pasted_object(selector, wrong):
    pod = {"kind": "Pod", "metadata": {"name": "a"}, "status": {"phase": "Failed"}, "spec": {"hostNetwork": True}}
    assert mismatch(selector, pod) == wrong


def test_the_source_of_an_event_is_what_reported_it():
    assert mismatch("source=kubelet", {"kind": "Event", "metadata": {}, "source": {"component": "kubelet"}}) == ""
    assert mismatch("source=x", {"kind": "Event", "metadata": {}, "source": {}, "reportingComponent": "x"}) == ""


@pytest.mark.parametrize(
    ("operation", "before", "after", "seen"),
    [
        (Operation.UPDATED, True, True, Operation.UPDATED),
        (Operation.UPDATED, False, True, Operation.CREATED),
        (Operation.UPDATED, True, False, Operation.DELETED),
        (Operation.UPDATED, False, False, None),
        (Operation.CREATED, True, True, Operation.CREATED),
        (Operation.CREATED, True, False, None),
        (Operation.DELETED, True, True, Operation.DELETED),
        (Operation.DELETED, False, True, None),
    ],
)
def test_an_object_comes_and_goes_through_a_field_selector(operation, before, after, seen):
    assert seen_as(operation, before=before, after=after) is seen


@pytest.mark.parametrize(
    ("auth", "name", "hidden"),
    [
        (BearerSpec(REF), "authorization", "Bearer, from Secret orders, key token"),
        (BasicSpec("user"), "authorization", "Basic, from Secret user"),
        (ApiKeySpec("X-Api-Key", REF), "x-api-key", "from Secret orders, key token"),
        (ClientCredentialsSpec("https://a.example.com", REF, REF), "authorization", "Bearer, a token from"),
        (ServiceAccountTokenSpec("me"), "authorization", "Bearer, a token of ServiceAccount default for me"),
    ],
)
def test_a_credential_is_named_and_not_shown(auth, name, hidden):
    wanted = subscription(auth=auth, headers=(HeaderSpec("X-Team", "shop", None), HeaderSpec("X-Token", None, REF)))
    made = sketch(wanted, Renderer(wanted, "", 10**6).render(change(), 1), "https://hooks.example.com")
    headers = {header.name: header for header in made.headers}
    assert headers[name].hidden.startswith(hidden)
    assert headers[name].value == ""
    assert headers["x-token"].hidden == "from Secret orders, key token"
    assert (headers["x-team"].value, headers["x-team"].hidden) == ("shop", "")
    assert headers["webhook-signature"].hidden == "v1 and v1a, made for each attempt"
    assert all({"value", "hidden"} & entry.keys() for entry in made.plain()["headers"])


def test_the_headers_of_a_binary_event_are_shown():
    wanted = subscription(payload=Payload(format=Format.CLOUD_EVENTS_BINARY))
    made = sketch(wanted, Renderer(wanted, "", 10**6).render(change(), 1), "https://hooks.example.com")
    headers = {header.name: header.value for header in made.headers}
    assert headers["ce-type"] == "dev.hookline.core.configmap.updated"
    assert headers["ce-id"] == headers["webhook-id"]


SERVED = (
    Served(Resource("v1", "Event", "events", True), "event", ("ev",), frozenset({"list", "watch"}), True),
    Served(
        Resource("apps/v1", "Deployment", "deployments", True), "deployment", ("deploy",), frozenset({"list"}), True
    ),
    Served(Resource("events.k8s.io/v1", "Event", "events", True), "event", ("ev",), frozenset({"watch"}), True),
)


@pytest.mark.parametrize(
    "name", ["deploy", "deployment", "deployments", "Deployment", "deployments.apps", "deployment.v1.apps"]
)
def test_a_resource_has_all_the_names_that_kubectl_knows(name):
    assert find(SERVED, name).resource.plural == "deployments"


def test_of_two_resources_of_a_name_the_first_is_meant_and_the_group_tells_them_apart():
    assert find(SERVED, "ev").resource.group == ""
    assert find(SERVED, "events.v1").resource.group == ""
    assert find(SERVED, "events.events.k8s.io").resource.group == "events.k8s.io"


def test_a_name_that_nobody_has_gets_a_hint():
    with pytest.raises(CommandError, match='did you mean "deployment"'):
        find(SERVED, "deploymnt")


async def test_a_transform_yields_the_same_bytes_in_every_process():
    """Or else nobody could say beforehand what will be sent."""
    text = "{'text': 'x', 'was': 1, 'object': object, 'more': {'c': 1, 'a': 2, 'b': 3}}"
    seen = change(obj=config_map(data=dict.fromkeys("hgfedcba", "1")))
    found = set()
    for _ in range(3):
        async with evaluating() as evaluator:
            [answer] = await evaluator.answers(seen, text)
            found.add(orjson.dumps(answer))
    assert found == {orjson.dumps(orjson.loads(found.copy().pop()), option=orjson.OPT_SORT_KEYS)}


async def test_every_example_compiles_and_every_chat_gets_a_message():
    """Of an object with nothing but metadata, too: a message is for any kind."""
    namespaced = change()
    cluster = change(obj={**config_map(), "metadata": {"name": "n", "uid": "u", "resourceVersion": "1"}})
    async with evaluating() as evaluator:
        for kind in ("Deployment", "Job", "Pod", "Node", "Event", "ConfigMap", "Widget"):
            for text in filters(kind):
                await evaluator.check(text, "", boolean=True)
        for chat in CHATS:
            text = message(chat, namespaced=True, chat_id="-1")
            assert "ConfigMap web" in str(await evaluator.value(text, namespaced))
            assert "was updated" in str(await evaluator.value(text, namespaced))
            assert "ConfigMap n" in str(await evaluator.value(message(chat, namespaced=False, chat_id="-1"), cluster))
