"""The whole with a path that nobody can guess: the receiver gets it, it stays, and nothing shows it."""

import base64
import re

from support.cluster import eventually

SEGMENT = re.compile(r"[A-Za-z0-9_-]{43}")


def in_secret(kubectl, namespace):
    data = kubectl.json("get", "secret", "orders-endpoint", "-n", namespace)["data"]
    return base64.b64decode(data["path"]).decode()


def target_of(receiver, config_map, name):
    """The path at which the next message arrives."""
    before = len(receiver.requests)
    config_map(name, a="1")
    return eventually(lambda: receiver.requests[before:], "a message")[0].target


def test_the_receiver_gets_exactly_the_path_of_the_secret_until_that_is_deleted(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    subscriptions.ready(destination={"url": receiver.url("/in?x=1"), "unguessablePath": "Generated"})
    name = subscriptions.get()["status"]["pathSecretName"]
    assert name == "orders-endpoint"
    owner = kubectl.json("get", "secret", name, "-n", namespace)["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("WebhookSubscription", subscriptions.get()["metadata"]["uid"])
    first = in_secret(kubectl, namespace)
    assert SEGMENT.fullmatch(first)
    assert target_of(receiver, config_map, "one") == f"/in/{first}?x=1"

    operator.kill()
    operator.start()
    assert in_secret(kubectl, namespace) == first
    assert target_of(receiver, config_map, "two") == f"/in/{first}?x=1"

    kubectl("delete", "secret", name, "-n", namespace)
    eventually(lambda: namespace_has(kubectl, namespace, name), "another Secret")
    second = in_secret(kubectl, namespace)
    assert second != first
    subscriptions.apply(destination={"url": receiver.url("/moved"), "unguessablePath": "Generated"})
    subscriptions.wait("Watching")
    assert target_of(receiver, config_map, "three") == f"/moved/{second}"

    receiver.do(lambda live: live.answer(500))
    target_of(receiver, config_map, "four")
    eventually(lambda: "lastFailure" in subscriptions.get()["status"], "a failure in the status")
    told = [
        kubectl("get", "whsub", "-n", namespace, "-o", "yaml"),
        kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "yaml"),
        operator.log.read_text(),
        operator.get("/metrics")[1],
    ]
    assert [text for text in told for segment in (first, second) if segment in text] == []
    assert "/moved" in told[0], "the control: what is no secret is there"


def namespace_has(kubectl, namespace, name):
    return name in kubectl("get", "secrets", "-n", namespace, "-o", "name").replace("secret/", "").split()
