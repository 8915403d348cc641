"""Signing keys of the whole operator: rotated while requests are under way, published, and never unverifiable."""

import base64
import json
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hookline import keys
from hookline.receiver.jwks import keys_from_jwks
from hookline.receiver.verifier import Verifier
from support.cluster import eventually

OVERLAP = 8
SPEC = {"signing": {"secretName": "mine"}}


@pytest.fixture
def secret(kubectl, namespace):
    """The entries of a Secret."""

    def read(name="orders-signing"):
        data = kubectl.json("get", "secret", name, "-n", namespace)["data"]
        return {entry: base64.b64decode(value).decode() for entry, value in data.items()}

    return read


@pytest.fixture
def rotate(kubectl, namespace):
    """Set the annotation."""
    return lambda value: kubectl(
        "annotate", "whsub", "orders", f"hookline.dev/rotate-key={value}", "--overwrite", "-n", namespace
    )


def verifies(key, request):
    """Whether the library of Standard Webhooks accepts a request with this key alone."""
    try:
        Webhook(key).verify(request.body.decode(), dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


class Traffic:
    """Changes one object again and again, and waits for each request."""

    def __init__(self, config_map, receiver):
        self.config_map = config_map
        self.receiver = receiver
        self.number = 0

    def next(self):
        """The request of one more change."""
        self.number += 1
        self.config_map("web", number=str(self.number))
        eventually(lambda: len(set(self.receiver.ids)) >= self.number, "a request")
        return self.receiver.requests[-1]


@pytest.fixture
def traffic(config_map, receiver):
    return Traffic(config_map, receiver)


def new_key(entries, scheme="v1"):
    """The newest key of a Secret's entries."""
    return entries[max(entry for entry in entries if entry == scheme or entry.startswith(f"{scheme}.2"))]


def test_a_rotation_fails_no_verification_of_a_receiver_with_either_key(
    make_operator, subscriptions, traffic, secret, rotate
):
    operator = make_operator("--key-overlap-seconds", str(OVERLAP)).start()
    subscriptions.ready()
    before = secret()
    assert verifies(before["v1"], traffic.next())
    rotate("first")
    eventually(lambda: len(secret()) > len(before), "a second key")
    eventually(lambda: len(traffic.next().headers["webhook-signature"].split()) == 4, "both sign with both schemes")
    during = secret()
    old, new = before["v1"], new_key(during)
    assert old != new
    signing = eventually(lambda: told(subscriptions), "the status tells of it")
    assert signing["lastHandledRotateKey"] == "first"
    assert len(signing["publicKeys"]) == 2
    ends = [key["signsUntil"] for key in signing["keys"] if "signsUntil" in key]
    assert len(ends) == 2
    checked = 0
    while time.time() < began(during) + OVERLAP - 1:
        request = traffic.next()
        if request.arrived < began(during) + OVERLAP:
            assert verifies(old, request), "a receiver with the old key"
            assert verifies(new, request), "a receiver with the new key"
            checked += 1
        if checked == 3:  # what is durable is in the Secret
            operator.kill()
            operator.start()
    assert checked > 3
    eventually(lambda: secret().get("v1") == new, "the old key is gone")
    assert set(secret()) == set(before)
    eventually(lambda: len(traffic.next().headers["webhook-signature"].split()) == 2, "one key signs")
    last = traffic.next()
    assert verifies(new, last)
    assert not verifies(old, last)
    assert Verifier(keys_of(operator, subscriptions)).verify(last.headers, last.body).id == last.id
    operator.kill()
    operator.start()
    assert secret()["v1"] == new, "a restart rotates nothing"


def told(subscriptions):
    """What the status says of the keys, once it says that they were changed."""
    signing = subscriptions.get()["status"]["signing"]
    return signing if "lastHandledRotateKey" in signing else None


def began(entries):
    stamp = max(entry for entry in entries if entry.startswith("v1.2")).partition(".")[2]
    return time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone


def keys_of(operator, subscriptions):
    """The keys that a receiver fetches."""
    namespace = subscriptions.get()["metadata"]["namespace"]
    status, text = operator.get(f"/.well-known/jwks.json?subscription={namespace}/orders")
    assert status == 200
    return keys_from_jwks(json.loads(text))


def test_the_control_without_an_overlap_a_receiver_with_the_old_key_fails(
    make_operator, subscriptions, traffic, secret, rotate
):
    make_operator("--key-overlap-seconds", "0").start()
    subscriptions.ready()
    old = secret()["v1"]
    assert verifies(old, traffic.next())
    rotate("first")
    eventually(lambda: secret()["v1"] != old, "another key")
    eventually(lambda: not verifies(old, traffic.next()), "the old key verifies no more")


def test_a_key_added_to_a_users_own_secret_signs_beside_the_old_one_and_nothing_is_written_to_it(
    make_operator, subscriptions, traffic, kubectl, namespace
):
    make_operator("--key-overlap-seconds", str(OVERLAP)).start()
    old, new = (keys.encode_hmac(keys.new_hmac()) for _ in range(2))
    ed25519 = keys.encode_ed25519_private(keys.new_ed25519())

    def apply(**entries):
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": entries}
        kubectl.apply(body, namespace=namespace)

    apply(v1=old, v1a=ed25519)
    subscriptions.ready(**SPEC)
    assert verifies(old, traffic.next())
    # Named long ago, as a manifest that waited for its merge: what counts is when it was added.
    apply(**{"v1": old, "v1a": ed25519, "v1.20200101T000000Z": new})
    eventually(lambda: verifies(new, traffic.next()), "the new key signs")
    assert verifies(old, traffic.receiver.requests[-1])
    eventually(lambda: not verifies(old, traffic.next()), "the old key stops")
    assert verifies(new, traffic.receiver.requests[-1])

    def signing():
        return [key["entry"] for key in subscriptions.get()["status"]["signing"]["keys"] if "signsUntil" not in key]

    eventually(lambda: signing() == ["v1.20200101T000000Z", "v1a"], "the status tells which sign on")
    found = kubectl.json("get", "secret", "mine", "-n", namespace, "--show-managed-fields")
    assert {entry["manager"] for entry in found["metadata"]["managedFields"]} == {"kubectl"}
    assert set(found["data"]) == {"v1", "v1a", "v1.20200101T000000Z"}
    kubectl("annotate", "whsub", "orders", "hookline.dev/rotate-key=now", "-n", namespace)
    eventually(lambda: "is yours" in subscriptions.get()["status"]["signing"].get("message", ""), "it is told why not")


def test_a_sealed_outbox_survives_a_kill_and_its_file_shows_no_object(
    make_operator, subscriptions, receiver, config_map, tmp_path
):
    key_file = tmp_path / "outbox.key"
    key_file.write_text(base64.b64encode(bytes(range(32))).decode())
    operator = make_operator("--outbox-key-file", str(key_file)).start()
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready(filter={"changed": ["data.a"]}, delivery={"retry": {"schedule": [1] * 30}})
    config_map("web", a="canary-of-the-outbox")
    eventually(lambda: receiver.requests, "a first attempt")
    operator.kill()
    stored = b"".join(file.read_bytes() for file in (operator.home / "data").iterdir())
    assert b"canary-of-the-outbox" not in stored
    receiver.do(lambda live: live.answer(200))
    operator.start()
    eventually(lambda: subscriptions.get()["status"].get("lastDelivery"), "it is delivered")
    assert b"canary-of-the-outbox" in receiver.requests[-1].body
    config_map("web", a="2")
    eventually(lambda: receiver.bodies[-1]["data"]["operation"] == "Updated", "the object is known from before")


def test_an_operator_without_the_key_of_its_outbox_ends_and_says_which_setting_is_missing(
    make_operator, subscriptions, config_map, receiver, tmp_path
):
    key_file = tmp_path / "outbox.key"
    key_file.write_text(base64.b64encode(bytes(range(32))).decode())
    operator = make_operator("--outbox-key-file", str(key_file)).start()
    subscriptions.ready(filter={"changed": ["data.a"]})
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "a request")
    operator.kill()
    bare = make_operator()
    bare.launch()
    assert bare.process.wait(30) == 1
    assert "outbox_key_file" in bare.log.read_text()
