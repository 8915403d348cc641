"""Dotted paths: reading them, following them, leaving them out."""

from typing import Any

import pytest

from hookline import paths
from hookline.errors import SpecError


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("status", ("status",)),
        ("status.availableReplicas", ("status", "availableReplicas")),
        ("metadata.annotations['example.com/owner']", ("metadata", "annotations", "example.com/owner")),
        ('data["a.b"].c', ("data", "a.b", "c")),
    ],
)
def test_a_path_is_read_step_by_step(text, path):
    assert paths.parse(text, "spec.filter.changed") == path


@pytest.mark.parametrize("text", ["", "a..b", "a[b]", "a['b", "a.", "a['b']c", "ä"])
def test_what_is_no_path_is_refused_with_its_field(text):
    with pytest.raises(SpecError, match=r"spec\.filter\.changed"):
        paths.parse(text, "spec.filter.changed")


def test_null_and_absent_are_different_values():
    assert paths.lookup({"a": None}, ("a",)) is None
    assert paths.lookup({"a": None}, ("b",)) is paths.ABSENT
    assert paths.lookup({"a": None}, ("a", "b")) is paths.ABSENT


def test_leaving_out_a_path_does_not_touch_the_shared_object():
    shared: dict[str, Any] = {"metadata": {"name": "web", "managedFields": [1]}, "data": {"a": "1"}}
    trimmed = paths.without(shared, (("metadata", "managedFields"), ("absent", "x")))
    assert trimmed == {"metadata": {"name": "web"}, "data": {"a": "1"}}
    assert shared["metadata"]["managedFields"] == [1]
    assert trimmed["data"] is shared["data"]
