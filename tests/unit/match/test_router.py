"""Matching: every selector, the changed fields, the expression, and the routing to many subscriptions."""

import pytest

from hookline.errors import EvaluationError, NamespaceUnknown
from hookline.match.router import Router, asked
from hookline.match.rule import make_rule
from hookline.match.selectors import selects
from hookline.spec import LabelRequirement, LabelSelector, NamespacesFrom, Operation, Source
from support.samples import change, config_map, subscription


def matches(change, *, since="", labels=None, failures=None, answer=True, **fields):
    """``answer`` is that of the expression, where there is one."""
    source = fields.pop("source", Source("v1", "ConfigMap"))
    router = Router(
        lambda name: (labels or {}).get(name),
        lambda uid, error: [] if failures is None else failures.append((uid, error)),
    )
    wanted = subscription(sources=(source,), **fields)
    router.put(wanted.uid, change.scope.key, [make_rule(wanted, source, since)])
    rules = router.candidates(change)
    return router.match(change, rules, dict.fromkeys(asked(rules), answer)) == [wanted.uid]


def matched(router, change):
    return router.match(change, router.candidates(change), {})


def test_a_source_without_any_condition_gets_every_change():
    assert matches(change())


BY_TEAM = Source(
    "v1",
    "ConfigMap",
    namespaces_from=NamespacesFrom.SELECTOR,
    namespace_selector=LabelSelector((LabelRequirement("team", "In", frozenset({"a"})),)),
)


def test_a_deletion_in_a_namespace_that_nobody_knows_any_more_is_told():
    failures: list[tuple[str, Exception]] = []
    assert matches(change(Operation.DELETED), source=BY_TEAM, failures=failures)
    assert not matches(change(Operation.DELETED), source=BY_TEAM, labels={"shop": {"team": "b"}})
    assert failures == []


def test_any_other_change_in_an_unknown_namespace_is_no_match_and_not_silent():
    failures: list[tuple[str, Exception]] = []
    assert not matches(change(), source=BY_TEAM, failures=failures)
    assert [type(error) for _, error in failures] == [NamespaceUnknown]
    assert not matches(change(), source=BY_TEAM, labels={"shop": {}}, failures=failures)
    assert not matches(change(), source=BY_TEAM, expression="false", answer=False, failures=failures)
    assert len(failures) == 1, "what is no match anyway is none of its losses"


def test_only_the_namespaces_that_a_rule_asks_for_are_looked_up():
    router = Router(lambda _: None, lambda *_: None)
    seen = change()
    router.put("all", seen.scope.key, [make_rule(subscription(), Source("v1", "ConfigMap"), "")])
    assert router.namespaces([seen]) == set()
    router.put("some", seen.scope.key, [make_rule(subscription(), BY_TEAM, "")])
    assert router.namespaces([seen]) == {"shop"}
    router.remove("some")
    assert router.namespaces([seen]) == set()


def test_nothing_is_kept_of_scopes_without_rules():
    router = Router(lambda _: None, lambda *_: None)
    for number in range(10):
        wanted = subscription(uid=f"{number}")
        router.put(wanted.uid, f"scope-{number}", [make_rule(wanted, wanted.sources[0], "")])
        router.remove(wanted.uid)
        router.put(wanted.uid, f"scope-{number}", ())
    matched(router, change())
    assert router._by_scope == {}


def test_an_operation_that_was_not_asked_for_is_no_match():
    source = Source("v1", "ConfigMap", operations=frozenset({Operation.DELETED}))
    assert not matches(change(), source=source)
    assert matches(change(Operation.DELETED), source=source)


def test_a_change_from_before_the_subscription_is_no_match():
    assert not matches(change(obj=config_map(version="7")), since="7")
    assert matches(change(obj=config_map(version="8")), since="7")


def test_versions_that_are_no_numbers_are_not_compared():
    assert matches(change(obj=config_map(version="abc")), since="7")


def test_names_narrow_a_source_down():
    source = Source("v1", "ConfigMap", names=frozenset({"web"}))
    assert matches(change(obj=config_map("web")), source=source)
    assert not matches(change(obj=config_map("other")), source=source)


@pytest.mark.parametrize(
    ("requirement", "labels", "selected"),
    [
        (LabelRequirement("a", "In", frozenset({"1"})), {"a": "1"}, True),
        (LabelRequirement("a", "In", frozenset({"1"})), {"a": "2"}, False),
        (LabelRequirement("a", "In", frozenset({"1"})), {}, False),
        (LabelRequirement("a", "NotIn", frozenset({"1"})), {"a": "2"}, True),
        (LabelRequirement("a", "NotIn", frozenset({"1"})), {"a": "1"}, False),
        (LabelRequirement("a", "NotIn", frozenset({"1"})), {}, True),
        (LabelRequirement("a", "Exists"), {"a": ""}, True),
        (LabelRequirement("a", "Exists"), {}, False),
        (LabelRequirement("a", "DoesNotExist"), {}, True),
        (LabelRequirement("a", "DoesNotExist"), {"a": "1"}, False),
    ],
)
def test_label_requirements_mean_what_kubernetes_says(requirement, labels, selected):
    assert selects(LabelSelector((requirement,)), labels) is selected


def test_label_requirements_are_joined_by_and():
    both = LabelSelector((LabelRequirement("a", "Exists"), LabelRequirement("b", "Exists")))
    assert selects(both, {"a": "", "b": ""})
    assert not selects(both, {"a": ""})


def test_a_namespace_selector_follows_the_labels_of_the_namespace():
    selector = LabelSelector((LabelRequirement("team", "In", frozenset({"red"})),))
    source = Source("v1", "ConfigMap", namespaces_from=NamespacesFrom.SELECTOR, namespace_selector=selector)
    assert matches(change(), source=source, labels={"shop": {"team": "red"}})
    assert not matches(change(), source=source, labels={"shop": {"team": "blue"}})
    assert not matches(change(), source=source, labels={})


def test_changed_fires_only_when_a_named_field_differs():
    old = config_map(data={"a": "1", "b": "1"})
    assert matches(change(obj=config_map(data={"a": "2", "b": "1"}), old=old), changed=("data.a",))
    assert not matches(change(obj=config_map(data={"a": "1", "b": "2"}), old=old), changed=("data.a",))


def test_changed_takes_absent_for_a_value_when_an_object_comes_or_goes():
    with_field, without = config_map(data={"a": "1"}), config_map()
    assert matches(change(Operation.CREATED, with_field), changed=("data.a",))
    assert not matches(change(Operation.CREATED, without), changed=("data.a",))
    assert matches(change(Operation.DELETED, with_field), changed=("data.a",))
    assert not matches(change(Operation.DELETED, without), changed=("data.a",))


def test_changed_lets_pass_what_can_not_be_compared():
    assert matches(change(obj=config_map(data={"a": "1"}), old=None), changed=("data.a",))


def test_an_expression_decides_last():
    assert matches(change(), expression="an expression", answer=True)
    assert not matches(change(), expression="an expression", answer=False)


def test_an_expression_is_asked_only_of_what_passes_all_else_and_once_per_subscription():
    router = Router(lambda _: None, lambda *_: None)
    seen = change()
    for uid, names in (("a", {"web"}), ("b", {"other"})):
        wanted = subscription(uid=uid, expression="an expression")
        rule = make_rule(wanted, Source("v1", "ConfigMap", names=frozenset(names)), "")
        router.put(uid, seen.scope.key, [rule, rule])
    assert {uid: item.text for uid, item in asked(router.candidates(seen)).items()} == {"a": "an expression"}


def test_an_expression_that_fails_on_an_object_is_no_match_and_is_told():
    failures: list[tuple[str, Exception]] = []
    assert not matches(change(), expression="an expression", answer=EvaluationError("no"), failures=failures)
    assert [uid for uid, _ in failures] == ["uid-subscription"]


def test_an_expression_that_fails_is_told_once_however_many_sources_its_subscription_has():
    failures: list[str] = []
    router = Router(lambda _: None, lambda uid, error: failures.append(uid))
    wanted = subscription(expression="an expression")
    seen = change()
    router.put(wanted.uid, seen.scope.key, [make_rule(wanted, wanted.sources[0], "") for _ in range(2)])
    assert router.match(seen, router.candidates(seen), {wanted.uid: EvaluationError("no")}) == []
    assert failures == [wanted.uid]


def test_a_subscription_with_two_sources_on_one_scope_gets_one_event():
    router = Router(lambda _: None, lambda *_: None)
    wanted = subscription()
    seen = change()
    router.put(wanted.uid, seen.scope.key, [make_rule(wanted, wanted.sources[0], "")] * 2)
    assert matched(router, seen) == [wanted.uid]


def test_only_rules_that_may_match_are_looked_at():
    def labels(value):
        return LabelSelector((LabelRequirement("team", "In", frozenset({value})),))

    router = Router(lambda _: None, lambda *_: None)
    seen = change(obj=config_map(labels={"team": "team-7"}))
    for number in range(100):
        wanted = subscription(uid=f"labelled-{number}")
        router.put(
            wanted.uid,
            seen.scope.key,
            [make_rule(wanted, Source("v1", "ConfigMap", labels=labels(f"team-{number}")), "")],
        )
        named = subscription(uid=f"named-{number}")
        router.put(
            named.uid,
            seen.scope.key,
            [make_rule(named, Source("v1", "ConfigMap", names=frozenset({f"n-{number}"})), "")],
        )
    assert matched(router, seen) == ["labelled-7"]
    assert len(list(router._by_scope[seen.scope.key].candidates(seen.object["metadata"]))) == 1


def test_a_label_that_may_have_several_values_is_found_by_each():
    either = LabelSelector((LabelRequirement("team", "In", frozenset({"red", "blue"})),))
    for team, found in (("red", True), ("blue", True), ("green", False)):
        seen = change(obj=config_map(labels={"team": team, "other": "x"}))
        assert matches(seen, source=Source("v1", "ConfigMap", labels=either)) is found


def test_a_removed_subscription_is_not_matched_any_more_and_leaves_the_others():
    router = Router(lambda _: None, lambda *_: None)
    seen = change()
    for uid, names in (("a", frozenset()), ("b", frozenset({"web"})), ("c", frozenset())):
        wanted = subscription(uid=uid)
        router.put(uid, seen.scope.key, [make_rule(wanted, Source("v1", "ConfigMap", names=names), "")])
    router.remove("b")
    router.remove("a")
    assert matched(router, seen) == ["c"]
    assert router.scopes("a") == frozenset()
