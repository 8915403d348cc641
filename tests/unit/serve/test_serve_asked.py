"""What is asked for is read strictly: whatever comes, it is a request of ours or a refusal."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hookline.serve.asked import MAX_PAGE, position, read, read_path, read_position
from hookline.serve.refusals import Refused
from hookline.stored import DeliveryState

BASE = "/apis/hookline.dev/v1alpha1/namespaces/shop/webhooksubscriptions/orders/deliveries"
UID = "aaaaaaaa-0000-4000-8000-000000000001"


def test_a_list_a_get_and_a_watch_are_told_apart():
    assert read(BASE, []).verb == "list"
    assert read(BASE, [("watch", "false")]).verb == "list"
    assert read(BASE, [("watch", "true")]).verb == read(BASE, [("watch", "1")]).verb == "watch"
    assert (read(BASE + "/msg_a", []).verb, read(BASE + "/msg_a", []).ident) == ("get", "msg_a")


def test_without_states_all_are_asked_for_and_who_waits_may_be_under_way():
    assert read(BASE, []).states == frozenset(DeliveryState)
    assert read(BASE, [("state", "Pending")]).states == {DeliveryState.PENDING, DeliveryState.IN_FLIGHT}
    assert read(BASE, [("state", "Dead"), ("state", "Delivered")]).states == {
        DeliveryState.DEAD,
        DeliveryState.DELIVERED,
    }


@pytest.mark.parametrize("path", [BASE + "\n", BASE + "?x", BASE + "//", BASE.replace("shop", "a--"), "", "//" + BASE])
def test_a_path_is_ours_from_its_first_to_its_last_character(path):
    with pytest.raises(Refused):
        read_path(path)


@given(st.text(), st.lists(st.tuples(st.sampled_from(["limit", "continue", "state", "watch", "tail", "x"]), st.text())))
def test_whatever_comes_it_is_read_or_refused(path, query):
    for raw in (path, BASE + path):
        with contextlib.suppress(Refused):
            found = read(raw, query)
            assert 1 <= found.limit <= MAX_PAGE


@given(st.text())
@example("A" * 201)
@example("W10")
def test_whatever_comes_as_a_position_is_a_number_or_refused(text):
    with contextlib.suppress(Refused):
        number = read_position(text, UID)
        assert number is None or 0 <= number < 2**62


@given(st.integers(0, 2**62 - 1))
def test_a_position_is_read_as_it_was_written_and_only_for_its_subscription(number):
    token = position(UID, number)
    assert read_position(token, UID) == number
    with pytest.raises(Refused) as caught:
        read_position(token, "another")
    assert caught.value.reason == "Expired"
