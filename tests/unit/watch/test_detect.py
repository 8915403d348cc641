"""What counts as a change, as a pure function of what the API server says and what was seen last."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.model import Resource, Scope
from hookline.spec import Operation
from hookline.watch.detect import Known, from_list, from_watch, is_newer, vanished, went_back

SCOPE = Scope(Resource("v1", "ConfigMap", "configmaps", namespaced=True))
NOW = 1_700_000_000.0


def an_object(version: str, **extra: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u1", "name": "a", "resourceVersion": version}, **extra}


def known(version: str, *, full: bool = True) -> Known:
    return Known(version, an_object(version), full)


def test_an_added_object_that_was_never_seen_is_created() -> None:
    change = from_watch("ADDED", an_object("5"), None, SCOPE, NOW)
    assert change is not None
    assert (change.operation, change.old, change.resource_version, change.observed) == (
        Operation.CREATED,
        None,
        "5",
        NOW,
    )
    assert (change.coalesced, change.partial) == (False, False)


@pytest.mark.parametrize("event", ["ADDED", "MODIFIED"])
def test_an_event_of_a_known_object_at_another_version_is_an_update_with_the_old_state(event: str) -> None:
    change = from_watch(event, an_object("6"), known("5"), SCOPE, NOW)
    assert change is not None
    assert change.operation is Operation.UPDATED
    assert change.old == an_object("5")
    assert not change.partial


@pytest.mark.parametrize("event", ["ADDED", "MODIFIED"])
@pytest.mark.parametrize("version", ["5", "4"])
def test_an_event_of_a_state_that_was_seen_or_surpassed_is_no_change(event: str, version: str) -> None:
    assert from_watch(event, an_object(version), known("5"), SCOPE, NOW) is None


def test_a_modified_object_that_was_never_seen_is_a_creation_of_which_more_than_one_change_is_known() -> None:
    change = from_watch("MODIFIED", an_object("5"), None, SCOPE, NOW)
    assert change is not None
    assert (change.operation, change.old, change.coalesced) == (Operation.CREATED, None, True)


def test_a_deletion_carries_the_last_state_and_the_one_before() -> None:
    change = from_watch("DELETED", an_object("9"), known("5", full=False), SCOPE, NOW)
    assert change is not None
    assert (change.operation, change.object, change.old) == (Operation.DELETED, an_object("9"), an_object("5"))
    assert change.partial


def test_a_change_whose_old_state_was_kept_as_metadata_is_partial() -> None:
    change = from_watch("MODIFIED", an_object("6"), known("5", full=False), SCOPE, NOW)
    assert change is not None
    assert change.partial


def test_a_list_after_a_gap_tells_new_and_changed_objects_as_coalesced_and_no_others() -> None:
    created = from_list(an_object("8"), None, SCOPE, NOW)
    updated = from_list(an_object("8"), known("5"), SCOPE, NOW)
    assert created is not None
    assert (created.operation, created.coalesced) == (Operation.CREATED, True)
    assert updated is not None
    assert (updated.operation, updated.coalesced, updated.old) == (Operation.UPDATED, True, an_object("5"))
    assert from_list(an_object("5"), known("5"), SCOPE, NOW) is None


def test_a_list_with_an_older_version_is_a_change_since_the_cluster_may_come_from_a_backup() -> None:
    assert from_list(an_object("4"), known("5"), SCOPE, NOW) is not None


def test_a_vanished_object_is_deleted_at_the_version_of_the_list() -> None:
    change = vanished(known("5", full=False), SCOPE, "90", NOW)
    assert (change.operation, change.resource_version, change.object) == (Operation.DELETED, "90", an_object("5"))
    assert (change.coalesced, change.partial) == (True, True)


def test_versions_are_compared_as_integers_and_where_they_are_none_by_difference() -> None:
    assert is_newer("10", "9")
    assert not is_newer("9", "10")
    assert is_newer("b", "c")
    assert not is_newer("b", "b")


def test_only_a_smaller_integer_shows_that_history_went_back() -> None:
    assert went_back("9", "10")
    assert not went_back("10", "10")
    assert not went_back("x", "10")
    assert not went_back("9", "")
