"""2,000 objects as fast as the API server takes them, and a kill -9 in the middle: each is told, each is verified."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from support.cluster import eventually
from support.load import create_config_maps, in_thread

COUNT = 2000


def check_signatures(requests, secret):
    """By the official library for v1, by cryptography alone for v1a."""
    official = Webhook(base64.b64decode(secret["v1"]).decode())
    public = base64.b64decode(base64.b64decode(secret["v1a.pub"]).decode().removeprefix("whpk_"))
    for request in requests:
        official.verify(request.body.decode(), dict(request.headers))
        scheme, _, signature = request.headers["webhook-signature"].split()[1].partition(",")
        signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
        assert scheme == "v1a"
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature), signed)


def burst(control_plane, namespace, kubectl, receiver, subscriptions, *, meanwhile):
    subscriptions.ready(delivery={"maxInFlight": 32})
    names = [f"burst-{number}" for number in range(COUNT)]
    thread = in_thread(lambda: create_config_maps(control_plane.kubeconfig, namespace, names))
    meanwhile()
    thread.join()
    eventually(lambda: len(set(receiver.ids)) >= COUNT, f"{COUNT} distinct ids", 90)
    requests = receiver.requests
    assert len({request.id for request in requests}) == COUNT
    assert len({(request.id, request.body) for request in requests}) == COUNT, "a duplicate with other bytes"
    assert {body["data"]["object"]["metadata"]["name"] for body in receiver.bodies} == set(names)
    check_signatures(requests, kubectl.json("get", "secret", "orders-signing", "-n", namespace)["data"])


def test_two_thousand_objects_arrive_once_each_and_every_signature_is_verified(
    operator, control_plane, namespace, kubectl, receiver, subscriptions
):
    burst(control_plane, namespace, kubectl, receiver, subscriptions, meanwhile=lambda: None)
    assert len(receiver.requests) == COUNT


def test_after_a_kill_in_the_middle_of_two_thousand_none_is_lost(
    operator, control_plane, namespace, kubectl, receiver, subscriptions
):
    def kill():
        eventually(lambda: len(receiver.requests) > COUNT // 4, "a quarter arrived")
        operator.kill()
        operator.start()

    burst(control_plane, namespace, kubectl, receiver, subscriptions, meanwhile=kill)
