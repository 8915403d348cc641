"""Which kinds are refused, whatever the API server's schema let pass."""

from __future__ import annotations

import pytest

from hookline import reasons
from hookline.api.parse import parse
from hookline.controller.kinds import check_kinds
from hookline.errors import SpecError
from support.controlling import webhook

SECRET = {"apiVersion": "v1", "kind": "Secret"}
MAP = {"apiVersion": "v1", "kind": "ConfigMap"}


def check(*sources, allowed=True, **payload):
    check_kinds(parse(webhook(sources=list(sources), payload=payload)), allowed)


@pytest.mark.parametrize("payload", [{}, {"content": "Full"}])
def test_with_the_setting_a_secret_is_refused_unless_metadata_is_enough(payload):
    with pytest.raises(SpecError, match="set `content: Metadata`") as refused:
        check(MAP, SECRET, **payload)
    assert refused.value.reason == reasons.KIND_REFUSED
    check(MAP, SECRET, content="Metadata")
    check(SECRET, transform="object.metadata.name")
    check(MAP, **payload)


def test_without_the_setting_a_secret_is_refused_whatever_is_sent():
    for payload in ({"content": "Metadata"}, {"transform": "1"}, {}):
        with pytest.raises(SpecError, match="an administrator can allow its metadata alone"):
            check(SECRET, allowed=False, **payload)
    check(MAP, {"apiVersion": "example.com/v1", "kind": "Secret"}, allowed=False)


def test_our_own_kinds_are_refused_always():
    with pytest.raises(SpecError, match="own kinds can't be watched"):
        check({"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription"}, content="Metadata")
