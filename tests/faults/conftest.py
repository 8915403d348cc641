"""The fixtures of the whole, and time enough for a full run."""

from __future__ import annotations

import pytest

from support.scale import FULL
from support.whole import config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In full the tests of this folder may take 40 minutes each."""
    if FULL:
        for item in items:
            if "faults" in item.path.parts:
                item.add_marker(pytest.mark.timeout(2400))
