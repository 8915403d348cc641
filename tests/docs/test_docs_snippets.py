"""Every fenced block of README.md, SECURITY.md and docs/ is run, applied or read by the one whom it is for.

Here are those that need no operator; test_docs_commands.py and test_docs_stories.py have the rest.
"""

import pytest

from support.snippets.blocks import of_all
from support.snippets.check import ELSEWHERE

BLOCKS = [block for block in of_all() if block.language not in ELSEWHERE]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_snippet_does_what_it_says(block, checked):
    checked(block)
