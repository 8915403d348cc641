"""Claims about what a message rests on: the text that is stored says exactly what must be asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hookline.model import Ground, Resource, Scope

NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?(\\.[a-z0-9]{1,5}){0,2}", fullmatch=True)
LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?", fullmatch=True)


@given(NAME, st.one_of(st.just(""), NAME), st.from_regex(r"v[1-9](beta[1-9])?", fullmatch=True), LABEL, LABEL)
def test_the_text_is_read_as_it_was_written(account: str, group: str, version: str, plural: str, namespace: str):
    api_version = f"{group}/{version}" if group else version
    resource = Resource(api_version, "Kind", plural, namespaced=True)
    for place in ("", namespace):
        text = Scope(resource, place, "metadata.name=a@b c/d").ground(account)
        assert Ground.parse(text) == Ground(account, group, version, plural, place)
