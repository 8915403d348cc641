"""Claims about URLs that pass: every parser in reach reads the same host and port from them."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import urllib3
import yarl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookline.deliver.guard import AddressPolicy
from hookline.errors import DestinationRefused
from support.spellings import TARGETS, generated

EVERYTHING = AddressPolicy.parse(allowed_cidrs=["0.0.0.0/0", "::/0"], http_hosts=["a.example", "hooks.example.com"])
PORTS = {"https": 443, "http": 80}


def canonical(host: str | None) -> str:
    """Lower case, without brackets and trailing dot; an address in its usual form."""
    plain = (host or "").lower().removeprefix("[").removesuffix("]").removesuffix(".")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(plain))
    return plain


def _urllib(url: str):
    parts = urlsplit(url)
    return canonical(parts.hostname), parts.port or PORTS.get(parts.scheme)


def _yarl(url: str):
    parts = yarl.URL(url)
    return canonical(parts.raw_host), parts.port


def _yarl_as_sent(url: str):
    """As the client makes it, and aiohttp dials it."""
    parts = yarl.URL(url, encoded=True)
    return canonical(parts.raw_host), parts.port


def _httpx(url: str):
    parts = httpx.URL(url)
    return canonical(parts.raw_host.decode("ascii")), parts.port or PORTS.get(parts.scheme)


def _urllib3(url: str):
    parts = urllib3.util.parse_url(url)
    return canonical(parts.host), parts.port or PORTS.get(parts.scheme or "")


PARSERS: dict[str, Callable[[str], object]] = {
    "urllib.parse": _urllib,
    "yarl": _yarl,
    "yarl, as sent": _yarl_as_sent,
    "httpx": _httpx,
    "urllib3": _urllib3,
}

hosts = st.one_of(
    st.sampled_from(
        ["a.example", "A.Example.", "hooks.example.com", "xn--bcher-kva.example", "a_b.example", "1.a.example"]
    ),
    st.ip_addresses().map(lambda address: f"[{address}]" if address.version == 6 else str(address)),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded.upper()}]"),
    st.from_regex(r"[a-z0-9_.%@:\\\[\]-]{1,30}", fullmatch=True),
)
urls = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["https://", "https://", "http://", "HTTPS://", "https:/", "https:", "//"]),
        st.sampled_from(["", "", "", "user@", "a.example@", "a.example:80@"]),
        hosts,
        st.sampled_from(["", "", ":443", ":80", ":8443", ":65535", ":0", ":", ":00443", ":65536", ":٤٤٣"]),
        st.sampled_from(
            ["", "/", "/a/b?c=d", "?x", "#@b.example/", "\\@b.example/", ";@b.example/", "/%2e%2e/", "/\t"]
        ),
    ),
)
texts = st.text(alphabet="htps:/@.[]?#%\\ 0127xafe-é\n\t;,+&=~_Aa①。", max_size=40).map("https://a.example".__add__)


def agree(url: str) -> bool:
    """Whether it was accepted; then all must read the same, from it and from what is really used."""
    try:
        endpoint = EVERYTHING.check_url(url)
    except DestinationRefused:
        return False
    for text in (url, endpoint.url):
        for name, parser in PARSERS.items():
            assert parser(text) == (endpoint.host, endpoint.port), name
    return True


@given(st.one_of(urls, texts))
@settings(max_examples=2000, deadline=None)
@example("https://A.Example.:443/a?b")
@example("https://[2001:DB8:0:0::1]:8443")
def test_all_parsers_read_the_same_host_and_port_from_a_url_that_passes(url):
    agree(url)


def test_all_parsers_agree_on_every_spelling_that_passes_where_all_addresses_are_allowed():
    assert sum(map(agree, generated(TARGETS, 8080))) > 500


def test_the_same_parsers_differ_on_urls_that_are_refused():
    """The control: without the strict rules there is something to differ about."""
    differing = 0
    for url in generated(["10.0.0.1", "::1"], 8080):
        read = set()
        for parser in PARSERS.values():
            with contextlib.suppress(Exception):
                read.add(parser(url))
        if len(read) > 1:
            differing += 1
            assert not agree(url)
    assert differing > 50
