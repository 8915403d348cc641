"""The questions, in order. An answer that was given by a flag is checked like one that was typed, and not asked for.

In: the options of ``new``, and a ``Prompt`` where somebody is there to answer. Out: ``Answers``.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hookline.cli.asking import checks
from hookline.cli.asking.examples import CHANGED, CHATS, filters
from hookline.cli.asking.manifest import Answers
from hookline.cli.asking.prompt import Check, Prompt
from hookline.cli.cluster import Cluster, CommandError
from hookline.cli.explaining.served import Served
from hookline.errors import HooklineError, SettingsError
from hookline.expressions.evaluator import Evaluator
from hookline.spec import Content, Format, Operation

T = TypeVar("T")
FORMATS = (*CHATS, *(str(member) for member in Format))
REQUIRED = (("name", "NAME"), ("watch", "--watch"), ("url", "--url or --url-secret"))
_COMMON = ("deployments.apps", "pods", "jobs.batch", "configmaps", "nodes", "events")


class Wizard:
    """Asks for what the options leave open; without a ``prompt`` the defaults are the answers."""

    def __init__(self, options: Namespace, cluster: Cluster, every: Sequence[Served], evaluator: Evaluator) -> None:
        self._options = options
        self._cluster = cluster
        self._every = every
        self._evaluator = evaluator
        self.prompt: Prompt | None = None

    def missing(self) -> list[str]:
        """The flags without which nothing can be written."""
        given = self._options
        return [
            *(flag for key, flag in REQUIRED if not getattr(given, key) and not (key == "url" and given.url_secret)),
            *(["--telegram-chat"] if str(given.format).lower() == "telegram" and not given.telegram_chat else []),
        ]

    async def answers(self) -> Answers:
        """All answers. Raises SettingsError for a flag that can't be used, CommandError when the input ends."""
        options, cluster = self._options, self._cluster
        namespace = await self._ask(
            options.namespace or None,
            "--namespace",
            "Namespace",
            lambda text: checks.namespace_of(text, cluster),
            cluster.place.namespace,
        )
        name = await self._ask(
            options.name or None,
            "NAME",
            "Name of the subscription",
            lambda text: checks.new_name(text, cluster, namespace, replace=options.replace),
        )
        resource = await self._resource()
        listening = await self._ask(
            options.watch_namespaces,
            "--watch-namespaces",
            f"In which namespaces (same is {namespace}; all; names with commas; or labels of namespaces)",
            _plain(lambda text: checks.listening(text, resource)),
            "same",
            asked=resource.resource.namespaced,
        )
        operations = await self._ask(
            options.operations,
            "--operations",
            "Which operations",
            _plain(checks.operations),
            ",".join(Operation),
        )
        selecting, fields = await self._selectors(resource, namespace)
        changed, expression = await self._filter(resource)
        format_ = await self._ask(
            options.format,
            "--format",
            f"Format of the messages ({', '.join(FORMATS)})",
            _plain(lambda text: checks.one_of(text, FORMATS)),
            str(Format.CLOUD_EVENTS),
        )
        content = await self._content(resource, changed, format_)
        chat = await self._chat(format_)
        destination = await self._destination(name, format_)
        account = await self._ask(
            options.service_account,
            "--service-account",
            "ServiceAccount whose rights bound what is watched",
            _plain(lambda text: checks.name_of(text, "name of a ServiceAccount")),
            "default",
        )
        return Answers(
            name=name,
            namespace=namespace,
            watched=resource,
            listening=listening,
            operations=operations,
            labels=selecting,
            fields=fields,
            changed=changed,
            expression=expression,
            format=format_,
            content=content,
            chat_id=chat,
            destination=destination,
            service_account=account,
        )

    async def _resource(self) -> Served:
        if self.prompt is not None and not self._options.watch:
            offered = sorted({one.name for one in self._every if one.watchable and one.preferred})
            self.prompt.say("What to watch? The cluster serves:")
            self.prompt.choices(offered)
        common = next((name for name in _COMMON if any(one.name == name for one in self._every)), "configmaps")
        return await self._ask(
            self._options.watch, "--watch", "Resource", _plain(lambda text: checks.watched(text, self._every)), common
        )

    async def _selectors(self, resource: Served, namespace: str) -> tuple[dict[str, Any], str]:
        question = "Only objects with these labels (such as app=orders; empty for any)"
        selecting = await self._ask(self._options.labels, "--labels", question, _plain(checks.labels), "")
        question = "Only objects with these fields (such as status.phase=Failed; empty for any)"
        asked = resource.name in ("pods", "events", "events.events.k8s.io")
        fields = await self._ask(
            self._options.field_selector,
            "--field-selector",
            question,
            lambda text: checks.fields(text, self._cluster, resource, namespace),
            "",
            asked=asked,
        )
        return selecting, fields

    async def _filter(self, resource: Served) -> tuple[list[str], str]:
        kind = resource.resource.kind
        field = CHANGED.get(kind, "spec")
        changed = await self._ask(
            None if self._options.changed is None else ",".join(self._options.changed),
            "--changed",
            f"Only when one of these fields differs (such as {field}; empty for any change)",
            _plain(lambda text: checks.changed(text.split(","))),
            "",
        )
        if self.prompt is not None and self._options.expression is None:
            self.prompt.say("A filter in CEL sees object, oldObject, operation and source. For example:")
            self.prompt.say(*(f"  {example}" for example in filters(kind)))
        expression = await self._ask(
            self._options.expression,
            "--expression",
            "Filter (empty for none)",
            lambda text: checks.expression(text, self._evaluator),
            "",
        )
        return changed, expression

    async def _content(self, resource: Served, changed: Sequence[str], format_: str) -> str:
        secret = (resource.resource.api_version, resource.resource.kind) == ("v1", "Secret")
        if format_ in CHATS:
            if self._options.content is not None:
                raise SettingsError(f"--content: a message of {format_} says what its transform says; leave it out")
            return str(Content.FULL)
        found = await self._ask(
            self._options.content,
            "--content",
            f"How much of the object ({', '.join(Content)})",
            _plain(lambda text: checks.content(text, resource, changed)),
            str(Content.METADATA if secret else Content.FULL),
        )
        return str(found)

    async def _chat(self, format_: str) -> str:
        given = self._options.telegram_chat
        if format_ == "Telegram":
            question = "Chat of Telegram, a number or @channel"
            return await self._ask(given, "--telegram-chat", question, _plain(checks.chat_id))
        if given is not None:
            raise SettingsError("--telegram-chat: it is for the format Telegram alone")
        return ""

    async def _destination(self, name: str, format_: str) -> dict[str, Any]:
        options, prompt = self._options, self.prompt

        async def check(text: str) -> dict[str, Any]:
            try:
                return checks.destination(text, allowed=options.destination_allowed)
            except SettingsError as error:
                if prompt is None or checks.ALLOWABLE not in str(error):
                    raise
                prompt.say(f"  {error}")
                if prompt.confirm("  Has an administrator of Hookline allowed it?"):
                    return checks.destination(text, allowed=True)
                raise SettingsError("then choose another destination") from None

        secret, default = f"{name}-webhook/url", None
        question = f"URL (https://...), or the Secret and key that hold it (such as {secret})"
        if format_ in CHATS:
            question, default = f"The URL of {format_} is a secret. Secret and key that hold it", secret
        return await self._ask(
            options.url_secret or options.url,
            "--url-secret" if options.url_secret else "--url",
            question,
            check,
            default,
        )

    async def _ask(
        self,
        given: str | None,
        flag: str,
        question: str,
        check: Check[T],
        default: str | None = None,
        *,
        asked: bool = True,
    ) -> T:
        """The answer to one question; where it is not to be ``asked`` and not given, that to the default."""
        if given is None and asked and self.prompt is not None:
            return await self.prompt.ask(question, check, default)
        text = default if given is None else given
        if text is None:
            raise SettingsError(f"{flag}: it must be given")
        try:
            return await check(text)
        except CommandError:
            raise
        except HooklineError as error:
            raise SettingsError(f"{flag}: {error}") from None


def _plain(check: Callable[[str], T]) -> Check[T]:
    """A check that asks nobody."""

    async def checked(text: str) -> T:
        return check(text)

    return checked
