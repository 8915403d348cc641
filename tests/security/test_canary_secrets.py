"""Fifty secrets go through the running operator, by success and by every kind of failure: none comes out anywhere.

A new place for a secret is one line in ``METHODS`` (how a request authenticates) or ``MALFORMED`` (a Secret that can't
be used), a new kind of failure one in ``ENDPOINTS``. Each method is tried at each endpoint in turn.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets as random
from functools import partial

import pytest
import trustme
import yaml

from hookline import keys
from support.authority import pair
from support.cluster import eventually
from support.collector import Collector
from support.leaks import canary, forms, leaks
from support.live import LiveReceiver
from support.receiver import Answer, Receiver
from support.whole import config_map, make_operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "receiver", "subscriptions"]
ENDPOINTS = (
    *("delivered", "failing", "gone", "redirecting", "hanging", "untrusted"),
    *("unreachable", "unresolved", "refused", "unauthorized"),
)
MALFORMED = ("url", "header", "signing", "bearer", "certificate")
QUICK = {"timeoutSeconds": 1, "retry": {"schedule": [1] * 30}}


class Estate:
    """Makes Secrets full of canaries, and remembers them all."""

    def __init__(self, kubectl, namespace):
        self.kubectl, self.namespace = kubectl, namespace
        self.canaries: dict[str, bytes] = {}

    def new(self, what):
        """A fresh canary."""
        self.canaries[what] = (text := canary(what)).encode()
        return text

    def secret(self, name, **fields):
        data = fields.pop("data")
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        self.kubectl.apply({**body, **fields}, namespace=self.namespace)

    def keep(self, what, entries):
        """Signing keys are canaries in their text and in their raw form."""
        for entry, text in entries.items():
            raw = keys.parse_hmac(text) if entry == "v1" else keys.parse_ed25519_private(text)
            self.canaries |= {f"{what} {entry}": text.partition("_")[2].encode(), f"{what} {entry} raw": raw}


def bearer(estate, name, issuer):
    estate.secret(f"{name}-auth", data={"token": estate.new(f"{name} bearer")})
    return {"bearer": {"tokenFrom": ref(f"{name}-auth", "token")}}


def basic(estate, name, issuer):
    password = {"username": "me", "password": estate.new(f"{name} password")}
    estate.secret(f"{name}-auth", data=password, type="kubernetes.io/basic-auth")
    estate.canaries[f"{name} basic"] = base64.b64encode(f"me:{password['password']}".encode())
    return {"basic": {"secretRef": {"name": f"{name}-auth"}}}


def api_key(estate, name, issuer):
    estate.secret(f"{name}-auth", data={"key": estate.new(f"{name} API key")})
    return {"apiKey": {"header": "X-Api-Key", "valueFrom": ref(f"{name}-auth", "key")}}


def oauth2(estate, name, issuer):
    estate.secret(f"{name}-auth", data={"id": "me", "secret": estate.new(f"{name} client secret")})
    client = {"clientIdFrom": ref(f"{name}-auth", "id"), "clientSecretFrom": ref(f"{name}-auth", "secret")}
    return {"oauth2ClientCredentials": {"tokenUrl": issuer.url("/token"), **client}}


def service_account(estate, name, issuer):
    return {"serviceAccountToken": {"audience": "https://hooks.example.com", "expirationSeconds": 600}}


METHODS = (bearer, basic, api_key, oauth2, service_account)


def ref(name, key):
    return {"secretKeyRef": {"name": name, "key": key}}


@pytest.fixture
def estate(kubectl, namespace):
    return Estate(kubectl, namespace)


@pytest.fixture
def endpoints(receiver, estate):
    """A receiver for each kind of answer, and an issuer of tokens; each puts canaries into what it says."""
    made = {}

    def serve(name, answer, authority=None):
        known = receiver.do(lambda one: one.authority)
        made[name] = LiveReceiver(Receiver(authority=authority or known))
        made[name].do(lambda one: one.answer_with(answer))

    body, location = estate.new("body of an answer").encode(), estate.new("redirect")
    hold = receiver.do(lambda _: asyncio.Event())
    serve("delivered", Answer(200, {"X-Trace": estate.new("header of an answer")}, body))
    serve("failing", Answer(503, {}, body))
    serve("gone", Answer(410, {}, body))
    serve("unauthorized", Answer(401, {"WWW-Authenticate": f'Bearer error="{body.decode()}"'}, body))
    serve("redirecting", Answer(302, {"Location": f"https://localhost/{location}"}, body))
    serve("hanging", Answer(200, hold=hold))
    serve("untrusted", Answer(200), trustme.CA())
    token = {"access_token": estate.new("issued token"), "token_type": "Bearer", "expires_in": 3600}
    serve("issuer", Answer(200, body=json.dumps(token).encode()))
    refusal = {"error": "invalid_client", "error_description": estate.new("issuer's refusal")}
    serve("refusing issuer", Answer(401, body=json.dumps(refusal).encode()))
    yield made
    for one in made.values():
        for hanging in (receiver, one):
            hanging.do(lambda _: hold.set())
        one.close()


@pytest.fixture
def collector(monkeypatch):
    """Where traces go."""
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield running


@pytest.fixture
def kubeconfig(control_plane, kubectl, namespace, estate, tmp_path):
    """A kubeconfig with a token, which is a canary, too."""
    kubectl("create", "serviceaccount", "hookline", "-n", namespace)
    subject = f"--serviceaccount={namespace}:hookline"
    kubectl("create", "clusterrolebinding", namespace, "--clusterrole=cluster-admin", subject)
    token = kubectl("create", "token", "hookline", "-n", namespace).strip()
    estate.canaries["kubeconfig token"] = token.encode()
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = tmp_path / "with-token.yaml"
    path.write_text(yaml.safe_dump(config))
    yield path
    kubectl("delete", "clusterrolebinding", namespace)


def place(endpoints, kind, path):
    """Where a subscription of this kind sends."""
    known = endpoints.get(kind)
    if known is not None:
        return known.url(path)
    port = endpoints["delivered"].url().rpartition(":")[2].rstrip("/")
    host = {"unreachable": "localhost:1", "unresolved": "nowhere.invalid", "refused": f"127.0.0.1:{port}"}[kind]
    return f"https://{host}{path}"


def subscribe(estate, subscriptions, endpoints, index, kind):
    """A subscription with canaries in every place, one after the other method at one after the other endpoint."""
    name = kind
    signing = {"v1": keys.encode_hmac(keys.new_hmac()), "v1a": keys.encode_ed25519_private(keys.new_ed25519())}
    estate.keep(name, signing)
    path = random.token_urlsafe(32)
    estate.canaries[f"{name} path"] = path.encode()
    header = estate.new(f"{name} header")
    data = {"url": place(endpoints, kind, f"/{path}"), "header": header, **signing}
    estate.secret(name, data=data)
    issuer = endpoints["issuer" if index % 2 else "refusing issuer"]
    destination = {
        "urlFrom": ref(name, "url"),
        "headers": [{"name": "X-Team", "valueFrom": ref(name, "header")}],
        "auth": METHODS[index % len(METHODS)](estate, name, issuer),
    }
    own = {"signing": {"secretName": name}} if index % 2 else {}
    subscriptions.apply(name, destination=destination, delivery=QUICK, **own)


def malform(estate, subscriptions, endpoints):
    """Subscriptions to Secrets that can't be used."""
    bad = {what: estate.new(f"malformed {what}") for what in MALFORMED}
    signing = {"v1": bad["signing"], "v1a": bad["signing"]}
    estate.secret("bad", data={"url": f"ftp://{bad['url']}/", **signing})
    estate.secret("bad-header", data={"header": f"\x01{bad['header']}", "bearer": f"é{bad['bearer']}"})
    certificate = {"tls.crt": bad["certificate"], "tls.key": bad["certificate"]}
    estate.secret("bad-tls", data=certificate, type="kubernetes.io/tls")
    to = {"url": endpoints["delivered"].url("/")}
    subscriptions.apply("bad-url", destination={"urlFrom": ref("bad", "url")})
    subscriptions.apply(
        "bad-header", destination=to | {"headers": [{"name": "X-T", "valueFrom": ref("bad-header", "header")}]}
    )
    subscriptions.apply("bad-signing", destination=to, signing={"secretName": "bad"})
    subscriptions.apply("bad-bearer", destination=to | {"auth": {"bearer": {"tokenFrom": ref("bad-header", "bearer")}}})
    subscriptions.apply(
        "bad-certificate", destination=to | {"tls": {"clientCertificate": {"secretRef": {"name": "bad-tls"}}}}
    )
    return [f"bad-{what}" for what in MALFORMED]


def is_refused(subscriptions, name):
    return subscriptions.condition("Ready", name)[0] == "False"


def has_failed(subscriptions, name):
    return "lastFailure" in subscriptions.get(name)["status"]


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed outbox", "clear outbox"])
def test_fifty_secrets_come_out_nowhere(
    make_operator,
    subscriptions,
    config_map,
    kubectl,
    namespace,
    estate,
    endpoints,
    kubeconfig,
    collector,
    tmp_path,
    sealed,
):
    outbox_key = random.token_bytes(32)
    estate.canaries["outbox key"] = outbox_key
    (tmp_path / "outbox.key").write_text(base64.b64encode(outbox_key).decode())
    key_file = ("--outbox-key-file", str(tmp_path / "outbox.key")) if sealed else ()
    operator = make_operator(
        "--kubeconfig",
        str(kubeconfig),
        "--key-overlap-seconds",
        "3",
        "--tracing",
        "--allow-service-account-tokens",
        *key_file,
    ).start()
    clients = trustme.CA()
    certificate, private = pair(clients.issue_cert(common_name="hookline"))
    estate.canaries["client key"] = private.encode()
    estate.canaries["client key's middle"] = private.splitlines()[1].encode()
    estate.secret("mutual-tls", data={"tls.crt": certificate, "tls.key": private}, type="kubernetes.io/tls")
    mutual = {"tls": {"clientCertificate": {"secretRef": {"name": "mutual-tls"}}}}
    subscriptions.apply("mutual", destination={"url": endpoints["delivered"].url("/mutual"), **mutual})
    for index, kind in enumerate(ENDPOINTS):
        subscribe(estate, subscriptions, endpoints, index, kind)
    generated = {"url": endpoints["delivered"].url("/made"), "unguessablePath": "Generated"}
    subscriptions.apply("made", destination=generated, delivery=QUICK)
    for bad in malform(estate, subscriptions, endpoints):
        eventually(partial(is_refused, subscriptions, bad), f"{bad} is refused", 60)
    for name in ("made", "mutual", *(kind for kind in ENDPOINTS if kind != "refused")):
        subscriptions.wait("Watching", name)
    for number in range(3):
        config_map(f"web-{number}", planted="planted-in-an-object")
        kubectl("annotate", "whsub", "made", f"hookline.dev/rotate-key={number}", "--overwrite", "-n", namespace)
    failing = [kind for kind in ENDPOINTS if kind not in ("delivered", "refused")]
    for kind in failing:
        eventually(partial(has_failed, subscriptions, kind), f"{kind} fails", 60)
    eventually(lambda: subscriptions.get("made")["status"].get("lastDelivery"), "a delivery", 60)
    eventually(partial(is_refused, subscriptions, "refused"), "a refused address", 60)
    remember_what_was_made(estate, kubectl, namespace, endpoints)
    metrics = operator.get("/metrics")[1].encode()
    operator.kill()  # the log of the outbox is still there
    places = searched(operator, kubectl, namespace) | {"metrics": metrics}
    operator.start()
    assert operator.stop() == 0
    places |= {f"{name} after a restart": content for name, content in searched(operator, kubectl, namespace).items()}
    places["traces"] = b"".join(collector.raw)
    assert len(estate.canaries) >= 50
    assert leaks(estate.canaries, places) == []
    # What is no secret is found, by the same search, in the same places.
    uid = subscriptions.get("gone")["metadata"]["uid"].encode()
    planted = {"subscription": uid, "reason": b"EndpointGone", "metric": b"hookline_outbox_messages"}
    planted["verdict"] = b"HTTP410"
    found = {line.partition(" in ")[2].partition(" (")[0] for line in leaks(planted, places)}
    assert {"log", "status", "events", "metrics", "file outbox.db-wal", "traces"} <= found
    objects = leaks({"object": b"planted-in-an-object"}, places)
    assert any("file" in line for line in objects) is not sealed, "the control: what a body holds is found in clear"


def remember_what_was_made(estate, kubectl, namespace, endpoints):
    """Add the keys that the operator made, and the tokens that the cluster issued: they were not known beforehand."""
    for secret in kubectl.json("get", "secrets", "-n", namespace)["items"]:
        if secret.get("type") == "hookline.dev/signing-key":
            texts = {entry: base64.b64decode(value).decode() for entry, value in secret["data"].items()}
            for entry, text in texts.items():
                if entry != "v1a.pub":
                    estate.keep(f"made for {secret['metadata']['name']} {entry}", {entry.partition(".")[0]: text})
        if secret.get("type") == "hookline.dev/endpoint":
            estate.canaries["generated path"] = base64.b64decode(secret["data"]["path"])
    assert "generated path" in estate.canaries
    tokens = {
        request.headers["authorization"].removeprefix("Bearer ")
        for one in endpoints.values()
        for request in one.requests
        if request.headers.get("authorization", "").startswith("Bearer ey")
    }
    assert tokens, "the control: a token of the cluster was sent"
    estate.canaries |= {f"ServiceAccount token {number}": token.encode() for number, token in enumerate(tokens)}


def searched(operator, kubectl, namespace):
    """Everything that the operator writes."""
    statuses = [obj["status"] for obj in kubectl.json("get", "whsub", "-n", namespace)["items"]]
    events = kubectl.json("get", "events.events.k8s.io", "-n", namespace)["items"]
    files = {f"file {file.name}": file.read_bytes() for file in (operator.home / "data").iterdir()}
    return {
        "log": operator.log.read_bytes(),
        "status": json.dumps(statuses).encode(),
        "events": json.dumps(events).encode(),
        **files,
    }


@pytest.mark.parametrize("form", [form for form, _ in forms(b"x")])
def test_the_search_finds_a_planted_secret_in_each_form(form):
    secret = canary("planted").encode()
    spelling = dict(forms(secret))[form]
    assert f"planted in log ({form})" in leaks({"planted": secret}, {"log": b"so " + spelling + b"!"})
    assert leaks({"planted": canary("other").encode()}, {"log": spelling}) == []


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
def test_the_search_finds_a_secret_inside_of_a_longer_encoded_text(before):
    secret = canary("planted")
    encoded = base64.b64encode(f"{before}{secret}:after".encode())
    assert leaks({"planted": secret.encode()}, {"status": encoded})
