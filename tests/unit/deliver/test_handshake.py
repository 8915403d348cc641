"""The words of the webhook validation handshake: what grants, what does not, and how its rate is obeyed."""

from __future__ import annotations

import pytest

from hookline.deliver.bucket import Bucket
from hookline.deliver.handshake import Answer, Granted, capped, origin_of, proofs, question, read_consent
from hookline.model import SigningKeys
from hookline.spec import RateLimit
from support.sending import target

NAME = "eventemitter.example.com"
ALLOWED = "WebHook-Allowed-Origin"
RATE = "WebHook-Allowed-Rate"
NOW = 1_700_000_000.0


@pytest.mark.parametrize("origin", [NAME, "*", NAME.upper(), f" {NAME} "])
def test_the_origins_name_or_an_asterisk_is_consent(origin):
    assert read_consent(Answer(200, {ALLOWED: origin}), NAME) == Granted()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(200, {}), "no WebHook-Allowed-Origin"),
        (Answer(204, {"Allow": "POST, OPTIONS"}), "no WebHook-Allowed-Origin"),
        (Answer(200, {ALLOWED: "other.example.com"}), "names somebody else"),
        (Answer(200, {ALLOWED: f"{NAME}, other.example.com"}), "names somebody else"),
        (Answer(200, {ALLOWED: ""}), "names somebody else"),
        (Answer(405, {ALLOWED: "*"}), "HTTP 405"),
        (Answer(302, {ALLOWED: "*", "Location": "https://elsewhere.example"}), "HTTP 302"),
        (Answer(200, {ALLOWED: "*", RATE: "0"}), RATE),
        (Answer(200, {ALLOWED: "*", RATE: "-5"}), RATE),
        (Answer(200, {ALLOWED: "*", RATE: "many"}), RATE),
    ],
)
def test_anything_else_is_none_whatever_the_status_code(answer, why):
    assert why in str(read_consent(answer, NAME))


def test_the_rate_asked_for_is_per_minute():
    assert dict(question(NAME, RateLimit(2, 5))) == {"webhook-request-origin": NAME, "webhook-request-rate": "120"}
    assert dict(question(NAME, None)) == {"webhook-request-origin": NAME}


def begun_within_a_minute(rate: RateLimit) -> int:
    bucket, now, count = Bucket(rate), NOW, 0
    while (ready := bucket.ready_at(now)) < NOW + 60 - 1e-3:
        now = max(now, ready)
        bucket.take(now)
        count += 1
    return count


@pytest.mark.parametrize("per_minute", [1, 2, 59, 60, 61, 600, 6000])
@pytest.mark.parametrize("own", [None, RateLimit(1000, 1000)], ids=["no limit", "a larger one"])
def test_no_minute_has_more_requests_than_were_allowed(own, per_minute):
    limit = capped(own, per_minute)
    assert limit is not None
    assert per_minute - 1 <= begun_within_a_minute(limit) <= per_minute


def test_the_control_the_own_limit_alone_allows_more():
    assert begun_within_a_minute(RateLimit(10, 10)) > 600


def test_a_smaller_limit_of_ones_own_stays():
    assert capped(RateLimit(1, 1), 6000) == RateLimit(1, 1)
    assert capped(RateLimit(7, 3), None) == RateLimit(7, 3)


def test_a_consent_is_to_one_url_and_one_origin_and_tells_nothing_of_them():
    one = target("https://a.example/secret-path")
    (proof,) = proofs(one, NAME)
    assert "secret" not in proof
    assert proofs(target("https://a.example/other"), NAME) != [proof]
    assert proofs(one, "other") != [proof]
    other_key = target("https://a.example/secret-path", keys=SigningKeys((b"k" * 32,), ()))
    assert proofs(other_key, NAME) != [proof], "who has no key can't test a guess"


@pytest.mark.parametrize(
    ("cluster", "origin"),
    [("prod.example.com", "prod.example.com"), ("", "hookline"), ("Prod / EU", "Prod-EU"), ("a\r\nb: c", "a-b-c")],
)
def test_the_origin_is_the_clusters_name_as_a_header_can_hold_it(cluster, origin):
    assert origin_of(cluster) == origin
