"""Every fenced block of README.md, SECURITY.md and docs/ is run, applied or read by the one whom it is for."""

import pytest

from support.snippets.blocks import of_all

BLOCKS = of_all()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_snippet_does_what_it_says(block, checked):
    checked(block)
