"""Claims about ``hookline receive`` and ``hookline verify`` as people call them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import os
import signal
import ssl
import sys
import time
from typing import Any

import aiohttp
import pytest
import trustme
import yaml
from standardwebhooks import Webhook

from hookline import keys
from hookline.cli.main import main
from hookline.deliver.sign import Signer
from hookline.model import SigningKeys

HOOKLINE = [sys.executable, "-m", "hookline"]


def new_endpoint(capsys, *arguments: str) -> Any:
    """What was printed: for receive.yaml, the Secret, and for the subscription."""
    assert main(["receive", "new-endpoint", "orders", *arguments]) == 0
    mine, secret, subscription = yaml.safe_load_all(capsys.readouterr().out)
    return mine, secret, subscription


def test_a_new_endpoint_cannot_be_guessed_and_each_is_another(capsys):
    made = [new_endpoint(capsys) for _ in range(3)]
    paths = {mine["endpoints"][0]["path"] for mine, _, _ in made}
    assert len(paths) == len({secret["stringData"]["v1"] for _, secret, _ in made}) == 3
    assert all(len(base64.urlsafe_b64decode(path[1:] + "=")) * 8 == 256 for path in paths)


def test_what_is_printed_for_the_cluster_belongs_together(capsys):
    mine, secret, subscription = new_endpoint(capsys, "--url", "https://in.example.com/")
    assert secret["stringData"]["url"] == "https://in.example.com" + mine["endpoints"][0]["path"]
    assert len(keys.parse_hmac(secret["stringData"]["v1"])) == 32
    destination = subscription["spec"]["destination"]["urlFrom"]["secretKeyRef"]
    assert destination == {"name": secret["metadata"]["name"], "key": "url"}
    assert subscription["spec"]["signing"] == {"secretName": secret["metadata"]["name"], "schemes": ["v1"]}


@pytest.mark.parametrize("arguments", [["Orders"], ["a b"], ["x\n- y"], ["orders", "--url", "http://x"]])
def test_a_new_endpoint_with_a_bad_name_or_url_is_refused(arguments, capsys):
    assert main(["receive", "new-endpoint", *arguments]) == 2
    assert capsys.readouterr().out == ""


@pytest.fixture
def configured(tmp_path, capsys):
    """A folder with a configuration made of what ``new-endpoint`` printed, and the URL's path and the key."""
    mine, secret, _ = new_endpoint(capsys)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    (tmp_path / "orders.key").write_text(secret["stringData"]["v1"])
    mine["endpoints"][0]["actions"] = [{"script": {"command": ["/bin/true"]}}]
    mine |= {
        "listen": {"host": "127.0.0.1", "port": 0},
        "tls": {"certificate": "tls.crt", "key": "tls.key"},
        "once": "sqlite:ids.db",
    }
    (tmp_path / "receive.yaml").write_text(yaml.safe_dump(mine))
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    return tmp_path / "receive.yaml", mine["endpoints"][0]["path"], secret["stringData"]["v1"], context


async def test_a_new_endpoint_receives_until_the_server_is_told_to_stop(configured):
    path, endpoint, key, context = configured
    process = await asyncio.create_subprocess_exec(
        *HOOKLINE, "receive", "--config", str(path), stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(120):
            port = json.loads(await process.stderr.readline())["port"]
            now = datetime.datetime.now(tz=datetime.UTC)
            signature = Webhook(key).sign("msg_1", now, "{}")
            headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
            headers["webhook-signature"] = signature
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as client:
                url = f"https://127.0.0.1:{port}{endpoint}"
                async with client.post(url, data=b"{}", headers=headers) as response:
                    assert (response.status, await response.text()) == (200, "ok\n")
            process.send_signal(signal.SIGTERM)
            log = (await process.stderr.read()).decode()
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    messages = [json.loads(line)["message"] for line in log.splitlines()]
    assert messages == ["script ended", "ok", "stopped"]
    assert endpoint not in log
    assert key not in log


def test_a_configuration_can_be_checked_without_being_run(configured, capsys):
    path, *_ = configured
    assert main(["receive", "--config", str(path), "--check"]) == 0
    path.write_text(path.read_text().replace("listen:", "listens:"))
    assert main(["receive", "--config", str(path), "--check"]) == 2
    assert "there is no field 'listens' here" in capsys.readouterr().err


def test_a_configuration_that_is_no_yaml_is_refused_with_the_line(tmp_path, capsys):
    (tmp_path / "receive.yaml").write_text("listen: {}\nendpoints: [\n")
    assert main(["receive", "--config", str(tmp_path / "receive.yaml")]) == 2
    assert "no YAML at line 3" in capsys.readouterr().err


@pytest.fixture
def saved(tmp_path) -> list[str]:
    """The arguments of ``hookline verify`` for a request that was signed with ed25519 just now."""
    seed = bytes(range(32))
    now = int(time.time())
    signature = Signer(SigningKeys((), (seed,)), ("v1a",)).sign("msg_1", now, b"{}")
    headers = f"webhook-id: msg_1\nwebhook-timestamp: {now}\nwebhook-signature: {signature}\n"
    raw = base64.b64decode(keys.encode_ed25519_public(seed).removeprefix("whpk_"))
    key = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    (tmp_path / "headers").write_text(headers)
    (tmp_path / "body").write_bytes(b"{}")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [key]}))
    return ["--headers", str(tmp_path / "headers"), "--body", str(tmp_path / "body")]


def test_a_saved_request_verifies_with_a_published_key_set(saved, tmp_path, capsys):
    assert main(["verify", *saved, "--jwks", str(tmp_path / "jwks.json")]) == 0
    assert capsys.readouterr().out == "verified: msg_1\n"
    (tmp_path / "body").write_bytes(b"{ }")
    assert main(["verify", *saved, "--jwks", str(tmp_path / "jwks.json")]) == 1


@pytest.mark.parametrize("text", ["no json", "{}", "[]"])
def test_a_file_that_is_no_key_set_is_named(saved, tmp_path, capsys, text):
    (tmp_path / "jwks.json").write_text(text)
    assert main(["verify", *saved, "--jwks", str(tmp_path / "jwks.json")]) == 2
    assert "jwks.json: " in capsys.readouterr().err


def test_to_verify_without_any_key_is_refused(saved, capsys):
    assert main(["verify", *saved]) == 2
    assert "at least one" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Timestamp", "webhook-signature"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_saved_request_with_a_header_twice_is_refused_as_the_server_does(saved, tmp_path, capsys, name, first):
    """Whoever reads the headers otherwise would take the attacker's."""
    path = tmp_path / "headers"
    path.write_text(f"{name}: attacker\n" + path.read_text() if first else path.read_text() + f"{name}: attacker\n")
    assert main(["verify", *saved, "--jwks", str(tmp_path / "jwks.json")]) == 1
    assert f"{name.lower()}: the header is there twice" in capsys.readouterr().err


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-1", "-inf"])
def test_a_tolerance_that_means_nothing_is_refused(saved, tmp_path, capsys, tolerance):
    arguments = ["verify", *saved, "--jwks", str(tmp_path / "jwks.json"), f"--tolerance={tolerance}"]
    assert main(arguments) == 2
    assert "tolerance: it must be a number of seconds" in capsys.readouterr().err
    assert main([*arguments[:-1], "--tolerance=300"]) == 0, "the control"


def test_a_byte_that_is_no_utf_8_is_refused_where_it_matters_and_else_ignored(saved, tmp_path, capsys):
    path = tmp_path / "headers"
    good = path.read_bytes()
    arguments = ["verify", *saved, "--jwks", str(tmp_path / "jwks.json")]
    path.write_bytes(b"x-name: \xff\x85webhook-id: attacker\r\n" + good.replace(b"\n", b"\r\n"))
    assert main(arguments) == 0
    for end in (b"\xff", b"\xa0", b"\x85"):
        path.write_bytes(good.rstrip(b"\n") + end + b"\n")
        assert main(arguments) == 1
        assert "webhook-signature: the header is malformed" in capsys.readouterr().err
    (tmp_path / "key").write_bytes(b"whsec_\xff")
    assert main(["verify", *saved, "--key-file", str(tmp_path / "key")]) == 2
    assert "key: it is no key" in capsys.readouterr().err
