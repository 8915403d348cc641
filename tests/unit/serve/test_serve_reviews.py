"""The two questions to the API server: how often they are asked, and what follows from each answer."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from hookline.errors import ApiError
from hookline.serve import limits, rights, tokens
from hookline.serve.refusals import Refused
from hookline.serve.rights import Rights, Wish
from hookline.serve.tokens import Identity, Tokens

ALICE = {
    "authenticated": True,
    "user": {"username": "alice", "uid": "u1", "groups": ["g"], "extra": {"example.com/k": ["v"]}},
}
WHO = Identity("alice", "u1", ("g",), {"example.com/k": ("v",)}, b"alice")
WISH = Wish("list", "shop", "orders")


class Api:
    """An API server whose answer the test chooses; ``asked`` are the bodies."""

    def __init__(self):
        self.now = 1000.0
        self.answer: object = {"status": ALICE}
        self.asked = []

    def clock(self):
        return self.now

    async def request(self, method, path, *, body=None, timeout=30.0):  # noqa: ASYNC109
        self.asked.append(body["spec"])
        await asyncio.sleep(0)  # an answer takes a turn
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def api():
    return Api()


def account(namespace, name):
    """A ServiceAccount, as a review names it."""
    return {"authenticated": True, "user": {"username": f"system:serviceaccount:{namespace}:{name}"}}


def token(user, number):
    """One of many tokens of a user."""
    claims = base64.urlsafe_b64encode(json.dumps({"sub": user["user"]["username"], "n": number}).encode()).decode()
    return f"Bearer e30.{claims.rstrip('=')}.x"


async def code_of(work):
    """What becomes of it."""
    try:
        await work
    except Refused as refused:
        return refused.code
    return 200


async def refusal(work):
    with pytest.raises(Refused) as caught:
        await work
    return caught.value


class TestTokens:
    async def test_who_asks_is_believed_for_seconds_and_then_asked_about_again(self, api):
        asked = Tokens(api, api.clock)
        who = await asked.owner("Bearer t1", "p")
        assert (who.name, who.uid, who.groups, who.extra) == ("alice", "u1", ("g",), {"example.com/k": ("v",)})
        api.now += tokens.KNOWN_SECONDS - 0.1
        await asked.owner("bearer t1", "p")
        assert len(api.asked) == 1
        api.now += 0.2
        await asked.owner("Bearer t1", "p")
        assert len(api.asked) == 2

    async def test_those_who_ask_at_the_same_time_share_the_review(self, api):
        asked = Tokens(api, api.clock)
        await asyncio.gather(*(asked.owner("Bearer t1", "p") for _ in range(20)))
        assert len(api.asked) == 1

    async def test_the_token_is_kept_nowhere(self, api):
        asked = Tokens(api, api.clock)
        await asked.owner("Bearer the-s3cr3t", "p")
        api.answer = {"status": {}}
        await refusal(asked.owner("Bearer another-s3cr3t", "p"))
        kept = {name: value for name, value in vars(asked).items() if name != "_api"}
        seen = repr([vars(value) if hasattr(value, "__dict__") else value for value in kept.values()])
        assert "s3cr3t" not in seen
        assert "alice" in seen, "the control: what is kept is seen here"

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            ({"status": {"authenticated": False}}, 401),
            ({"status": {"authenticated": "true", "user": ALICE["user"]}}, 401),
            ({"status": {"error": "x"}}, 401),
            ({"status": {"authenticated": True, "user": {"username": ""}}}, 401),
            ({"status": {"authenticated": True}}, 503),
            ({}, 503),
            (None, 503),
            (ApiError(0, "no answer"), 503),
            (ApiError(403, "the operator may not"), 503),
        ],
    )
    async def test_nobody_is_believed_by_any_other_answer(self, api, answer, code):
        api.answer = answer
        assert (await refusal(Tokens(api, api.clock).owner("Bearer t", "p"))).code == code

    async def test_a_token_for_the_operator_is_reviewed_for_it_and_any_other_for_the_api_server(self, api):
        asked = Tokens(api, api.clock)
        ours = "e30.eyJhdWQiOlsiaG9va2xpbmUuZGV2Il19.x"  # {"aud":["hookline.dev"]}
        api.answer = {"status": {**ALICE, "audiences": ["hookline.dev"]}}
        await asked.owner(f"Bearer {ours}", "p")
        for other in ("e30.eyJhdWQiOiJ4In0.x", "opaque", "a.b.c", "e30.WzFd.x", "e30.bnVsbA.x"):
            await asked.owner(f"Bearer {other}", "p")
        assert [spec.get("audiences") for spec in api.asked] == [["hookline.dev"]] + [None] * 5

    async def test_a_review_that_names_other_audiences_is_no_proof(self, api):
        api.answer = {"status": {**ALICE, "audiences": ["example.com"]}}
        ours = "e30.eyJhdWQiOlsiaG9va2xpbmUuZGV2Il19.x"
        assert (await refusal(Tokens(api, api.clock).owner(f"Bearer {ours}", "p"))).code == 401

    async def test_an_address_of_many_bad_tokens_is_held_back_but_for_who_was_there_before(self, api):
        asked = Tokens(api, api.clock)
        await asked.owner("Bearer good", "p")
        api.answer = {"status": {}}
        codes = [(await refusal(asked.owner(f"Bearer bad{n}", "p"))).code for n in range(tokens.BAD_AT_ONCE + 5)]
        assert codes == [401] * tokens.BAD_AT_ONCE + [429] * 5
        assert (await refusal(asked.owner("Bearer bad", "elsewhere"))).code == 401
        api.now += 2 * tokens.KNOWN_SECONDS
        for n in range(40):  # what came back in that time
            await refusal(asked.owner(f"Bearer more{n}", "p"))
        api.answer = {"status": ALICE}
        assert (await refusal(asked.owner("Bearer newcomer", "p"))).code == 429
        assert (await asked.owner("Bearer good", "p")).name == "alice"

    async def test_all_addresses_together_are_bounded(self, api):
        asked = Tokens(api, api.clock)
        api.answer = {"status": {}}
        codes = [
            (await refusal(asked.owner(f"Bearer bad{n}", f"p{n}"))).code for n in range(limits.REVIEWS_AT_ONCE + 5)
        ]
        assert codes == [401] * limits.REVIEWS_AT_ONCE + [429] * 5

    async def test_good_tokens_take_nothing_from_their_address(self, api):
        asked = Tokens(api, api.clock)
        for number in range(2 * tokens.BAD_AT_ONCE):
            await asked.owner(f"Bearer good{number}", "p")
        assert len(api.asked) == 2 * tokens.BAD_AT_ONCE

    async def test_valid_tokens_of_one_namespace_without_number_hold_up_nobody_else(self, api):
        """Their owners may have as many as they like: accounts, and tokens of each."""
        asked = Tokens(api, api.clock)
        victim, newcomer = account("bank", "reads"), account("bank", "new")
        api.answer = {"status": victim}
        await asked.owner(token(victim, 0), "p")
        for second in range(30):
            codes = []
            for number in range(100):
                attacker = account("shop", f"a{number % 10}")
                api.answer = {"status": attacker}
                codes.append(await code_of(asked.owner(token(attacker, 100 * second + number), "p")))
            assert 429 in codes, "the control: they are held up themselves"
            api.answer = {"status": victim}
            assert (await asked.owner(token(victim, 0), "p")).name.endswith("bank:reads")
            api.answer = {"status": newcomer}
            assert (await asked.owner(token(newcomer, second), "p")).name.endswith("bank:new")
            api.now += 1.0

    async def test_tokens_that_are_not_reviewed_count_for_no_bad_ones(self, api):
        asked = Tokens(api, api.clock)
        attacker = account("shop", "a")
        api.answer = {"status": attacker}
        codes = [await code_of(asked.owner(token(attacker, number), "p")) for number in range(500)]
        assert codes.count(429) > tokens.BAD_AT_ONCE
        assert asked._failures.take("p")
        assert len(asked._failures._full_at) == 1
        assert [asked._failures.take("p") for _ in range(tokens.BAD_AT_ONCE)].count(True) == tokens.BAD_AT_ONCE - 1

    async def test_who_gives_up_waiting_does_not_end_the_review_of_others(self, api):
        asked = Tokens(api, api.clock)
        first = asyncio.create_task(asked.owner("Bearer t1", "p"))
        second = asyncio.create_task(asked.owner("Bearer t1", "p"))
        await asyncio.sleep(0)  # let both ask
        first.cancel()
        assert (await second).name == "alice"
        assert len(api.asked) == 1


class TestRights:
    async def test_the_question_names_all_that_the_api_server_said_of_the_user(self, api):
        api.answer = {"status": {"allowed": True}}
        await Rights(api, api.clock).check(WHO, WISH)
        assert api.asked == [
            {
                "user": "alice",
                "uid": "u1",
                "groups": ["g"],
                "extra": {"example.com/k": ["v"]},
                "resourceAttributes": {
                    "verb": "list",
                    "group": "hookline.dev",
                    "version": "v1alpha1",
                    "resource": "webhooksubscriptions",
                    "subresource": "deliveries",
                    "namespace": "shop",
                    "name": "orders",
                },
            }
        ]

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            ({"status": {"allowed": False}}, 403),
            ({"status": {"allowed": True, "denied": True}}, 403),
            ({"status": {"allowed": "true"}}, 403),
            ({"status": {}}, 403),
            ({}, 503),
            (None, 503),
            (ApiError(500, "broken"), 503),
        ],
    )
    async def test_nothing_but_a_clear_yes_allows(self, api, answer, code):
        api.answer = answer
        assert (await refusal(Rights(api, api.clock).check(WHO, WISH))).code == code

    async def test_an_answer_is_believed_for_seconds_for_this_wish_of_this_user_alone(self, api):
        asked = Rights(api, api.clock)
        api.answer = {"status": {"allowed": True}}
        await asked.check(WHO, WISH)
        api.answer = {"status": {"allowed": False}}
        await asked.check(WHO, WISH)
        other = Identity("bob", "", (), {}, b"bob")
        for who, wish in ((other, WISH), (WHO, Wish("get", "shop", "orders")), (WHO, Wish("list", "bank", "orders"))):
            assert (await refusal(asked.check(who, wish))).code == 403
        api.now += rights.KNOWN_SECONDS + 0.1
        assert (await refusal(asked.check(WHO, WISH))).code == 403

    async def test_a_user_who_asks_for_too_much_is_held_back_and_no_other(self, api):
        asked = Rights(api, api.clock)
        wishes = [Wish("list", "shop", f"n{number}") for number in range(limits.EACH_AT_ONCE + 3)]
        api.answer = {"status": {"allowed": False}}
        codes = [(await refusal(asked.check(WHO, wish))).code for wish in wishes]
        assert codes == [403] * limits.EACH_AT_ONCE + [429] * 3
        assert (await refusal(asked.check(Identity("bob", "", (), {}, b"bob"), WISH))).code == 403

    async def test_accounts_of_one_namespace_without_number_hold_up_nobody_else(self, api):
        asked = Rights(api, api.clock)
        api.answer = {"status": {"allowed": True}}
        await asked.check(WHO, WISH)
        api.answer = {"status": {"allowed": False}}
        for second in range(10):
            codes = []
            for number in range(100):
                name = f"system:serviceaccount:shop:a{number}"
                codes.append(await code_of(asked.check(Identity(name, "", (), {}, f"{second}{name}".encode()), WISH)))
            assert 429 in codes, "the control: they are held up themselves"
            assert await code_of(asked.check(Identity(f"bob{second}", "", (), {}, b"%d" % second), WISH)) == 403
            api.answer = {"status": {"allowed": True}}
            await asked.check(WHO, WISH)
            api.answer = {"status": {"allowed": False}}
            api.now += 1.0


@pytest.mark.parametrize(
    ("user", "tenant"),
    [
        ("system:serviceaccount:shop:a", "system:serviceaccount:shop"),
        ("system:serviceaccount:shop", "system:serviceaccount:shop"),
        ("system:serviceaccount:shop:a:b", "system:serviceaccount:shop:a:b"),
        ("alice", "alice"),
        ("oidc:alice:x:y", "oidc:alice:x:y"),
    ],
)
def test_service_accounts_of_a_namespace_share_their_bounds_and_nobody_else_does(user, tenant):
    assert tokens.tenant_of(user) == tenant
