"""``hookline deliveries`` with a real operator and its API: lists, one with its request, and what comes."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
import yaml

from support.cluster import eventually
from support.terminal import PROGRAMS

API = "/apis/hookline.dev/v1alpha1"


@pytest.fixture(scope="module")
def told(whole):
    """A subscription ``told`` with one delivered message and two dead letters; the ids, in order of their coming."""
    lost = whole.dead_letters("told", 2)
    before = len(whole.receiver.requests)
    whole.change("told", 2)
    eventually(lambda: len(whole.receiver.requests) > before, "the third arrives")
    delivered = whole.receiver.ids[-1]
    good = lambda: whole.subscriptions.get("told")["status"].get("lastDelivery", {}).get("id") == delivered  # noqa: E731
    eventually(good, "the third is recorded")
    return [*lost, delivered]


def test_a_list_has_the_newest_first(whole, told):
    done = whole.hookline("deliveries", "told", *whole.api)
    head, *rows = (line.split() for line in done.out.splitlines())
    assert head == ["ID", "STATE", "VERDICT", "ATTEMPTS", "TYPE", "AGE"]
    assert [row[:4] for row in rows] == [
        [told[2], "Delivered", "HTTP200", "1"],
        [told[1], "Dead", "HTTP422", "1"],
        [told[0], "Dead", "HTTP422", "1"],
    ]
    assert {row[4] for row in rows} == {"dev.hookline.core.configmap.created"}


def test_a_list_may_be_of_a_state_and_of_a_length(whole, told):
    assert whole.hookline("deliveries", "told", "--state", "dead", *whole.api).out.count("msg_") == 2
    both = json.loads(whole.hookline("deliveries", "told", "--limit", "2", "-o", "json", *whole.api).out)
    assert [item["metadata"]["name"] for item in both["items"]] == [told[2], told[1]]
    assert (both["kind"], both["items"][0]["kind"]) == ("List", "Delivery")


def test_all_subscriptions_are_named_in_one_list(whole, told):
    whole.apply("empty")
    done = whole.hookline("deliveries", "-o", "wide", *whole.api)
    head, *rows = (line.split() for line in done.out.splitlines())
    assert head[0] == "SUBSCRIPTION"
    assert head[-4:] == ["SEQUENCE", "SIZE", "NEXT", "FINISHED"]
    assert [row[1] for row in rows if row[0] == "told"] == told[::-1]


def test_one_delivery_is_shown_with_its_request_and_verdict(whole, told):
    request = next(request for request in whole.receiver.requests if request.id == told[0])
    page = whole.hookline("deliveries", "show", told[0], *whole.api)
    assert (page.code, page.err) == (0, "")
    lines = page.out.splitlines()
    assert lines[0] == f"{told[0]}: Dead, HTTP422"
    assert f"Subscription:  told in namespace {whole.namespace}" in lines
    assert "  content-type: application/cloudevents+json" in lines
    body = "\n".join(lines[lines.index("  {") :])
    assert json.loads(body) == json.loads(request.body)
    assert "webhook-signature" not in page.out
    shown = yaml.safe_load(whole.hookline("deliveries", "show", told[0], "-s", "told", "-o", "yaml", *whole.api).out)
    assert shown["request"]["body"] == request.body.decode(), "the exact bytes"


def test_what_is_not_there_is_told(whole, told):
    done = whole.hookline("deliveries", "show", "msg_nothing", "-s", "told", *whole.api)
    assert done.code == 1
    assert f'there is no delivery "msg_nothing" of told in namespace "{whole.namespace}"' in done.err
    done = whole.hookline("deliveries", "nobody", *whole.api)
    assert done.code == 1
    assert f'the operator serves no subscription "nobody" in the namespace "{whole.namespace}"' in done.err
    whole.apply("empty")
    done = whole.hookline("deliveries", "empty", *whole.api)
    assert (done.code, done.out) == (0, "")
    assert "There is no delivery" in done.err


def test_what_comes_is_followed_until_an_interrupt(whole, told, screen):
    following = screen("deliveries", "told", "-f", "--limit", "1", *whole.api)
    text = following.read(told[2])
    assert (text.count("STATE"), told[1] in text) == (1, False)
    before = len(whole.receiver.requests)
    whole.change("told", 2, more="1")
    eventually(lambda: len(whole.receiver.requests) > before, "one more arrives")
    following.read(whole.receiver.ids[-1])
    code, text = following.end(signal.SIGINT)
    assert (code, "Traceback" in text) == (130, False)
    assert text.count(told[2]) == 1, "nothing is told twice"


def test_followers_in_a_pipe_get_a_line_for_each_change(whole, told):
    following = whole.hookline.start("deliveries", "told", "-f", "--limit", "2", "-o", "json", *whole.api)
    try:
        assert following.stdout is not None
        first = [json.loads(following.stdout.readline()) for _ in range(2)]
        assert all(item["kind"] == "Delivery" for item in first)
        named = [f"delivery.hookline.dev/{item['metadata']['name']}" for item in first]
    finally:
        following.terminate()
        assert following.wait(20) == 143
        following.communicate()
    following = whole.hookline.start("deliveries", "told", "-f", "--limit", "2", "-o", "name", *whole.api)
    try:
        assert following.stdout is not None
        assert [following.stdout.readline().strip() for _ in range(2)] == named
    finally:
        following.terminate()
        following.communicate()


def test_a_token_that_is_none_is_told_and_not_shown(whole, told, tmp_path):
    (tmp_path / "token").write_text("eyJhbGciOi.made.up")
    server = ("--server", f"http://127.0.0.1:{whole.port}")
    done = whole.hookline("deliveries", "told", *server, "--token-file", str(tmp_path / "token"))
    assert done.code == 1
    assert "the operator does not accept the token" in done.err
    assert "eyJ" not in done.err
    done = whole.hookline("deliveries", "told", *server)
    assert done.code == 1
    assert "the kubeconfig has no bearer token, only a client certificate perhaps" in done.err
    assert "--service-account NAME" in done.err
    done = whole.hookline("deliveries", "told", *server, "--service-account", "nobody")
    assert done.err == (f'hookline deliveries: there is no ServiceAccount "nobody" in namespace "{whole.namespace}"\n')


def test_the_token_of_a_kubeconfig_is_enough(whole, told, tmp_path):
    assert whole.api
    config = json.loads(whole.hookline.kubeconfig.read_text())
    config["users"][0]["user"] = {
        "token": whole.plane.request(
            "POST", f"/api/v1/namespaces/{whole.namespace}/serviceaccounts/default/token", {"spec": {}}
        )["status"]["token"]
    }
    (tmp_path / "config").write_text(json.dumps(config))
    environment = {"KUBECONFIG": str(tmp_path / "config"), "HOOKLINE_SERVER": whole.api[1]}
    done = whole.hookline("deliveries", "told", "--limit", "1", "--send-cluster-token", env=environment)
    assert (done.code, told[2] in done.out or "msg_" in done.out) == (0, True)


@pytest.mark.parametrize("server", ["http://hooks.example.com:8443", "https://", "hooks.example.com"])
def test_no_token_goes_in_the_clear_or_nowhere(whole, server):
    done = whole.hookline("deliveries", "told", "--server", server, "--token-file", "/dev/null")
    assert done.code == 2
    assert "write https://" in done.err


def test_another_server_is_not_taken_for_the_api(whole, told):
    assert whole.api
    metrics = f"http://127.0.0.1:{whole.operator.port}"
    done = whole.hookline("deliveries", "told", *whole.api, "--server", metrics)
    assert done.code == 1
    assert "not from the operator's API" in done.err


def test_a_reader_that_ends_is_no_failure(whole, told):
    command = " ".join([f"{PROGRAMS}/hookline", "deliveries", "told", "-n", whole.namespace, *whole.api])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; echo ${{PIPESTATUS[0]}}"],
        env=whole.hookline.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")
