"""Claims about receive.yaml: what is wrong is named, and no complaint shows a secret."""

from __future__ import annotations

import base64
import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hookline import keys
from hookline.errors import SettingsError
from hookline.receiver.config import Config, parse

PATH = "/" + "p" * 43
WHSEC = keys.encode_hmac(bytes(range(32)))
TOKEN = "t" * 32
SCRIPT = {"script": {"command": ["/bin/true"]}}
GOOD: dict[str, Any] = {
    "listen": {"port": 8443},
    "plainHttp": True,
    "once": "sqlite:ids.db",
    "endpoints": [
        {
            "name": "orders",
            "path": PATH,
            "keys": [{"env": "KEY"}],
            "users": [{"name": "alice", "bearer": {"env": "TOKEN"}}],
            "actions": [copy.deepcopy(SCRIPT)],
        }
    ],
}
ENVIRONMENT = {"KEY": WHSEC, "TOKEN": TOKEN, "SHORT": "short", "PATH_": PATH, "PG": "postgresql://u:hidden@h/d"}
ENDPOINT = ("endpoints", 0)
ACTION = (*ENDPOINT, "actions", 0)


def read(document: object, base: Path = Path("/nowhere")) -> Config:
    return parse(document, base, ENVIRONMENT)


def changed(place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """GOOD with one field set, or deleted by ``...``."""
    document = copy.deepcopy(GOOD)
    inner: Any = document
    for step in place[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return document


def test_the_control_is_accepted():
    config = read(GOOD)
    assert config.listen == ("0.0.0.0", 8443)
    assert config.certificate is None
    assert [endpoint.name for endpoint in config.endpoints] == ["orders"]
    assert list(config.endpoints[0].actions) == ["script"]


def insert(**more: object) -> dict[str, Any]:
    return {"insert": {"database": "sqlite:x.db", "table": "t", "columns": {"id": "@id"}, **more}}


def email(**more: object) -> dict[str, Any]:
    return {"email": {"smtp": {"host": "mail"}, "from": "a@b.c", "to": ["d@e.f"], "subject": "s", **more}}


def forward(**more: object) -> dict[str, Any]:
    return {"forward": {"url": {"env": "KEY"}, "style": "slack", "text": "t", **more}}


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("listen",), ..., "listen is missing"),
        (("listen", "port"), "8443", "listen.port: it must be a whole number"),
        (("listen", "port"), True, "listen.port: it must be a whole number"),
        (("plainHttp",), ..., "plainHttp: true when a proxy"),
        (("plainHttp",), False, "plainHttp: true when a proxy"),
        (("tls",), {"certificate": "c", "key": "k"}, "plainHttp: true when a proxy"),
        (("extra",), 1, "there is no field 'extra' here"),
        (("endpoints",), [], "endpoints: it must be a list with at least one entry"),
        (("endpoints",), GOOD["endpoints"] * 2, "the same name"),
        ((*ENDPOINT, "name"), "Orders", "endpoints[0].name"),
        ((*ENDPOINT, "path"), "/orders", "endpoints[0].path: it must be a path whose last part is 43 or more random"),
        ((*ENDPOINT, "path"), {"env": "SHORT"}, "endpoints[0].path"),
        ((*ENDPOINT, "keys"), ..., "it has no keys"),
        ((*ENDPOINT, "keys"), [WHSEC], "endpoints[0].keys[0]: a secret does not stand here"),
        ((*ENDPOINT, "keys"), [{"env": "ABSENT"}], "endpoints[0].keys[0].env: this environment variable is not set"),
        ((*ENDPOINT, "keys"), [{"file": "absent"}], "endpoints[0].keys[0].file: the file can't be read"),
        ((*ENDPOINT, "keys"), [{"env": "TOKEN"}], "endpoints[0]: keys: a whsec_ key must be"),
        ((*ENDPOINT, "keys"), [{"env": "KEY", "file": "x"}], "exactly one of file, env"),
        ((*ENDPOINT, "bodyLimit"), 5, "endpoints[0].bodyLimit"),
        ((*ENDPOINT, "toleranceSeconds"), 0, "endpoints[0].toleranceSeconds"),
        ((*ENDPOINT, "users", 0, "bearer"), {"env": "SHORT"}, "the token is guessable"),
        ((*ENDPOINT, "users", 0, "bearer"), {"sha256": "abc"}, "users[0].bearer.sha256: it must be the 64 hex"),
        ((*ENDPOINT, "users", 0, "bearer"), {}, "exactly one of file, env, sha256"),
        ((*ENDPOINT, "users", 0, "apiKey"), {"env": "TOKEN"}, "exactly one of bearer, apiKey"),
        ((*ENDPOINT, "users"), [{"name": "a", "apiKey": {"header": "a b", "env": "TOKEN"}}], "the name of a header"),
        ((*ENDPOINT, "users"), [{"name": "a", "apiKey": {"header": "webhook-id", "env": "TOKEN"}}], "of its own"),
        ((*ENDPOINT, "actions"), [SCRIPT, SCRIPT], "two actions are called 'script'"),
        (ACTION, {"name": "x"}, "exactly one of insert, script, email, forward"),
        (("once",), ..., "actions[0].script: it needs a place to remember"),
        (("once",), "mysql://x", "once: it must be sqlite:"),
        (("once",), "postgresql://u:hidden@h/d", "once: a password does not stand here"),
        ((*ACTION, "script", "command"), ["true"], "the absolute path of a program"),
        ((*ACTION, "script", "command"), "/bin/true", "it must be a list"),
        ((*ACTION, "script", "timeoutSeconds"), 3600, "timeoutSeconds: it must be a whole number from 1 to 60"),
        (ACTION, insert(table='t"; DROP TABLE t'), "insert.table: it must be a table"),
        (ACTION, insert(columns={"a b": "@id"}), "insert.columns.a b: it must be a column"),
        (ACTION, insert(columns={"a": "id"}), "insert.columns.a: 'id' is no source"),
        (ACTION, insert(columns={}), "insert.columns: it must be a mapping with at least one entry"),
        (ACTION, email(to=["a@b.c\nBcc: x@y.z"]), "email.to[0]: it must be a bare address"),
        (ACTION, email(subject="{$x}"), "email.subject: '$x' is no source"),
        (ACTION, email(smtp={"host": "m", "username": "u"}), "username and password, or none"),
        (
            ACTION,
            email(smtp={"host": "m", "tls": "none", "username": "u", "password": {"env": "TOKEN"}}),
            "a password is not sent without TLS",
        ),
        (ACTION, forward(), "forward.url: it must hold an https:// URL"),
        (ACTION, forward(url="https://x"), "forward.url: a secret does not stand here"),
        (ACTION, forward(style="telegram"), "chatId is needed for style telegram"),
        (ACTION, forward(style="irc"), "one of slack, teams, telegram"),
    ],
)
def test_what_is_wrong_is_named(place, value, complaint):
    with pytest.raises(SettingsError, match=re.escape(complaint)) as refusal:
        read(changed(place, value))
    for secret in (WHSEC, TOKEN, PATH, "hidden"):
        assert secret not in str(refusal.value)


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_a_file_that_is_no_mapping_is_refused(document):
    with pytest.raises(SettingsError, match="the file: it must be a mapping"):
        read(document)


def test_path_and_database_can_come_from_the_environment():
    pytest.importorskip("psycopg")
    document = changed((*ENDPOINT, "path"), {"env": "PATH_"})
    document["once"] = {"env": "PG"}
    assert read(document).endpoints[0].path == PATH


def test_files_are_found_beside_the_configuration(tmp_path):
    (tmp_path / "orders.key").write_text(WHSEC + "\n")
    assert read(changed((*ENDPOINT, "keys"), [{"file": "orders.key"}]), tmp_path)


def test_the_configuration_in_the_guide_is_accepted(tmp_path):
    guide = (Path(__file__).parents[3] / "docs" / "receiving.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    document = yaml.safe_load(text.replace("/…", PATH).replace('"…"', f'"{"0" * 64}"'))
    x = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    files = {
        "orders.key": WHSEC,
        "sender-jwks.json": json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}),
        "smtp.password": "hidden",
        "chat.url": "https://chat.example.com/hidden",
        "tls.crt": "checked at the start",
        "tls.key": "checked at the start",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    environment = {"ALICE_TOKEN": TOKEN, "ORDERS_DATABASE": "sqlite:orders.db"}
    (endpoint,) = parse(document, tmp_path, environment).endpoints
    assert list(endpoint.actions) == ["insert", "script", "email", "forward"]
