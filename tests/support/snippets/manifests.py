"""YAML blocks: what each is, and whether the one who reads it would take it.

In: a ``Block``. Out: nothing, or ``SnippetError``. Kubernetes objects are applied to the real API server as a dry run;
a part of a subscription is put into one; values are rendered with the chart; a ``receive.yaml`` is read as the server
does.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hookline import keys
from hookline.api.parse import parse
from hookline.errors import HooklineError
from hookline.receiver import config
from support.cluster import Kubectl, KubectlError
from support.snippets.blocks import ROOT, Block
from support.snippets.shell import SnippetError

Object = dict[str, Any]
OURS = "hookline.dev/"
_JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}  # of RFC 8037, appendix A.2
FORMS = ("object", "spec", "values", "receive")


def form(block: Block, documents: Sequence[Any]) -> str:
    """Which of FORMS a block is, by its mark or by its keys. Raises SnippetError when neither tells."""
    if marked := block.marks.get("is"):
        if marked in FORMS:
            return marked
        raise SnippetError(f"{block.place}: 'is: {marked}': write one of {', '.join(FORMS)}")
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise SnippetError(f"{block.place}: this YAML is no object; say with <!-- is: … --> what it is")
    if all({"apiVersion", "kind"} <= document.keys() for document in documents):
        return "object"
    names = {key for document in documents for key in document}
    fits = [
        name
        for name, known in (("spec", spec_fields()), ("values", _values()), ("receive", {"endpoints"}))
        if (names & known if name == "receive" else names <= known)
    ]
    if len(fits) != 1:
        raise SnippetError(
            f"{block.place}: the keys {', '.join(sorted(names))} fit {' and '.join(fits) or 'nothing that is known'}; "
            "say with <!-- is: … --> what it is, or write it from its top"
        )
    return fits[0]


@functools.cache
def spec_fields() -> set[str]:
    """The fields of a subscription's spec, and ``spec`` itself."""
    crd = yaml.safe_load((ROOT / "crds" / "hookline.dev_webhooksubscriptions.yaml").read_text("utf-8"))
    return {"spec", *crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]}


@functools.cache
def _values() -> set[str]:
    return set(yaml.safe_load((ROOT / "charts" / "hookline" / "values.yaml").read_text("utf-8")))


def documents(block: Block) -> list[Any]:
    """The documents of a block. Raises SnippetError."""
    try:
        return [document for document in yaml.safe_load_all(block.text) if document is not None]
    except yaml.YAMLError as error:
        raise SnippetError(f"{block.place}: this is no YAML: {error}") from None


def subscription(fragment: Object) -> Object:
    """The smallest subscription with a part of its spec replaced."""
    spec = fragment.get("spec", fragment)
    destination = spec.get("destination", {})
    if not {"url", "urlFrom"} & destination.keys():
        destination = {"url": "https://hooks.example.com/orders", **destination}
    sources = [{"apiVersion": "v1", "kind": "ConfigMap"}]
    body = {"sources": sources, **spec, "destination": destination}
    kind = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription"}
    return {**kind, "metadata": {"name": "snippet"}, "spec": body}


def apply(block: Block, objects: Sequence[Object], kubectl: Kubectl) -> Iterator[tuple[str, bool]]:
    """Apply as a dry run; yields the expressions that the API server does not check, and whether each is a filter."""
    for obj in objects:
        try:
            namespace = obj["metadata"].get("namespace")
            if namespace:
                ensure(kubectl, namespace)
            where = [] if namespace else ["--namespace=default"]
            taken = kubectl.json(
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                *where,
                "-f",
                "-",
                input=yaml.safe_dump(obj),
            )
        except KubectlError as error:
            raise SnippetError(f"{block.place}: {error}") from None
        if taken["apiVersion"].startswith(OURS) and taken["kind"] == "WebhookSubscription":
            taken["metadata"].setdefault("uid", "u")
            taken["metadata"].setdefault("generation", 1)
            parse(taken)
            spec = taken["spec"]
            if expression := spec.get("filter", {}).get("expression"):
                yield expression, True
            if transform := spec.get("payload", {}).get("transform"):
                yield transform, False


def ensure(kubectl: Kubectl, namespace: str) -> None:
    """Make a namespace unless it is there."""
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})


def receive(block: Block, home: Path) -> None:
    """Read a ``receive.yaml`` whose files and variables exist and hold something fit. Raises SnippetError."""
    home.mkdir(parents=True, exist_ok=True)
    document = yaml.safe_load(filled(block.text))
    provide(document, home)
    try:
        config.parse(document, home, {name: _content(name) for name in _named(document, "env")})
    except HooklineError as error:
        raise SnippetError(f"{block.place}: {error}") from None


def provide(document: Any, home: Path) -> None:
    """Write the files that a ``receive.yaml`` names."""
    for name in _named(document, "file"):
        (home / name).write_text(_content(name), encoding="utf-8")
    for value in document.get("tls", {}).values():
        (home / value).write_text("a certificate", encoding="utf-8")
    for endpoint in document["endpoints"]:
        for name in endpoint.get("jwks", ()):
            (home / name).write_text(json.dumps({"keys": [_JWK]}), encoding="utf-8")


def filled(text: str) -> str:
    """A page leaves out what is random; here it is."""
    text = re.sub(r"(path: )/…", rf"\1/{secrets.token_urlsafe(32)}", text)
    return re.sub(r'(sha256: )"…"', rf'\1"{secrets.token_hex(32)}"', text)


def _named(value: Any, key: str) -> Iterator[str]:
    """All values of a key, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == key and isinstance(inner, str):
                yield inner
            else:
                yield from _named(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, key)


def _content(name: str) -> str:
    lowered = name.lower()
    if lowered.endswith(".key"):
        return keys.encode_hmac(keys.new_hmac())
    if "database" in lowered:
        return "sqlite:orders.db"
    return "https://hooks.example.com/T0/B0/x" if "url" in lowered else "a-secret-of-some-length"
