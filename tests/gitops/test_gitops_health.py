"""What Flux (by kstatus) and Argo CD (by the check that we give it) call healthy, of objects as an operator left them.

``says`` asks their own code. Argo CD's words follow kstatus: one script in ``config/samples/argocd/health.yaml``.
"""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from hookline import reasons
from hookline.model import Consent, Counts, Finding, Scope
from hookline.status.facts import Facts
from hookline.status.health import Health
from hookline.status.report import status_of
from support.cluster import eventually
from support.samples import CONFIG_MAPS

CURRENT, IN_PROGRESS = ("Current", "Healthy"), ("InProgress", "Progressing")
FAILED, TERMINATING = ("Failed", "Degraded"), ("Terminating", "Progressing")
BAD = {"expression": "object.metadata.nam("}
GOOD = {"expression": "object.metadata.name != 'x'"}
REASONS = sorted({value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)})


@pytest.fixture
def says(kubectl, namespace, judge):
    """``says()``, or ``says("again", "whreplay")``: the opinions of Flux and of Argo CD on an object as it is now."""

    def said(name="orders", kind="whsub"):
        return opinion(judge, kubectl.json("get", kind, name, "-n", namespace))

    return said


def opinion(judge, obj):
    (found,) = judge({"live": obj})
    return found["kstatus"], found["argo"]["status"]


def becomes(says, wanted, *which):
    eventually(lambda: says(*which) == wanted, f"it is {wanted[0]}, as it is {wanted[1]}")


@pytest.fixture
def replay(kubectl, namespace):
    def create(name="again"):
        head = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookReplay", "metadata": {"name": name}}
        kubectl.apply(head | {"spec": {"subscriptionName": "orders"}}, namespace=namespace)

    return create


def test_what_no_operator_has_looked_at_is_in_progress(crds, subscriptions, replay, says, judge):
    subscriptions.apply()
    replay()
    assert says() == says("again", "whreplay") == IN_PROGRESS
    # The control: kstatus takes what has no status for current, so our kinds have one from their first moment on.
    (found,) = judge({"live": {key: value for key, value in subscriptions.get().items() if key != "status"}})
    assert found["kstatus"] == "Current"


def test_a_changed_spec_is_in_progress_until_the_operator_has_looked_at_it(operator, subscriptions, says, judge):
    subscriptions.ready()
    assert says() == CURRENT
    operator.kill()
    subscriptions.apply(filter=GOOD)
    assert says() == IN_PROGRESS
    # The control: the conditions alone still say that all is well.
    told = subscriptions.get()
    del told["status"]["observedGeneration"]
    assert judge({"live": told})[0]["kstatus"] == "Current"
    operator.start()
    becomes(says, CURRENT)
    # Suspended is what Git wants then: a sync must not wait for its end.
    subscriptions.apply(suspend=True)
    subscriptions.wait("Suspended")
    assert says() == CURRENT


def test_a_spec_that_cannot_be_used_fails_until_it_is_corrected(operator, subscriptions, says, judge):
    subscriptions.apply(filter=BAD)
    becomes(says, FAILED)
    # An Argo CD that nobody told of our kinds has no opinion: it calls the application healthy.
    assert judge({"live": subscriptions.get()}, checked=False)[0]["argo"] is None
    subscriptions.apply(filter=GOOD)
    becomes(says, CURRENT)


def test_what_the_same_sync_may_bring_later_is_waited_for(operator, subscriptions, receiver, says, kubectl, namespace):
    auth = {"bearer": {"tokenFrom": {"secretKeyRef": {"name": "later", "key": "token"}}}}
    subscriptions.apply(destination={"url": receiver.url("/"), "auth": auth})
    subscriptions.wait("SecretNotFound")
    assert says() == IN_PROGRESS
    kubectl("create", "secret", "generic", "later", "--from-literal=token=abc", "-n", namespace)
    becomes(says, CURRENT)


def test_an_endpoint_that_fails_holds_up_no_sync_until_it_is_given_up(
    operator, subscriptions, receiver, config_map, says
):
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready()
    config_map("web", a="1")
    subscriptions.wait("DeliveryFailing", kind="Delivering")
    assert says() == CURRENT
    receiver.do(lambda live: live.answer(410))
    config_map("web", a="2")
    becomes(says, FAILED)


def test_a_replay_is_in_progress_then_current_or_failed(operator, subscriptions, receiver, config_map, replay, says):
    replay("early")
    becomes(says, IN_PROGRESS, "early", "whreplay")
    receiver.do(lambda live: live.answer(422))
    subscriptions.ready(delivery={"retry": {"maxAttempts": 1}})
    becomes(says, CURRENT, "early", "whreplay")  # there was nothing to send again
    config_map("web", a="1")
    eventually(lambda: subscriptions.get()["status"]["deadLettered"] == 1, "it is given up")
    replay("vain")
    becomes(says, FAILED, "vain", "whreplay")
    receiver.do(lambda live: live.answer(200))
    replay("done")
    becomes(says, CURRENT, "done", "whreplay")
    assert receiver.requests


def test_what_is_being_deleted_is_terminating(crds, kubectl, namespace, subscriptions, says):
    subscriptions.apply()
    where = ("whsub", "orders", "-n", namespace)
    kubectl("patch", *where, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/held"]}}')
    kubectl("delete", *where, "--wait=false")
    assert says() == TERMINATING
    kubectl("patch", *where, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_at_no_moment_is_a_refused_spec_current_or_a_good_one_failed(
    operator, control_plane, subscriptions, kubectl, namespace, judge, tmp_path
):
    """Every state in which the API server had the object, while its spec goes bad and good again, over and over."""
    subscriptions.ready(filter=GOOD)
    seen = tmp_path / "seen"
    watch = control_plane.kubectl_command("get", "whsub", "orders", "-n", namespace, "--watch", "-o", "json")
    with seen.open("w") as out:
        process = subprocess.Popen(watch, stdout=out)
    try:
        for bad in [True, False] * 4:
            subscriptions.apply(filter=BAD if bad else GOOD)
            if bad:
                subscriptions.wait("InvalidExpression")
        subscriptions.wait("Watching")
        generation = subscriptions.get()["metadata"]["generation"]
        eventually(lambda: f'"observedGeneration": {generation}' in seen.read_text(), "the watch has seen the last one")
    finally:
        process.terminate()
        process.wait()
    states = list(documents(seen.read_text()))
    of_bad: set[str] = set()
    of_good: set[str] = set()
    for state, found in zip(states, judge(*({"live": state} for state in states)), strict=True):
        (of_bad if state["spec"]["filter"] == BAD else of_good).add(found["kstatus"])
    assert of_bad == {"InProgress", "Failed"}
    assert of_good == {"InProgress", "Current"}


def documents(text):
    """The JSON documents of a text, but for one that is not whole yet."""
    decoder, begin = json.JSONDecoder(), 0
    while begin < len(text.rstrip()):
        try:
            found, end = decoder.raw_decode(text, begin)
        except ValueError:
            return
        yield found
        begin = end + len(text[end:]) - len(text[end:].lstrip())


def made(finding, **fields):
    """A subscription with the status that these facts give."""
    metadata = {"namespace": "shop", "name": "orders", "generation": 2}
    facts = Facts.of({"metadata": metadata}, finding)
    scope = Scope(CONFIG_MAPS, "shop")
    facts.wanted, facts.watching = frozenset({scope.key}), {scope.key: ("configmaps", "shop", 0.0)}
    for name, value in fields.items():
        setattr(facts, name, value)
    head = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription", "metadata": metadata}
    return {"live": head | {"status": status_of(facts, time.time())}}


def blocked(reason):
    return made(Finding(2, accepted=True, reason="Valid", message="so", blocked=reason))


def refused(reason):
    return made(Finding(2, accepted=False, reason=reason, message="so"))


def test_flux_and_argo_cd_say_the_same_of_every_reason(judge):
    """Whether a reason stands in the way of a spec or of its use; and of the facts of the store and of the endpoint."""
    valid = Finding(2, accepted=True, reason="Valid", message="")
    cases = {reason: blocked(reason) for reason in REASONS} | {
        f"refused {reason}": refused(reason) for reason in REASONS
    }
    cases |= {
        "well": made(valid),
        "failing": made(valid, failing=True, last_failure={"reason": "HTTP503"}),
        "full": made(valid, full=True, counts=Counts(7)),
        "unproven": made(valid, consent=Consent()),
        "given up": made(valid, health=Health(2, disabled=reasons.ENDPOINT_DISABLED)),
        "store": made(valid, store_fails=True),
        "starting": made(valid, watching={}),
    }
    opinions = dict(zip(cases, judge(*cases.values()), strict=True))
    said = {name: (found["kstatus"], found["argo"]["status"]) for name, found in opinions.items()}
    for reason in REASONS:
        healed = IN_PROGRESS if reason in reasons.TRANSIENT else FAILED
        assert said[reason] == (CURRENT if reason == reasons.SUSPENDED else healed), reason
        assert said[f"refused {reason}"] == healed, reason
    assert said["well"] == said["failing"] == CURRENT
    assert said["full"] == said["unproven"] == said["store"] == said["starting"] == IN_PROGRESS
    assert said["given up"] == FAILED
