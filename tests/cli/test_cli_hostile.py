"""Servers that are not the operator, and streams that end: one sentence, no hammering, and no token too much."""

from __future__ import annotations

import json
import shlex

import pytest

from support.cluster import eventually
from support.served import AUDIENCE, token_of
from support.terminal import PROGRAMS

STRANGE = "the answer is not that of the operator's API"
DELIVERY = {"metadata": {"name": "msg_a"}, "spec": {}, "status": {}}
EVENT = json.dumps({"type": "ADDED", "object": DELIVERY}).encode() + b"\n"


@pytest.fixture
def token(tmp_path) -> tuple[str, str]:
    (tmp_path / "token").write_text("a.b.c")
    return ("--token-file", str(tmp_path / "token"))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b"<html>",
        b"",
        b'{"items":[{"metadata":null}],"metadata":{}}',
        b'{"items":[7],"metadata":{}}',
        b'{"items":[{"metadata":{"name":{}}}],"metadata":{}}',
        b'{"items":[{"metadata":{"name":"a"},"spec":[]}],"metadata":{}}',
        b'{"items":[],"metadata":{"continue":7}}',
        b'{"items":' + b"[" * 100000 + b"]" * 100000 + b"}",
    ],
    ids=lambda body: body[:50].decode(),
)
def test_an_answer_that_is_no_list_is_said_to_be_none(hookline, serve, token, body):
    done = hookline("deliveries", "s", "--server", serve(body).address, *token)
    assert (done.code, done.out) == (1, "")
    assert STRANGE in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("line", [b"<html>\n", b"[1]\n", b"null\n", b'{"type":"ADDED"}\n', b'{"object":{}}\n'])
def test_a_stream_of_something_else_ends_the_following(hookline, serve, token, line):
    done = hookline("deliveries", "s", "-f", "--server", serve(line).address, *token)
    assert (done.code, STRANGE in done.err, len(done.err.splitlines())) == (1, True, 1)


@pytest.mark.parametrize("request_", [[], {"headers": {"a": "b"}}, {"headers": [7]}, {"headers": [{"name": "a"}]}])
def test_a_request_of_a_strange_form_is_not_shown(hookline, serve, token, request_):
    server = serve(json.dumps(DELIVERY | {"request": request_ or 7}).encode())
    done = hookline("deliveries", "show", "msg_a", "-s", "s", "--server", server.address, *token)
    assert (done.code, STRANGE in done.err) == (1, True)
    control = serve(json.dumps(DELIVERY | {"request": {"headers": [{"name": "a", "value": "b"}]}}).encode())
    assert hookline("deliveries", "show", "msg_a", "-s", "s", "--server", control.address, *token).code == 0


def test_a_server_that_ends_streams_is_asked_more_and_more_seldom(hookline, serve, token):
    server = serve(EVENT)
    following = hookline.start("deliveries", "s", "-f", "--server", server.address, *token)
    try:
        eventually(lambda: len(server.times) >= 4, "the stream was opened again three times")
    finally:
        following.terminate()
        out, _ = following.communicate(timeout=30)
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert all(gap >= pause for gap, pause in zip(gaps, (0.5, 1.0, 2.0), strict=False)), gaps
    assert out.count("msg_a") == 1, "what was told is not told again"


def test_who_has_seen_enough_of_a_stream_may_go(hookline, serve, token):
    changing = b"".join(
        json.dumps({"type": "ADDED", "object": {"metadata": {"name": f"msg_{n}"}}}).encode() + b"\n"
        for n in range(2000)
    )
    command = [str(PROGRAMS / "hookline"), "deliveries", "s", "-f", "--server", serve(changing).address, *token]
    done = hookline.run(["bash", "-c", f"{shlex.join(command)} -n x | head -1; echo ${{PIPESTATUS[0]}}"])
    assert (done.out.splitlines()[-1], done.err) == ("0", "")


@pytest.mark.parametrize("words", [(), ("-f",), ("-o", "json")], ids=" ".join)
def test_where_nobody_is_subscribed_that_is_said_and_no_server_is_asked(hookline, token, words):
    where = (*words, "--server", "http://127.0.0.1:1", *token, "--timeout", "1")
    done = hookline("deliveries", *where)
    sentence = f'There is no delivery in namespace "{hookline.namespace}": there is no WebhookSubscription.\n'
    assert (done.code, done.err) == (0, sentence)
    assert (json.loads(done.out)["items"] == []) if "json" in words else (done.out == "")
    control = hookline("deliveries", "s", *where)
    assert (control.code, "can't be reached" in control.err) == (1, True)


@pytest.mark.parametrize("name", ["status", "deliveries"])
def test_what_can_not_be_written_is_a_failure_in_a_sentence(hookline, serve, token, name):
    server = serve(EVENT)
    options = ["s", "-f", "--server", server.address, *token] if name == "deliveries" else ["-o", "json"]
    command = shlex.join([str(PROGRAMS / "hookline"), name, *options, "-n", hookline.namespace])
    full = hookline.run(["bash", "-c", f"{command} >/dev/full"])
    assert (full.code, full.err) == (1, f"hookline {name}: [Errno 28] No space left on device\n")
    closed = hookline.run(["bash", "-c", f"{command} >&-"])
    assert (closed.code, closed.err) == (1, f"hookline {name}: stdout is closed; send it to /dev/null to do without\n")


def test_a_terminal_that_has_no_such_letters_gets_escapes(hookline, serve, token):
    server = serve(json.dumps({"items": [DELIVERY | {"spec": {"type": "日本\ud800"}}], "metadata": {}}).encode())
    done = hookline("deliveries", "s", "--server", server.address, *token, env={"PYTHONIOENCODING": "ascii"})
    assert (done.code, done.err) == (0, "")
    assert "\\u65e5\\u672c\\ud800" in done.out


def test_an_object_that_is_nested_too_deeply_is_refused(hookline):
    done = hookline("explain", "-f", "-", input="[" * 100000)
    assert (done.code, done.err) == (1, "hookline explain: -f -: it is nested too deeply\n")


@pytest.mark.parametrize("place", ["b/../d", "..", 7])
def test_an_object_in_what_is_no_namespace_is_refused(hookline, place):
    written = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": place}}
    done = hookline("explain", "-f", "-", input=json.dumps(written))
    assert (done.code, done.err) == (1, f"hookline explain: -f -: {place!r} is no name of a namespace\n")
    control = hookline("explain", "-f", "-", input=json.dumps(written | {"metadata": {"name": "a", "namespace": "b"}}))
    assert control.code == 0


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "https://u:p@127.0.0.1:1",
        "http://evil.example\\@127.0.0.1:1",
        "http://127.0.0.1:1\t@x",
        "http://[::1%25lo]:1",
        "https://[",
        "https://a b",
        "https://a?b",
        "ftp://127.0.0.1",
    ],
)
@pytest.mark.parametrize("variable", [False, True])
def test_an_address_that_may_be_read_in_two_ways_is_refused(hookline, token, address, variable):
    given = () if variable else ("--server", address)
    done = hookline("deliveries", "s", *given, *token, env={"HOOKLINE_SERVER": address} if variable else {})
    option = "HOOKLINE_SERVER" if variable else "--server"
    assert (done.code, done.err) == (2, f"hookline deliveries: {option}: write https://host:port\n")


def as_token(hookline, control_plane, tmp_path, *audiences: str):
    """The command with a kubeconfig that has a ServiceAccount's token for these audiences."""
    account = ("kubectl", "get", "sa", "default", "-n", hookline.namespace, "-o", "name")
    eventually(lambda: hookline.run(account).code == 0, "the ServiceAccount is there")
    config = json.loads(hookline.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token_of(control_plane, hookline.namespace, "default", *audiences)}
    (tmp_path / "config").write_text(json.dumps(config))
    return hookline.as_user(tmp_path / "config")


LIST = b'{"items":[],"metadata":{}}'


@pytest.mark.parametrize("how", ["--server", "HOOKLINE_SERVER"])
def test_a_token_for_the_cluster_does_not_go_to_a_server(hookline, control_plane, serve, tmp_path, how):
    server, user = serve(LIST), as_token(hookline, control_plane, tmp_path)
    given = ("--server", server.address) if how == "--server" else ()
    env = {how: server.address} if how == "HOOKLINE_SERVER" else {}
    done = user("deliveries", "s", *given, env=env)
    assert (done.code, server.got) == (1, [])
    assert "the kubeconfig's token is one for the whole cluster, and was not sent" in done.err
    assert user("deliveries", "s", *given, "--send-cluster-token", env=env).code == 0
    assert b"Authorization: Bearer ey" in server.got[0]


def test_a_token_for_hookline_goes_there(hookline, control_plane, serve, tmp_path):
    server, user = serve(LIST), as_token(hookline, control_plane, tmp_path, AUDIENCE)
    assert user("deliveries", "s", "--server", server.address).code == 0
    assert b"Authorization: Bearer ey" in server.got[0]


@pytest.mark.parametrize("flag", ["--context", "--kubeconfig"])
def test_the_server_of_the_environment_is_not_that_of_another_cluster(hookline, serve, token, flag):
    server = serve(LIST)
    chosen = (flag, "hookline" if flag == "--context" else str(hookline.kubeconfig))
    done = hookline("deliveries", "s", *chosen, *token, env={"HOOKLINE_SERVER": server.address})
    assert (done.code, server.got) == (2, [])
    assert f"{flag}: HOOKLINE_SERVER is set, and may be of another cluster" in done.err
    assert hookline("deliveries", "s", *chosen, *token, "--server", server.address).code == 0


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"exec": {"command": "/bin/false"}}, 'its command "/bin/false" gave none'),
        ({"auth-provider": {"name": "azure"}}, 'its auth-provider "azure" gave none'),
    ],
)
def test_a_login_that_has_expired_is_said_to_have(hookline, serve, tmp_path, user, words):
    if "exec" in user:
        version = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}
        user = {"exec": user["exec"] | version}
    config = json.loads(hookline.kubeconfig.read_text())
    config["users"][0]["user"] = user
    (tmp_path / "config").write_text(json.dumps(config))
    expired, server = hookline.as_user(tmp_path / "config"), serve(LIST)
    for command in (("status",), ("deliveries", "s", "--server", server.address)):
        done = expired(*command)
        assert done.code == 1
        assert done.err == (
            f'hookline {command[0]}: context "hookline" of the kubeconfig has no credentials, {words}: log in again\n'
        )
    assert server.got == []
