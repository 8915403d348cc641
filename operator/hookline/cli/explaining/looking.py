"""One subscription, looked at as the operator does: is it in force, does it want the change, what would it send?

In: a ``WebhookSubscription`` as the API server stores it (or a file has it), and a ``Subject``. Out: an
``Explanation``. Parsing, the checks of the spec, the rights, the tests of the rules, CEL and rendering are the
operator's own; here they are asked in its order, and nothing is written anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hookline import reasons
from hookline.api.parse import parse
from hookline.asked import Asked, Wanted
from hookline.cli.cluster import Cluster, CommandError, sentence
from hookline.cli.explaining.request import Sketch, sketch
from hookline.cli.explaining.seeing import Seeing, change_of
from hookline.cli.explaining.standing import (
    SENDING,
    SPEC,
    check_rights,
    check_sending,
    check_spec,
    conditions_of,
    refused,
)
from hookline.cli.explaining.steps import NEEDS_OLD, Check, Result, check_all, either, together
from hookline.cli.explaining.subject import Subject
from hookline.controller.access import Access
from hookline.controller.kinds import check_kinds, check_scope
from hookline.controller.reviews import Reviews
from hookline.errors import ApiError, EvaluationError, NotServed, RenderError, SpecError
from hookline.expressions.expression import Answer, mentions_old_object
from hookline.match.router import Router
from hookline.match.rule import Rule, Step, make_rule
from hookline.model import Change, Object, Resource, Scope
from hookline.observe.metrics import Metrics
from hookline.render.renderer import Renderer
from hookline.scopes import needs_old_objects, scopes_of
from hookline.settings import Settings
from hookline.spec import Content, Source, Subscription
from hookline.watch.discovery import Discovery


@dataclass(frozen=True, slots=True)
class SourceLook:
    """One source: every test, in the operator's order. ``change`` is what the source sees, None where it can't."""

    title: str
    checks: tuple[Check, ...]
    change: Change | None = None

    @property
    def result(self) -> Result:
        """Whether the source wants the change."""
        return together(self.checks)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found out about one subscription.

    ``standing`` is what does not depend on the object: the spec, rights, whether messages leave. ``sketch`` is what
    would be sent if it matches, ``problem`` why there is none although it does.
    """

    namespace: str
    name: str
    standing: tuple[Check, ...]
    sources: tuple[SourceLook, ...] = ()
    sketch: Sketch | None = None
    problem: str = ""

    @property
    def verdict(self) -> Result:
        """Whether it wants the change, as its spec says."""
        return either(source.result for source in self.sources)

    @property
    def in_force(self) -> Result:
        """Whether changes are watched for it at all."""
        return together(check for check in self.standing if check.step != SENDING)

    def refused(self, text: str) -> Explanation:
        """The same, but for the spec, which the API server refuses."""
        others = (check for check in self.standing if check.step != SPEC)
        return replace(self, standing=(refused(text), *others))

    @property
    def blocks(self) -> Check | None:
        """What of ``standing`` is against it first, the rights before the sending."""
        return next((check for check in self.standing if check.result is Result.FAILED), None)


class Explainer:
    """Explains one subject to any number of subscriptions. Close it in the end.

    ``cluster_name`` is the operator's setting, which events name in their source.
    """

    def __init__(self, cluster: Cluster, discovery: Discovery, subject: Subject, cluster_name: str) -> None:
        self._settings = settings = Settings(cluster_name=cluster_name)
        self._place = cluster.place
        self._discovery = discovery
        self._subject = subject
        self._seeing = Seeing(cluster, subject)
        self._asked = Asked(settings, Metrics())
        reviews = Reviews(cluster.kube, settings.access_reviews_per_second, time.monotonic)
        self._access = Access(reviews, scopes_of, time.monotonic)

    async def close(self) -> None:
        """End the processes that evaluate."""
        await self._asked.close()

    async def look(self, obj: Object, *, applied: bool) -> Explanation:
        """Explain one subscription; ``applied``: the cluster has exactly this one, with the operator's status.

        Raises CommandError when the API server can't be asked.
        """
        metadata = obj["metadata"]
        conditions = conditions_of(obj) if applied else {}
        try:
            subscription, resources, renderer = await self._read(obj)
        except SpecError as error:
            return Explanation(metadata["namespace"], metadata["name"], (refused(str(error)),))
        standing = [
            check_spec(subscription, resources, conditions, applied=applied),
            await check_rights(self._access, subscription, resources, conditions),
            *((check_sending(subscription, conditions),) if applied or subscription.suspend else ()),
        ]
        pairs = enumerate(zip(subscription.sources, resources, strict=True), 1)
        looks = [await self._source(number, subscription, *pair) for number, pair in pairs]
        explanation = Explanation(subscription.namespace, subscription.name, tuple(standing), tuple(looks))
        changes = [look.change for look in looks if look.result is explanation.verdict and look.change is not None]
        if explanation.verdict is Result.FAILED or not changes:
            return explanation
        try:
            return replace(explanation, sketch=await self._sketch(subscription, renderer, changes[0], obj))
        except RenderError as error:
            dropped = reasons.DROP_REASONS[error.reason]
            return replace(explanation, problem=f"nothing is sent, the change is dropped ({dropped}): {error}")
        except CommandError as error:
            return replace(explanation, problem=str(error))

    async def _read(self, obj: Object) -> tuple[Subscription, list[Resource | None], Renderer]:
        """Everything about the spec for which the operator refuses it, whatever its settings. Raises SpecError."""
        subscription = parse(obj)
        for source in subscription.sources:
            make_rule(subscription, source, "")
        renderer = Renderer(subscription, self._settings.cluster_name, self._settings.max_body_bytes)
        await self._asked.check(subscription)
        check_kinds(subscription, secret_metadata=True)
        return subscription, [await self._resource(source) for source in subscription.sources], renderer

    async def _resource(self, source: Source) -> Resource | None:
        try:
            resource = await self._discovery.resource(source.api_version, source.kind)
        except NotServed:
            return None
        except ApiError as error:
            text = sentence(error, self._place)
            raise CommandError(f"what the cluster serves can't be found out: {text}") from None
        check_scope(source, resource)
        return resource

    async def _source(
        self, number: int, subscription: Subscription, source: Source, resource: Resource | None
    ) -> SourceLook:
        title = f"source {number}, {source.kind} of {source.api_version}"
        subject, own = self._subject, self._subject.resource
        if resource is None:
            return SourceLook(title, (Check("kind", Result.FAILED, "this cluster does not serve it"),))
        if (resource.group, resource.plural) != (own.group, own.plural):
            return SourceLook(
                title, (Check("kind", Result.FAILED, f"the object is a {own.kind} of {own.api_version}"),)
            )
        obj = await self._seeing.version(resource)
        if obj is None:
            text = f"the source sees it as {resource.api_version}, it is given as {own.api_version}: give it so, too"
            return SourceLook(title, (Check("kind", Result.UNKNOWN, text),))
        scopes = scopes_of(subscription, source, resource)
        scope = next((scope for scope in scopes if scope.namespace in ("", subject.namespace)), None)
        checks = [Check("kind", Result.PASSED, f"{resource.kind} of {resource.api_version}")]
        if resource.namespaced:
            checks.append(_place(subject.namespace, scopes, seen=scope is not None))
        scope = scope or Scope(resource, subject.namespace, source.field_selector)
        happening = operation = subject.happening(source.operations)
        if source.field_selector:
            check, seen = await self._seeing.fields(scope, obj, happening)
            checks.append(check)
            operation = seen or happening
        full = needs_old_objects(subscription)
        change = change_of(scope, operation, obj, subject.old, full=full)
        rule = make_rule(subscription, source, "")
        labels, unread = await self._seeing.namespace() if rule.selects_namespaces else (None, "")
        answer = await self._ask(rule, change) if rule.expression is not None else None
        checks += check_all(rule, change, lambda _: labels, answer, blind=subject.blind(happening), unread=unread)
        return SourceLook(title, tuple(checks), change)

    async def _ask(self, rule: Rule, change: Change) -> Answer:
        """What the expression yields, whatever the tests before it say: by a rule that makes none of them."""
        failures: list[EvaluationError] = []
        router = Router(lambda _: None, lambda _, error: failures.append(error))
        for step in Step:
            rule = rule.without(step)
        router.put(rule.subscription, change.scope.key, [rule])
        [matched] = await self._asked.matched(router, [(change, router.candidates(change))])
        return failures[0] if failures else bool(matched)

    async def _sketch(self, subscription: Subscription, renderer: Renderer, change: Change, obj: Object) -> Sketch:
        """Raises RenderError, and CommandError where the state before would be needed."""
        payload = subscription.payload
        if self._subject.blind(change.operation) and (
            payload.content is Content.CHANGES or mentions_old_object(payload.transform)
        ):
            raise CommandError(f"the body can't be shown: {NEEDS_OLD}")
        wanted = Wanted(subscription.uid, renderer, change)
        await self._asked.transform([wanted])
        return sketch(subscription, renderer.render(change, 1, wanted.transformed), _endpoint(subscription, obj))


def _place(namespace: str, scopes: Sequence[Scope], *, seen: bool) -> Check:
    if seen:
        return Check("namespace", Result.PASSED, namespace)
    names = ", ".join(scope.namespace for scope in scopes)
    return Check("namespace", Result.FAILED, f"the object is in {namespace}, the source listens in {names}")


def _endpoint(subscription: Subscription, obj: Object) -> str:
    """Scheme and host; where the URL is kept, if it is not known here."""
    if shown := (obj.get("status") or {}).get("endpoint"):
        return str(shown)
    ref = subscription.url_ref
    if ref is not None:
        return f"the URL in Secret {ref.name}, key {ref.key}"
    scheme, _, rest = (subscription.url or "").partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"
