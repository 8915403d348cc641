"""``ping``, ``replay`` and ``rotate-key`` with a real operator and a real receiver."""

from __future__ import annotations

import base64
import json
import re
import signal

from hookline.receiver.verifier import Verifier
from support.cluster import eventually


def test_a_ping_says_what_the_endpoint_said(whole):
    whole.subscribe("pinged")
    done = whole.hookline("ping", "pinged")
    assert (done.code, done.err) == (0, "")
    assert f"ping {whole.receiver.ids[-1]}: the endpoint accepted it (HTTP200)" in done.out
    assert whole.receiver.bodies[-1]["type"] == "dev.hookline.ping"
    whole.receiver.do(lambda live: live.answer(410))
    done = whole.hookline("ping", "pinged")
    whole.receiver.do(lambda live: live.answer(200))
    assert done.code == 1
    assert f"ping {whole.receiver.ids[-1]}: it failed: HTTP410" in done.out
    assert "when the endpoint is there again: hookline ping pinged" in done.err
    whole.subscriptions.wait("EndpointGone", "pinged")
    again = whole.hookline("ping", "pinged", "-o", "json")
    assert again.code == 0, "who was given up is taken up again"
    assert json.loads(again.out)["metadata"]["name"] == "pinged"
    whole.subscriptions.wait("Watching", "pinged")


def test_no_ping_is_sent_for_who_is_suspended(hookline, subscriptions):
    subscriptions.apply(suspend=True)
    done = hookline("ping", "orders")
    assert done.code == 1
    assert done.err == "hookline ping: orders is suspended: nothing is sent. Set `spec.suspend` to false first\n"
    assert "hookline.dev/requested-at" not in json.dumps(subscriptions.get()["metadata"].get("annotations", {}))


def test_no_ping_is_sent_for_a_spec_that_is_refused_and_its_message_is_told_at_once(
    hookline, subscriptions, kubectl, namespace
):
    subscriptions.apply()
    refuse(kubectl, namespace, generation=subscriptions.get()["metadata"]["generation"])
    done = hookline("ping", "orders", "--timeout", "60")
    assert done.code == 1
    assert done.err == "hookline ping: the spec of orders is refused, so no ping is sent: spec.filter: line 1\n"
    assert "hookline.dev/requested-at" not in subscriptions.get()["metadata"].get("annotations", {})


def test_a_refusal_of_an_older_spec_stops_no_ping(hookline, subscriptions, kubectl, namespace):
    subscriptions.apply()
    refuse(kubectl, namespace, generation=subscriptions.get()["metadata"]["generation"] - 1)
    assert "did not take the request up" in hookline("ping", "orders", "--timeout", "1").err


def refuse(kubectl, namespace, generation):
    """Say as the operator does that it refuses the spec of this generation."""
    now = "2026-01-01T00:00:00Z"
    told = {"type": "Accepted", "status": "False", "reason": "InvalidSpec", "message": "spec.filter: line 1"}
    told |= {"observedGeneration": generation, "lastTransitionTime": now}
    body = json.dumps({"status": {"observedGeneration": generation, "conditions": [told]}})
    where = ("-n", namespace, "--subresource=status", "--type=merge")
    kubectl("patch", "whsub/orders", *where, "-p", body)


def test_without_an_operator_the_waiting_ends_with_a_sentence(hookline, subscriptions):
    subscriptions.apply()
    done = hookline("ping", "orders", "--timeout", "1")
    assert done.code == 1
    assert "within 1 s the operator did not take the request up: Waiting for the operator; is it running?" in done.err
    done = hookline("rotate-key", "orders", "--timeout", "1")
    assert done.code == 1
    assert "within 1 s the operator made no key" in done.err
    done = hookline("replay", "orders", "--wait", "--timeout", "1")
    assert done.code == 1
    assert re.search(r"after 1 s the replay orders-\w+ is not done: Waiting for the operator", done.err)


def test_a_replay_sends_what_was_chosen_again_and_says_how_it_went(whole):
    lost = whole.dead_letters("replayed", 2)
    before = len(whole.receiver.requests)
    one = json.loads(whole.hookline("replay", "replayed", "--id", lost[0], "--wait", "-o", "json").out)
    assert (one["spec"]["ids"], one["status"]["replayed"]) == ([lost[0]], 1)
    whole.receiver.do(lambda live: live.answer(422))
    failed = whole.hookline("replay", "replayed", "--wait")
    whole.receiver.do(lambda live: live.answer(200))
    assert failed.code == 1
    assert "1 of 1 messages were not delivered again" in failed.out
    rest = whole.hookline("replay", "replayed", "--since", "1h", "--wait")
    assert (rest.code, rest.err) == (0, ""), "no progress where nobody looks"
    assert re.fullmatch(r"replayed-\w+: all 1 messages were delivered again\n", rest.out)
    assert whole.receiver.ids[before:] == [lost[0], lost[1], lost[1]]


def test_ids_that_nothing_stored_has_are_counted_and_fail(whole):
    [lost] = whole.dead_letters("named", 1)
    one = whole.hookline("replay", "named", "--id", lost, "--id", "bogus", "--wait")
    assert one.code == 1
    assert "all 1 messages were delivered again" in one.out
    assert "Of 2 that --id names, 1 was selected: the others are not stored any more" in one.err
    none = whole.hookline("replay", "named", "--id", "bogus", "--wait", "-o", "json")
    assert (none.code, json.loads(none.out)["status"]["total"]) == (1, 0)
    assert "Of 1 that --id names, 0 were selected" in none.err
    control = whole.hookline("replay", "named", "--id", lost, "--wait")
    assert (control.code, control.err) == (0, "")


def test_a_screen_shows_how_far_a_replay_is(whole, screen):
    whole.dead_letters("slow", 1)
    once = {"retry": {"maxAttempts": 1}}
    whole.apply("slow", delivery=once, suspend=True)
    whole.subscriptions.wait("Suspended", "slow")
    waiting = screen("replay", "slow", "--wait")
    waiting.read("is suspended: the replay")
    waiting.read("0 of 1 delivered again")
    whole.apply("slow", delivery=once)
    code, text = waiting.end()
    assert code == 0
    result = text.rpartition("\r\x1b[K")[2]
    assert "all 1 messages were delivered again" in result, "the progress is taken away before the result"


def test_what_a_replay_selects_is_what_was_asked_for(hookline, subscriptions, kubectl, namespace):
    subscriptions.apply()
    options = ("--since", "2026-01-31T12:00:00+01:00", "--until", "2026-02-01T00:00:00Z", "--state", "delivered")
    made = json.loads(hookline("replay", "orders", *options, "-o", "json").out)
    assert made["spec"] == {
        "subscriptionName": "orders",
        "states": ["Delivered"],
        "from": "2026-01-31T11:00:00.000Z",
        "to": "2026-02-01T00:00:00.000Z",
    }
    where = ("get", "whreplay", made["metadata"]["name"], "-n", namespace, "--show-managed-fields")
    managers = {entry["manager"] for entry in kubectl.json(*where)["metadata"]["managedFields"]}
    assert managers == {"kubectl-hookline"}, "told apart from what the operator sets"


def test_an_interrupted_wait_leaves_the_replay(terminal, subscriptions, kubectl, namespace):
    subscriptions.apply()
    waiting = terminal("replay", "orders", "--wait")
    waiting.read("Waiting for the operator")
    code, text = waiting.end(signal.SIGINT)
    assert (code, "Traceback" in text) == (130, False)
    assert len(kubectl.json("get", "whreplay", "-n", namespace)["items"]) == 1


def test_a_new_key_signs_when_the_command_ends(whole):
    whole.subscribe("rotated")
    done = whole.hookline("rotate-key", "rotated")
    assert (done.code, done.err) == (0, "")
    assert "The old ones sign beside them until " in done.out
    new = whole.hookline.run(["bash", "-c", done.out.split("HMAC (v1): ")[1].splitlines()[0]]).out
    assert new.startswith("whsec_"), "the printed command gets the key"
    assert new not in done.out, "and the command itself never shows it"
    secret = whole.kubectl.json("get", "secret", "rotated-signing", "-n", whole.namespace)["data"]
    before = len(whole.receiver.requests)
    whole.change("rotated")
    request = eventually(lambda: whole.receiver.requests[before:], "a message after the rotation")[0]
    for key in (new, base64.b64decode(secret["v1"]).decode()):
        Verifier([key], 1e9).verify(dict(request.headers.items()), request.body)


def test_a_key_of_your_own_is_left_to_you(hookline, subscriptions, kubectl, namespace):
    key = "whsec_" + base64.b64encode(b"k" * 32).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"v1": key}}
    kubectl.apply(secret, namespace=namespace)
    subscriptions.apply(signing={"secretName": "mine", "schemes": ["v1"]})
    done = hookline("rotate-key", "orders")
    assert done.code == 1
    assert "the Secret mine is yours" in done.err
    assert hookline.run(["bash", "-c", "kubectl" + done.err.split(": kubectl")[1]]).code == 0
    entries = kubectl.json("get", "secret", "mine", "-n", namespace)["data"]
    assert len(entries) == 2, "the printed command adds a key"


def test_a_key_that_can_not_be_made_is_told_with_the_reason(whole):
    key = "whsec_" + base64.b64encode(b"k" * 32).decode()
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "foreign-signing"}}
    whole.kubectl.apply(head | {"stringData": {"v1": key}}, namespace=whole.namespace)
    whole.subscribe("foreign", signing={"schemes": ["v1"]})
    done = whole.hookline("rotate-key", "foreign")
    assert done.code == 1
    assert "no key was made: Secret 'foreign-signing' was not made by Hookline" in done.err
