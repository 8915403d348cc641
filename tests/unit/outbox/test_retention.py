"""How a room that is too small for all is shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.outbox.retention import fair_level


@pytest.mark.parametrize(
    ("sizes", "room", "level"),
    [
        ([], 10, 0),
        ([3, 5], 8, 5),  # all fit
        ([3, 5], 7, 4),
        ([1, 1, 100], 10, 8),  # the small ones keep all they have
        ([50, 50], 0, 0),
        ([50, 50], -1, 0),
        ([10, 10, 10], 10, 3),
    ],
)
def test_the_largest_are_cut_to_one_level_and_the_others_keep_all(sizes, room, level):
    assert fair_level(sizes, room) == level


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(0, 20_000))
def test_what_is_left_fits_and_no_higher_level_would(sizes, room):
    def taken(level):
        return sum(min(size, level) for size in sizes)

    level = fair_level(sizes, room)
    assert taken(level) <= room
    assert level == max(sizes) or taken(level + 1) > room
