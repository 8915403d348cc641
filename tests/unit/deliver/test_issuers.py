"""What a token endpoint is asked, and what is believed of its answer; what the cluster is asked."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace
from urllib.parse import parse_qsl, unquote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.deliver.issuers import MARGIN_SECONDS, read_token, service_account, token_request
from hookline.deliver.tokens import TokenFailed
from hookline.errors import Forbidden
from hookline.model import ClientCredentials, ServiceAccountToken

VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)


def credentials(**changes):
    return ClientCredentials(**{"token_url": "https://a.example/", "client_id": "me", "client_secret": "s", **changes})


@given(VISIBLE, VISIBLE, st.lists(st.tuples(VISIBLE, VISIBLE), max_size=3), st.booleans())
def test_id_and_secret_arrive_as_they_are_in_the_header_or_in_the_form(client_id, secret, parameters, in_body):
    headers, body = token_request(
        credentials(client_id=client_id, client_secret=secret, parameters=tuple(parameters), in_body=in_body)
    )
    form = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert form[0] == ("grant_type", "client_credentials")
    assert form[1 : len(parameters) + 1] == parameters
    if in_body:
        assert form[-2:] == [("client_id", client_id), ("client_secret", secret)]
        assert "authorization" not in headers
    else:
        assert len(form) == len(parameters) + 1
        scheme, _, text = headers["authorization"].partition(" ")
        pair = base64.b64decode(text, validate=True).decode("ascii").split(":")
        assert (scheme, [unquote_plus(part) for part in pair]) == ("Basic", [client_id, secret])


def test_scopes_are_one_parameter():
    _, body = token_request(credentials(scopes=("a", "b:c")))
    assert dict(parse_qsl(body.decode()))["scope"] == "a b:c"


def test_a_token_is_renewed_before_it_expires():
    token = read_token(b'{"access_token": "a.b", "token_type": "bearer", "expires_in": 3600}')
    assert (token.value, token.fresh_for, token.valid_for) == ("a.b", 3600 - MARGIN_SECONDS, 3600)
    short = read_token(b'{"access_token": "a.b", "token_type": "Bearer", "expires_in": "20"}')
    assert (short.fresh_for, short.valid_for) == (10, 20)
    assert read_token(b'{"access_token": "a", "token_type": "Bearer"}').valid_for == 300


GOOD = {"access_token": "SECRET", "token_type": "Bearer", "expires_in": 60}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SECRET",
        b"[]",
        b'"SECRET"',
        b"null",
        *(
            orjson.dumps(GOOD | change)
            for change in (
                {"access_token": None},
                {"access_token": "SECRET\r\nx: y"},
                {"access_token": ""},
                {"access_token": ["SECRET"]},
                {"token_type": "mac"},
                {"token_type": 1},
                {"expires_in": -1},
                {"expires_in": "soon"},
                {"expires_in": {"in": 60}},
                {"expires_in": "nan"},
            )
        ),
        orjson.dumps({"access_token": "SECRET"}),
    ],
)
def test_a_malformed_answer_is_no_token_and_is_not_repeated(answer):
    with pytest.raises(TokenFailed) as failed:
        read_token(answer)
    assert "SECRET" not in str(failed.value)


@given(st.binary(max_size=200))
def test_no_answer_can_do_more_than_fail(answer):
    with contextlib.suppress(TokenFailed):
        read_token(answer)


class Api:
    """Answers TokenRequests with ``status``, and TokenReviews with ``accepted``."""

    def __init__(self, accepted=False, status=None):
        self.accepted = accepted
        self.status = {"token": "a.b.c"} if status is None else status
        self.asked = []

    async def request(self, method, path, *, params=None, body=None):
        self.asked.append((method, path, body["spec"]))
        if path.endswith("/tokenreviews"):
            return {"status": {"authenticated": self.accepted}}
        if isinstance(self.status, Exception):
            raise self.status
        return {"status": self.status, "spec": {"expirationSeconds": 1000}}


TOKEN = ServiceAccountToken("shop", "sender", "https://hooks.example.com", 600)


async def test_the_cluster_is_asked_for_the_subscriptions_own_account_and_audience():
    api = Api()
    token = await service_account(TOKEN, api)()
    assert api.asked[0] == (
        "POST",
        "/api/v1/namespaces/shop/serviceaccounts/sender/token",
        {"audiences": ["https://hooks.example.com"], "expirationSeconds": 600},
    )
    assert (token.value, token.fresh_for, token.valid_for) == ("a.b.c", 800.0, 1000.0)


async def test_a_token_that_the_api_server_itself_accepts_is_never_handed_out():
    with pytest.raises(TokenFailed, match="audience"):
        await service_account(TOKEN, Api(accepted=True))()


async def test_a_token_for_hooklines_own_api_is_not_even_made():
    api = Api()
    with pytest.raises(TokenFailed, match="Hookline's own"):
        await service_account(replace(TOKEN, audience="hookline.dev"), api)()
    assert api.asked == []


@pytest.mark.parametrize("status", [Forbidden(403, "SECRET"), {}, "SECRET"], ids=["refused", "empty", "no object"])
async def test_what_goes_wrong_with_the_cluster_is_a_failed_token(status):
    with pytest.raises(TokenFailed) as failed:
        await service_account(TOKEN, Api(status=status))()
    assert "SECRET" not in str(failed.value)
