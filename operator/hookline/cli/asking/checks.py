"""Each answer, held against the rules of the product itself as soon as it is given.

In: a text as somebody typed it, or gave it by a flag. Out: the value for the spec. Each raises a HooklineError whose
text says what is wrong. What is asked of the cluster is only read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from hookline import paths
from hookline.cli.arguments import LABEL, SUBDOMAIN
from hookline.cli.asking.selector import label_selector
from hookline.cli.cluster import Cluster, CommandError, collection
from hookline.cli.explaining.served import Served, find
from hookline.deliver.guard import AddressPolicy
from hookline.errors import ApiError, DestinationRefused, NotServed, SettingsError, SpecError
from hookline.expressions.evaluator import Evaluator
from hookline.reasons import PLURAL
from hookline.spec import Content, Operation

ALLOWABLE = "administrator can allow"
"""What a refusal says that another setting of the operator would lift."""

_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_FIELDS = re.compile(r"[A-Za-z0-9_./-]+(==?|!=)[^,=\s]*(,[A-Za-z0-9_./-]+(==?|!=)[^,=\s]*)*")
_CHAT = re.compile(r"-?[0-9]+|@[A-Za-z0-9_]+")


def name_of(text: str, what: str = "name") -> str:
    """A name of an object."""
    if not SUBDOMAIN.fullmatch(text):
        raise SettingsError(f"{text!r} is no {what}: it must be lower-case letters, digits, - and ., such as orders")
    return text


async def new_name(text: str, cluster: Cluster, namespace: str, *, replace: bool) -> str:
    """A name that no subscription of the namespace has."""
    name_of(text)
    if not replace and await exists(cluster, f"{collection(PLURAL, namespace)}/{quote(text, safe='')}"):
        raise SettingsError(f"there is a subscription {text!r} in namespace {namespace} already: choose another name")
    return text


async def namespace_of(text: str, cluster: Cluster) -> str:
    """A namespace that exists, as far as that can be asked."""
    if not LABEL.fullmatch(text):
        raise SettingsError(f"{text!r} is no name of a namespace")
    if not await exists(cluster, f"/api/v1/namespaces/{text}", otherwise=True):
        raise SettingsError(f"there is no namespace {text!r}: create it first, or choose another one")
    return text


def watched(text: str, every: Sequence[Served]) -> Served:
    """A resource that a subscription can listen to."""
    try:
        found = find(every, text)
    except CommandError as error:
        raise SettingsError(str(error)) from None
    if not found.watchable:
        raise SettingsError(f"{found.name} can't be watched: choose another resource")
    return found


def listening(text: str, resource: Served) -> dict[str, Any]:
    """``spec.sources[].namespaces`` of ``same`` (empty), ``all``, names with commas, or a label selector."""
    if text == "same":
        return {}
    if not resource.resource.namespaced:
        raise SettingsError(f"{resource.name} are in no namespace: leave it at same")
    if text == "all":
        return {"from": "All"}
    if re.search(r"[=!() ]", text):
        return {"from": "Selector", "selector": label_selector(text)}
    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if not LABEL.fullmatch(name)]
    if wrong:
        raise SettingsError(
            f"{wrong[0]!r} is no namespace; write same, all, names with commas, or labels such as team=a"
        )
    return {"from": "Names", "names": names}


def operations(text: str) -> list[str]:
    """Some of Created, Updated and Deleted, in that order."""
    words = {word.strip().lower() for word in text.split(",")}
    known = {operation.value.lower(): operation.value for operation in Operation}
    wrong = sorted(words - known.keys())
    if wrong:
        raise SettingsError(f"{wrong[0]!r} is none of {', '.join(known.values())}")
    return [value for word, value in known.items() if word in words]


def labels(text: str) -> dict[str, Any]:
    """A label selector; empty for none."""
    return label_selector(text) if text.strip() else {}


async def fields(text: str, cluster: Cluster, resource: Served, namespace: str) -> str:
    """A field selector; empty for none. By which fields one can select only the API server knows: it is asked."""
    if text and not _FIELDS.fullmatch(text):
        raise SettingsError(
            f"{text!r} must be requirements such as status.phase=Failed, with commas and without spaces"
        )
    if text:
        path = resource.resource.path(namespace if resource.resource.namespaced else "")
        try:
            await cluster.kube.request("GET", path, params={"fieldSelector": text, "limit": "1"})
        except ApiError as error:
            if error.status == 400:
                raise SettingsError(f"the API server can't select by it: {str(error).partition(': ')[2]}") from None
    return text


def changed(texts: Sequence[str]) -> list[str]:
    """Paths of fields."""
    found = [text.strip() for text in texts if text.strip()]
    for text in found:
        try:
            paths.parse(text, "")
        except SpecError as error:
            raise SettingsError(error.message) from None
    return found


async def expression(text: str, evaluator: Evaluator) -> str:
    """A CEL filter that compiles; empty for none."""
    if text.strip():
        try:
            await evaluator.check(text, "", boolean=True)
        except SpecError as error:
            raise SettingsError(error.message) from None
    return text.strip()


def url(text: str, *, allowed: bool) -> str:
    """A URL that messages may be sent to. ``allowed``: the administrator allows what an operator otherwise refuses."""
    policy = AddressPolicy()
    if text.startswith("http://"):
        raise SettingsError("the URL must begin with https://; plain http only by a Secret, where it is allowed")
    try:
        policy.check_url(text)
    except DestinationRefused as error:
        if not (allowed and ALLOWABLE in str(error)):
            raise SettingsError(str(error)) from None
    return text


def destination(text: str, *, allowed: bool) -> dict[str, Any]:
    """``spec.destination`` of a URL, or of ``NAME/KEY`` of the Secret that holds it."""
    if "://" in text:
        return {"url": url(text, allowed=allowed)}
    return {"urlFrom": {"secretKeyRef": secret_key(text)}}


def secret_key(text: str) -> dict[str, str]:
    """``NAME/KEY`` of a Secret in the subscription's namespace."""
    name, _, key = text.partition("/")
    name_of(name, "name of a Secret")
    if not _KEY.fullmatch(key):
        raise SettingsError(f"{text!r} must be the name of a Secret and a key in it, such as orders-webhook/url")
    return {"name": name, "key": key}


def one_of(text: str, names: Sequence[str]) -> str:
    """One of some words, in any case."""
    for name in names:
        if name.lower() == text.strip().lower():
            return name
    raise SettingsError(f"{text!r} is none of {', '.join(names)}")


def content(text: str, resource: Served, watched_fields: Sequence[str]) -> str:
    """How much of the object a message has."""
    found = one_of(text, tuple(Content))
    if found == Content.CHANGES and not watched_fields:
        raise SettingsError("Changes has nothing to report: name the fields that matter, by --changed")
    if found != Content.METADATA and (resource.resource.api_version, resource.resource.kind) == ("v1", "Secret"):
        raise SettingsError("the values of Secrets are never sent: choose Metadata")
    return found


def chat_id(text: str) -> str:
    """A chat of Telegram."""
    if not _CHAT.fullmatch(text):
        raise SettingsError(f"{text!r} is no chat of Telegram: write its number, such as -1001234567890, or @channel")
    return text


async def exists(cluster: Cluster, path: str, *, otherwise: bool = False) -> bool:
    """Whether there is such an object; ``otherwise`` where that can't be asked."""
    try:
        await cluster.kube.request("GET", path)
    except NotServed:
        return False
    except ApiError:
        return otherwise
    return True
