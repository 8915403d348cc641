"""Claims about giving an endpoint up; the clock is ours."""

from __future__ import annotations

from hookline.model import Outcome, Verdict
from hookline.status.health import LEAST_FAILURES, Health

FAILED = Verdict(Outcome.RETRY, "HTTP503", 503, retry_at=1.0)
DEAD = Verdict(Outcome.DEAD, "HTTP503", 503)
DELIVERED = Verdict(Outcome.DELIVERED, "Delivered", 200)
GONE = Verdict(Outcome.DEAD, "HTTP410", 410, gone=True)
DAY = 86_400.0


def given_up(health: Health, *attempts: tuple[float, Verdict], disable_after: float = 5 * DAY) -> list[bool]:
    return [health.note(verdict, at, at, disable_after) for at, verdict in attempts]


def test_five_days_of_nothing_but_failures_are_enough_and_less_are_not():
    health = Health(1)
    failures = [(0.0, FAILED), (DAY, DEAD), (5 * DAY - 1, FAILED), (5 * DAY, FAILED), (6 * DAY, FAILED)]
    assert given_up(health, *failures) == [False, False, False, True, False]
    assert (health.disabled, health.failing_since, health.disabled_since) == ("EndpointDisabled", 0.0, 5 * DAY)


def test_one_success_begins_the_time_anew():
    health = Health(1)
    attempts = [(0.0, FAILED), (DAY, FAILED), (2 * DAY, DELIVERED), (3 * DAY, FAILED), (6 * DAY, FAILED)]
    assert not any(given_up(health, *attempts))
    assert health.failing_since == 3 * DAY


def test_a_few_failures_are_needed_however_far_apart():
    health = Health(1)
    attempts = [(n * 10 * DAY, FAILED) for n in range(LEAST_FAILURES)]
    assert given_up(health, *attempts) == [False] * (LEAST_FAILURES - 1) + [True]


def test_zero_means_never():
    assert not any(given_up(Health(1), *((n * DAY, FAILED) for n in range(1000)), disable_after=0))


def test_a_410_is_enough_at_once_and_told_once():
    health = Health(1)
    assert given_up(health, (0.0, GONE), (1.0, GONE)) == [True, False]
    assert health.disabled == "EndpointGone"


def test_renewed_it_has_a_clean_record():
    health = Health(1)
    given_up(health, (0.0, GONE))
    health.renew(2)
    assert health == Health(2)


def test_a_restart_keeps_since_when_it_fails_and_asks_for_new_evidence():
    health = Health.of({"observedGeneration": 1, "failingSince": "1970-01-01T00:00:00Z"}, 1)
    assert health.failing_since == 0.0
    assert given_up(health, *((9 * DAY, FAILED) for _ in range(LEAST_FAILURES))) == [False, False, True]


def test_what_can_not_be_read_counts_as_unknown():
    odd = {"observedGeneration": 1, "failingSince": "yesterday", "disabled": None}
    assert Health.of(odd, 1) == Health(1)
