"""Claims about the circuit breaker; the clock is ours."""

from __future__ import annotations

from hookline.deliver.breaker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, THRESHOLD, Breaker

NOW = 1000.0


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(THRESHOLD):
        breaker.begin()
        breaker.record(True, NOW)
    return breaker


def test_it_opens_with_the_tenth_trouble_in_a_row_and_not_before():
    breaker = Breaker()
    assert [breaker.record(True, NOW) for _ in range(THRESHOLD)] == [False] * 9 + [True]
    assert breaker.open


def test_one_answer_in_between_starts_the_count_again():
    breaker = Breaker()
    for _ in range(3):
        for _ in range(THRESHOLD - 1):
            breaker.record(True, NOW)
        assert not breaker.record(False, NOW)
    assert not breaker.open


def test_what_says_nothing_of_the_endpoint_neither_counts_nor_resets():
    breaker = Breaker()
    for _ in range(THRESHOLD - 1):
        breaker.record(True, NOW)
    for _ in range(5):
        assert not breaker.record(None, NOW)
    assert breaker.record(True, NOW)


def test_open_it_allows_one_probe_after_a_pause():
    breaker = opened()
    assert not breaker.allows(NOW)
    assert breaker.ready_at(NOW) == NOW + FIRST_PAUSE_SECONDS
    assert breaker.allows(NOW + FIRST_PAUSE_SECONDS)
    breaker.begin()
    assert not breaker.allows(NOW + 3600)


def test_the_first_success_closes_it():
    breaker = opened()
    breaker.begin()
    assert breaker.record(False, NOW + 5)
    assert not breaker.open
    assert breaker.allows(NOW + 5)


def test_pauses_double_up_to_the_longest_and_begin_anew_after_it_was_closed():
    breaker, now, pauses = opened(), NOW, []
    for _ in range(9):
        begins = breaker.ready_at(now)
        pauses.append(begins - now)
        now = begins
        breaker.begin()
        breaker.record(True, now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    breaker.begin()
    breaker.record(False, now)
    for _ in range(THRESHOLD):
        breaker.record(True, now)
    assert breaker.ready_at(now) == now + FIRST_PAUSE_SECONDS


def test_a_probe_that_says_nothing_is_followed_by_another():
    breaker = opened()
    breaker.begin()
    assert not breaker.record(None, NOW)
    assert not breaker.allows(NOW)
    assert breaker.allows(NOW + 2 * FIRST_PAUSE_SECONDS)


def test_results_of_attempts_that_began_before_it_opened_change_nothing_but_a_success():
    breaker = opened()
    ready = breaker.ready_at(NOW)
    assert not breaker.record(True, NOW + 100)
    assert breaker.ready_at(NOW) == ready
    assert breaker.record(False, NOW)


def test_a_clock_set_back_delays_a_probe_by_one_pause_at_most():
    breaker = opened()
    past = NOW - 86_400
    assert breaker.ready_at(past) == past + FIRST_PAUSE_SECONDS


def test_what_was_no_attempt_is_no_probe_and_costs_no_pause():
    breaker = Breaker()
    for _ in range(THRESHOLD):
        breaker.record(trouble=True, now=0.0)
    now = breaker.ready_at(0.0)
    for _ in range(8):
        assert breaker.allows(now)
        breaker.begin()
        breaker.cancel()
    assert breaker.allows(now)
