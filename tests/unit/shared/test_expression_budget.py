"""The processor time of a namespace's expressions: what it may take, when it waits, and what is switched off for it."""

from __future__ import annotations

from hookline.expressions.budget import (
    APART_SECONDS,
    BURST_SECONDS,
    DEAR_SECONDS,
    EVIDENCE_SECONDS,
    Budgets,
)
from hookline.expressions.expression import Expression

SHARE = 0.1
CHEAP, DEAR = DEAR_SECONDS / 20, DEAR_SECONDS * 200


def expression(namespace: str = "greedy") -> Expression:
    return Expression("true", True, namespace=namespace)


class Purse:
    """Budgets on a clock of their own."""

    def __init__(self, share: float = SHARE) -> None:
        self.now = 1000.0
        self.budgets = Budgets(share, lambda: self.now)

    def spend(self, wanted: Expression, seconds: float, each: float) -> None:
        """Evaluate an expression so often that it takes so many seconds."""
        for _ in range(round(seconds / each)):
            self.budgets.spend([(wanted, each, each)])

    def wait(self, namespace: str = "greedy") -> float:
        return self.budgets.wait(namespace)


def test_a_namespace_waits_when_its_burst_is_used_up_and_as_long_as_its_share_says():
    purse = Purse()
    cheap = expression()
    purse.spend(cheap, BURST_SECONDS - 0.1, CHEAP)
    assert purse.wait() == 0
    purse.spend(cheap, 0.2, CHEAP)
    assert 0.99 < purse.wait() < 1.01, "0.1 s too much, of which 0.1 s come back each second"
    purse.now += 1.1
    assert purse.wait() == 0
    assert purse.wait("other") == 0


def test_it_never_gets_more_than_burst_and_share():
    purse = Purse()
    cheap, used = expression(), 0.0
    for _ in range(1000):
        purse.now += 0.1
        while purse.wait() == 0 and used < 100:
            purse.budgets.spend([(cheap, CHEAP, 0.02)])
            used += 0.02
    assert used <= BURST_SECONDS + SHARE * 100.0 + 0.02 + 1e-6


def test_where_nothing_bounds_it_nobody_waits_and_nothing_is_switched_off():
    """The control."""
    purse = Purse(share=0.0)
    dear = expression()
    purse.spend(dear, BURST_SECONDS * 3, DEAR)
    assert purse.wait() == 0
    assert not dear.fuse.blown
    assert purse.budgets.is_apart("greedy"), "but it is asked apart"


def test_the_dearest_is_switched_off_and_its_siblings_go_on():
    purse = Purse()
    dear, less, cheap = expression(), expression(), expression()
    for _ in range(1000):
        if dear.fuse.blown:
            break
        purse.budgets.spend([(dear, DEAR, DEAR), (less, DEAR / 20, DEAR / 20), (cheap, CHEAP, CHEAP)])
    assert not less.fuse.blown
    assert not cheap.fuse.blown
    assert dear.fuse.why == ("took most of the processor time that its namespace's expressions have (0.1 of a core)")
    assert purse.wait() == 0, "what the guilty one took is given back, for they did not take it"
    purse.spend(cheap, 2.0, CHEAP)
    assert purse.wait() == 0


def test_many_cheap_ones_are_not_switched_off_for_what_they_take_together():
    purse = Purse()
    many = [expression() for _ in range(100)]
    for _ in range(2 * round(BURST_SECONDS / CHEAP / 100)):
        purse.budgets.spend([(one, CHEAP, CHEAP) for one in many])
    assert purse.wait() > 0
    assert not any(one.fuse.blown for one in many)


def test_one_dear_evaluation_among_many_cheap_ones_is_not_to_blame():
    purse = Purse()
    cheap, dear = expression(), expression()
    purse.budgets.spend([(dear, DEAR, DEAR)])
    purse.spend(cheap, BURST_SECONDS * 2, CHEAP)
    assert purse.wait() > 0
    assert not dear.fuse.blown


def test_what_it_takes_to_read_large_objects_counts_for_the_namespace_and_not_against_the_expression():
    purse = Purse()
    cheap = expression()
    for _ in range(1000):
        purse.budgets.spend([(cheap, CHEAP, 0.01)])
    assert purse.wait() > 0
    assert not cheap.fuse.blown


def test_of_many_dear_ones_half_of_the_time_is_switched_off_at_once_and_more_only_after_more_evidence():
    purse = Purse()
    many = [expression() for _ in range(8)]

    def round_of_all() -> None:
        purse.budgets.spend([(one, DEAR, DEAR) for one in many if not one.fuse.blown])

    for _ in range(100):
        if any(one.fuse.blown for one in many):
            break
        round_of_all()
    assert sum(one.fuse.blown for one in many) == 4
    used = 0.0
    while sum(one.fuse.blown for one in many) == 4 and used < 100:
        round_of_all()
        used += 4 * DEAR
    assert used >= EVIDENCE_SECONDS


def test_a_spec_that_is_changed_each_time_does_not_make_the_time_endless():
    purse = Purse()
    used = 0.0
    for _ in range(6000):  # ten minutes
        purse.now += 0.1
        hostile = expression()  # a new fuse each time
        while purse.wait() == 0 and used < 1000 and not hostile.fuse.blown:
            purse.budgets.spend([(hostile, DEAR, DEAR)])
            used += DEAR
    assert used <= 1.5 * BURST_SECONDS + SHARE * 600.0 + DEAR * 2


def test_a_namespace_that_takes_much_is_asked_apart_until_it_took_little_for_a_while():
    purse = Purse()
    assert not purse.budgets.is_apart("greedy")
    purse.spend(expression(), APART_SECONDS * 1.1, CHEAP)
    assert purse.budgets.is_apart("greedy")
    assert not purse.budgets.is_apart("other")
    purse.now += APART_SECONDS / SHARE
    assert not purse.budgets.is_apart("greedy")


def test_namespaces_whose_bucket_is_full_again_are_forgotten():
    purse = Purse()
    for number in range(5000):
        purse.budgets.spend([(expression(f"n{number}"), CHEAP, CHEAP)])
        purse.now += 1.0
    assert len(purse.budgets._accounts) < 600
