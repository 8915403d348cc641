"""The stored form of last-seen objects."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hookline.watch.projection import metadata_only, project, restore


def an_object(**extra: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "uid": "u1", "resourceVersion": "7", "labels": {"é": "🙂"}, "managedFields": [{}]},
        **extra,
    }


def test_a_whole_object_comes_back_as_it_was() -> None:
    obj = an_object(data={"key": "värde"})
    seen = project(obj, full=True)
    assert (seen.uid, seen.resource_version, seen.full) == ("u1", "7", True)
    assert restore(seen) == obj


def test_metadata_comes_back_with_its_kind_and_without_managed_fields_or_content() -> None:
    seen = project(an_object(data={"key": "secret"}), full=False)
    assert not seen.full
    assert restore(seen) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "uid": "u1", "resourceVersion": "7", "labels": {"é": "🙂"}},
    }
    assert restore(seen) == metadata_only(an_object())


def test_a_large_object_is_stored_compressed_and_a_small_one_is_not() -> None:
    large, small = an_object(data={"key": "x" * 4000}), an_object()
    assert len(project(large, full=True).projection) < 400
    assert restore(project(large, full=True)) == large
    assert project(small, full=True).projection[1:] == orjson.dumps(small)


def test_an_object_that_is_too_deep_to_be_encoded_is_kept_as_metadata() -> None:
    deep: Any = "bottom"
    for _ in range(600):
        deep = [deep]
    obj = an_object(data=deep)
    with pytest.raises(orjson.JSONEncodeError):
        orjson.dumps(obj)
    seen = project(obj, full=True)
    assert not seen.full
    assert restore(seen) == metadata_only(obj)
