"""Sources that select namespaces by label: a namespace's first object and its last one are told like any other."""

import json

import pytest

from support.cluster import eventually

MANY = 8


@pytest.fixture
def team(kubectl, namespace):
    """A label of this test's own, and ``apply``: namespaces that have it, each with an object, all at once."""
    label = f"team-{namespace}"
    names = [f"{namespace}-{number}" for number in range(MANY)]

    def apply():
        items = []
        for name in names:
            items += [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": label}}},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": name}},
            ]
        kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        return set(names)

    yield label, apply
    kubectl("delete", "ns", "--ignore-not-found", "--wait=false", *names)


def by_team(subscriptions, label):
    source = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "names": ["web"],
        "namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": label}}},
    }
    subscriptions.ready(sources=[source])


def told(receiver, operation):
    return {
        body["data"]["object"]["metadata"]["namespace"]
        for body in receiver.bodies
        if body["data"]["operation"] == operation
    }


def test_the_first_object_of_a_namespace_and_its_end_are_told(operator, subscriptions, receiver, kubectl, team):
    label, apply = team
    by_team(subscriptions, label)
    names = apply()
    eventually(lambda: told(receiver, "Created") == names, "every object is told as created")
    kubectl("delete", "ns", *names)
    eventually(lambda: told(receiver, "Deleted") == names, "every object is told as deleted")


def test_the_deletion_of_a_namespace_while_the_operator_is_down_is_told(
    make_operator, subscriptions, receiver, kubectl, team
):
    label, apply = team
    operator = make_operator().start()
    by_team(subscriptions, label)
    names = apply()
    eventually(lambda: told(receiver, "Created") == names, "every object is told as created")
    operator.kill()
    kubectl("delete", "ns", *names)
    operator.start()
    eventually(lambda: told(receiver, "Deleted") == names, "every object is told as deleted")
