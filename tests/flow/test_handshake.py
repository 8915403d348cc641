"""The whole with proof of consent: nothing is sent before it, nothing is lost, and it is remembered."""

from support.cluster import eventually

CONSENT = {"WebHook-Allowed-Origin": "test-cluster", "WebHook-Allowed-Rate": "6000"}


def sent(receiver, method):
    return [request for request in receiver.requests if request.method == method]


def destination(receiver, path="/in"):
    return {"url": receiver.url(path), "handshake": "CloudEvents"}


def test_messages_are_kept_until_the_endpoint_consents_and_a_restart_asks_nothing(
    make_operator, subscriptions, receiver, config_map, kubectl, namespace
):
    operator = make_operator("--cluster-name", "test-cluster").start()
    receiver.do(lambda live: live.answer(405))
    subscriptions.apply(destination=destination(receiver), delivery={"rateLimit": {"perSecond": 1000}})
    message = subscriptions.wait("HandshakeFailed")
    assert "HTTP 405" in message
    assert "Messages are kept" in message
    assert "handshake" not in subscriptions.get()["status"]
    eventually(lambda: subscriptions.get()["status"].get("watching"), "it watches meanwhile")
    config_map("web", a="1")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 1, "the message is kept")
    assert sent(receiver, "POST") == []
    assert sent(receiver, "OPTIONS")[0].headers["webhook-request-rate"] == "60000"

    receiver.do(lambda live: live.answer(200, headers=CONSENT))
    kubectl("annotate", "whsub", "orders", "hookline.dev/requested-at=now", "-n", namespace)
    subscriptions.wait("Watching")
    eventually(lambda: len(sent(receiver, "POST")) == 2, "the message and the ping")
    assert {request.headers["webhook-request-origin"] for request in receiver.requests} == {"test-cluster"}
    told = subscriptions.get()["status"]["handshake"]
    assert told["allowedPerMinute"] == 6000
    assert "/in" not in str(told)

    asked = len(sent(receiver, "OPTIONS"))
    operator.kill()
    operator.start()
    config_map("web", a="2")
    eventually(lambda: len(sent(receiver, "POST")) == 3, "a message after the restart")
    assert len(sent(receiver, "OPTIONS")) == asked
    assert subscriptions.get()["status"]["handshake"] == told

    receiver.do(lambda live: live.answer(200))
    subscriptions.apply(destination=destination(receiver, "/moved"))
    assert "no WebHook-Allowed-Origin" in subscriptions.wait("HandshakeFailed")
    assert "handshake" not in subscriptions.get()["status"]
    assert sent(receiver, "OPTIONS")[-1].target == "/moved"


def test_the_control_without_the_option_nobody_is_asked(operator, subscriptions, receiver, config_map):
    subscriptions.ready()
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "a message")
    assert sent(receiver, "OPTIONS") == []
    assert "webhook-request-origin" not in receiver.requests[0].headers
