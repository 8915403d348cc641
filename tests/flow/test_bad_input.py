"""What bad input gets: a reason, a sentence that says what to do, and healing by itself where that is possible."""

import base64
import itertools
import json
from typing import Any

from hookline import keys
from support.cluster import eventually

CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "spec": {
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {}}}}
                },
            }
        ],
    },
}


def crd(group):
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    return CRD | {"metadata": {"name": f"widgets.{group}"}, "spec": CRD["spec"] | {"group": group, "names": names}}


def secret(name, **data):
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def test_a_kind_that_is_installed_later_heals_by_itself_and_its_first_object_is_an_event(
    operator, subscriptions, receiver, kubectl, namespace
):
    group = f"{namespace}.example.com"
    subscriptions.apply(sources=[{"apiVersion": f"{group}/v1", "kind": "Widget"}])
    message = subscriptions.wait("ResourceNotServed", kind="Accepted")
    assert f"{group}/v1/Widget is not served" in message
    assert subscriptions.condition("Reconciling")[0] == "True"
    kubectl.apply(crd(group))
    kubectl("wait", "--for=condition=Established", f"crd/widgets.{group}")
    eventually(
        lambda: kubectl.apply({"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "first"}},
                              namespace=namespace) is None, "the first object is made")  # fmt: skip
    subscriptions.wait("Watching")
    eventually(lambda: receiver.requests, "the event of an object made before the operator saw the kind")
    assert receiver.bodies[0]["data"]["object"]["metadata"]["name"] == "first"
    kubectl("delete", "crd", f"widgets.{group}")


def test_the_other_sources_of_a_subscription_work_while_one_kind_is_not_served(
    operator, subscriptions, receiver, config_map
):
    subscriptions.apply(
        sources=[{"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "absent.example.com/v1", "kind": "Nothing"}]
    )
    subscriptions.wait("ResourceNotServed", kind="Accepted")
    eventually(lambda: subscriptions.get()["status"].get("watching"), "the other source is watched")
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "its event")


def test_an_expression_that_does_not_compile_is_told_with_its_position_and_changes_nothing_else(
    operator, subscriptions, receiver, config_map
):
    subscriptions.ready(filter={"expression": "object.data.a == '1'"})
    subscriptions.apply(filter={"expression": "object.data.a =="})
    message = subscriptions.wait("InvalidExpression", kind="Accepted")
    assert "spec.filter.expression: line 1, column 17" in message
    assert subscriptions.condition("Ready")[0] == "False"
    assert subscriptions.condition("Stalled")[0] == "True"
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "the last good expression is still in force")
    subscriptions.ready(filter={"expression": "object.data.a == '2'"})


def test_a_transform_that_does_not_compile_is_refused_too(operator, subscriptions):
    subscriptions.apply(payload={"transform": "{'text': objekt.metadata.name}"})
    assert "spec.payload.transform: line 1, column" in subscriptions.wait("InvalidExpression", kind="Accepted")


def test_a_missing_secret_and_a_missing_key_are_named_and_heal_without_a_loss(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    subscriptions.apply(destination={"urlFrom": {"secretKeyRef": {"name": "hook", "key": "url"}}})
    assert "Secret 'hook' was not found" in subscriptions.wait("SecretNotFound")
    eventually(lambda: subscriptions.get()["status"].get("watching"), "it is watched all the same")
    config_map("web", a="1")
    kubectl.apply(secret("hook", wrong="x"), namespace=namespace)
    eventually(lambda: "no key 'url'" in subscriptions.condition("Ready")[2], "the key is named")
    kubectl.apply(secret("hook", url=receiver.url("/secret")), namespace=namespace)
    subscriptions.wait("Watching")
    eventually(lambda: receiver.requests, "what happened meanwhile is delivered")
    assert receiver.requests[0].target == "/secret"
    status = json.dumps(subscriptions.get()["status"])
    assert "/secret" not in status
    assert "localhost" in subscriptions.get()["status"]["endpoint"]


def test_a_header_from_a_secret_follows_its_changes(operator, subscriptions, receiver, config_map, kubectl, namespace):
    kubectl.apply(secret("token", token="one"), namespace=namespace)
    header = {"name": "X-Api-Key", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}
    subscriptions.ready(destination={"url": receiver.url(), "headers": [header]})
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "the first request")
    kubectl.apply(secret("token", token="two"), namespace=namespace)

    changes = itertools.count(2)

    def sent():
        config_map("web", a=str(next(changes)))
        return receiver.requests[-1].headers["x-api-key"] == "two"

    eventually(sent, "the new value is sent")
    assert receiver.requests[0].headers["x-api-key"] == "one"


def test_a_signing_secret_of_ones_own_is_used_and_never_changed(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    own = keys.encode_hmac(keys.new_hmac())
    kubectl.apply(secret("mine", v1=own), namespace=namespace)
    subscriptions.apply(signing={"secretName": "mine"})
    assert "no key 'v1a'" in subscriptions.wait("SecretNotFound")
    subscriptions.ready(signing={"secretName": "mine", "schemes": ["v1"]})
    config_map("web", a="1")
    request = eventually(lambda: receiver.requests, "a request")[0]
    assert request.headers["webhook-signature"].startswith("v1,")
    assert "v1a," not in request.headers["webhook-signature"]
    assert base64.b64decode(kubectl.json("get", "secret", "mine", "-n", namespace)["data"]["v1"]).decode() == own


def test_the_signing_secret_is_owned_by_the_subscription_and_goes_with_it(operator, subscriptions, kubectl, namespace):
    subscriptions.ready()
    made = kubectl.json("get", "secret", "orders-signing", "-n", namespace)
    assert made["metadata"]["ownerReferences"][0]["uid"] == subscriptions.get()["metadata"]["uid"]
    kubectl("delete", "whsub", "orders", "-n", namespace)
    listed = lambda: kubectl("get", "secret", "-n", namespace, "-o", "name")  # noqa: E731
    eventually(lambda: "orders-signing" not in listed(), "the garbage collector removed the Secret")


def test_a_special_purpose_address_is_refused_and_nothing_connects(make_operator, subscriptions, receiver, config_map):
    make_operator().start()
    subscriptions.apply(destination={"url": receiver.url().replace("localhost", "127.0.0.1")})
    assert "an administrator can allow it" in subscriptions.wait("DestinationRefused", kind="Accepted")
    assert receiver.do(lambda live: live.connections) == 0
    subscriptions.ready()  # the control: the same receiver under an allowed name
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "a request")


def test_secrets_and_hooklines_own_kinds_can_not_be_watched(operator, subscriptions):
    subscriptions.apply(sources=[{"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription"}])
    assert "can't be watched" in subscriptions.wait("KindRefused", kind="Accepted")


def test_a_cluster_scoped_kind_with_namespaces_is_told_to_leave_them_out(operator, subscriptions):
    subscriptions.apply(sources=[{"apiVersion": "v1", "kind": "Node", "namespaces": {"from": "All"}}])
    assert "leave `namespaces` out" in subscriptions.wait("InvalidSpec", kind="Accepted")
