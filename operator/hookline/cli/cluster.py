"""The cluster as a command sees it: objects of our kinds, as the user of the kubeconfig, with errors as sentences.

In: the options that ``arguments.add_cluster`` added. Out: decoded objects. ``run`` is how a command does asynchronous
work with it. The operator's own API is ``hookline.cli.remote``.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import signal
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from hookline.cli.arguments import namespace_name
from hookline.cli.output import Output
from hookline.errors import ApiError, Forbidden, HooklineError, NotServed, SettingsError
from hookline.reasons import GROUP, PLURAL, VERSION

if TYPE_CHECKING:
    from hookline.kube import KubeClient

T = TypeVar("T")
Object = dict[str, Any]
PAGE = 500
POLL_SECONDS = 0.5
MERGE_PATCH = "application/merge-patch+json"
_MANAGER = {"fieldManager": "kubectl-hookline"}  # who set a field is told apart from the operator
_API = f"/apis/{GROUP}/{VERSION}"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class CommandError(HooklineError):
    """A command can't do what it was asked for; the message says what is wrong, where, and what to do. Exit code 1."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster, and where in it. ``namespace`` is never empty; ``everywhere`` is -A; ``server`` is its address."""

    kubeconfig: str
    context: str
    namespace: str
    everywhere: bool
    server: str = ""

    @property
    def scope(self) -> str | None:
        """The namespace to list in, None for all."""
        return None if self.everywhere else self.namespace

    @property
    def words(self) -> str:
        """For sentences: ``in namespace "shop"`` or ``in any namespace``."""
        return "in any namespace" if self.everywhere else f'in namespace "{self.namespace}"'

    @property
    def which(self) -> str:
        """For sentences: ``of context "here"`` or ``of the kubeconfig``."""
        return f'of context "{self.context}"' if self.context else "of the kubeconfig"


class Cluster:
    """Objects of the cluster at ``place``. Methods raise CommandError, with a sentence that says what to do."""

    def __init__(self, kube: KubeClient, place: Place) -> None:
        self.kube = kube
        self.place = place

    async def every(self, plural: str = PLURAL, namespace: str | None = None) -> list[Object]:
        """All objects of one of our kinds in a namespace, or in all (None), in the API server's order."""
        path, found, token = collection(plural, namespace), [], ""
        while True:
            params = {"limit": str(PAGE)} | ({"continue": token} if token else {})
            answer = await self.ask("GET", path, params=params)
            kind = str(answer["kind"]).removesuffix("List")
            # Items of a list lack what the list says for all of them.
            found += [{"apiVersion": answer["apiVersion"], "kind": kind, **item} for item in answer["items"]]
            token = answer["metadata"].get("continue", "")
            if not token:
                return found

    async def get(self, name: str, plural: str = PLURAL) -> Object:
        """One object in the place's namespace."""
        try:
            found: Object = await self.ask("GET", self.path(name, plural))
        except Missing:
            raise CommandError(await self._no_such(name, plural)) from None
        return found

    async def create(self, body: Object, plural: str) -> Object:
        """Create one in the place's namespace; returns it as the API server made it."""
        made: Object = await self.ask("POST", collection(plural, self.place.namespace), body=body, params=_MANAGER)
        return made

    async def annotate(self, name: str, annotations: Mapping[str, str], plural: str = PLURAL) -> Object:
        """Set annotations, leave everything else; returns the object."""
        body = {"metadata": {"annotations": dict(annotations)}}
        try:
            options = {"body": body, "content_type": MERGE_PATCH, "params": _MANAGER}
            changed: Object = await self.ask("PATCH", self.path(name, plural), **options)
        except Missing:
            raise CommandError(await self._no_such(name, plural)) from None
        return changed

    async def wait(
        self, name: str, plural: str, done: Callable[[Object], T | None], seconds: float, told: Callable[[Object], None]
    ) -> T:
        """Look at an object until ``done`` says something; ``told`` sees each look. 0 seconds: for ever.

        Raises TimeoutError.
        """
        deadline = time.monotonic() + seconds if seconds else float("inf")
        while True:
            found = await self.get(name, plural)
            answer = done(found)
            if answer is not None:
                return answer
            told(found)
            if time.monotonic() > deadline:
                raise TimeoutError
            await asyncio.sleep(POLL_SECONDS)

    def path(self, name: str, plural: str = PLURAL) -> str:
        """The path of one object in the place's namespace."""
        return f"{collection(plural, self.place.namespace)}/{quote(name, safe='')}"

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """One request to the API server, decoded. Raises Missing for 404, Denied for 403, else CommandError."""
        try:
            return await self.kube.request(method, path, **options)
        except NotServed as error:
            await self.check_served()
            raise Missing(sentence(error, self.place)) from None
        except ApiError as error:
            kind = Denied if error.status == 403 else CommandError
            raise kind(sentence(error, self.place)) from None

    async def check_served(self) -> None:
        """Raises CommandError where the cluster does not know our kinds; nothing where that can't be asked."""
        try:
            await self.kube.request("GET", _API)
        except NotServed:
            raise CommandError(NO_CRDS) from None
        except ApiError:
            return

    async def _no_such(self, name: str, plural: str) -> str:
        text = f'there is no {plural.removesuffix("s")} "{name}" {self.place.words}'
        try:
            names = [item["metadata"]["name"] for item in await self.every(plural, self.place.namespace)]
        except CommandError:
            return text
        if close := difflib.get_close_matches(name, names, 1):
            return f'{text}; there is "{close[0]}"'
        return f"{text}; look with -A in all of them" if not names else f"{text}; there are: {', '.join(names[:10])}"


class Missing(CommandError):
    """An object, or its namespace, does not exist."""


class Denied(CommandError):
    """The user may not do this."""


NO_CRDS = (
    "the cluster does not know WebhookSubscriptions: Hookline's CRDs are not installed there, or this is another "
    "cluster than you think. See kubectl config current-context; the Helm chart and crds/ have them"
)


def collection(plural: str, namespace: str | None) -> str:
    """The path of all objects of one of our kinds."""
    return f"{_API}/namespaces/{quote(namespace, safe='')}/{plural}" if namespace else f"{_API}/{plural}"


def sentence(error: ApiError, place: Place) -> str:
    """What went wrong with a request to the API server, and what to do."""
    if error.status == 0:
        return _unanswered(error, place)
    text = str(error).partition(": ")[2]
    if error.status == 401:
        return f"the API server {place.server} does not know you: {text}. Log in again, or choose another --context"
    if isinstance(error, Forbidden):
        return (
            f"{text}. Ask for that right: Hookline's chart adds reading to the ClusterRole view, and changing to edit"
        )
    return text


def _unanswered(error: ApiError, place: Place) -> str:
    """Why there was no usable answer; the operator's own logs are not told what connections say, but people are."""
    import aiohttp

    cause, inner = error.__cause__, getattr(error.__cause__, "os_error", error.__cause__)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        inner = cause.certificate_error
        return (
            f"the API server {place.server} has a certificate that is not trusted: "
            f"{str(getattr(inner, 'verify_message', inner)).rstrip('.')}. See server, certificate-authority-data and "
            f"tls-server-name of the cluster {place.which}"
        )
    if not isinstance(cause, aiohttp.ClientError | TimeoutError):  # none of the network's: credentials, no JSON
        return f"{error}. Does the cluster {place.which} run, and can you reach it at {place.server}?"
    number = getattr(inner, "errno", None) or 0
    why = os.strerror(number) if number > 0 else getattr(inner, "strerror", None) or type(inner).__name__
    why = "it did not come in time" if isinstance(cause, TimeoutError) else why
    return (
        f"no usable answer from the API server {place.server} ({why}). Does the cluster {place.which} run, and can you "
        "reach it?"
    )


def place_of(options: Namespace) -> Place:
    """Where the options say; the namespace of the context when they don't. Raises SettingsError."""
    context, namespace = "", options.namespace
    if not namespace or options.context:
        context, own = _context(options.kubeconfig, options.context)
        namespace = namespace or own
    try:
        namespace_name(namespace)
    except ArgumentTypeError as error:
        raise SettingsError(f"kubeconfig: the namespace of its context can't be used: {error}") from None
    return Place(options.kubeconfig, context or options.context, namespace or "default", options.all_namespaces)


def contexts(kubeconfig: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All contexts of a kubeconfig, and the current one. Raises SettingsError when there is none."""
    from kubernetes import config

    file = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        listed: Callable[[str], tuple[list[dict[str, Any]], dict[str, Any]]] = config.list_kube_config_contexts
        every, current = listed(file)
    except Exception as error:  # whatever YAML and files raise
        raise SettingsError(f"kubeconfig: {file} can't be used: {error}") from error
    return every, current or {}


def run(options: Namespace, work: Callable[[Cluster, Namespace, Output], Awaitable[int]]) -> int:
    """Connect, do the asynchronous work of a command, close. Returns what ``work`` returns: the exit code."""

    async def whole() -> int:
        from hookline.kube import KubeClient, load_access

        # What is wrong is said in a sentence; the kubernetes package would log it beside that.
        logging.getLogger().addHandler(logging.NullHandler())
        place = place_of(options)
        kube = KubeClient(load_access(options.kubeconfig, options.context))
        place = replace(place, server=kube.server)
        out = Output(getattr(options, "output", "table"))
        try:
            return await work(Cluster(kube, place), options, out)
        finally:
            out.progress.clear()
            await kube.close()

    return asyncio.run(_unless_ended(whole()))


async def _unless_ended(work: Awaitable[int]) -> int:
    """Do the work; SIGTERM, SIGQUIT or a closed terminal end it in order, so that no child process stays behind."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    ended: list[int] = []

    def end(number: int) -> None:
        ended.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not ended:
            raise
        return 128 + ended[0]


def _context(kubeconfig: str, wanted: str) -> tuple[str, str]:
    in_cluster = not (kubeconfig or wanted or os.environ.get("KUBECONFIG")) and "KUBERNETES_SERVICE_HOST" in os.environ
    if in_cluster:
        return "", _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.is_file() else ""
    every, current = contexts(kubeconfig)
    chosen = next((item for item in every if item["name"] == wanted), None) if wanted else current
    if chosen is None:
        names = ", ".join(sorted(str(item["name"]) for item in every)) or "none"
        raise SettingsError(f'--context: the kubeconfig has no context "{wanted}"; it has {names}')
    return str(chosen.get("name", "")), str((chosen.get("context") or {}).get("namespace") or "")
