"""Claims about which URLs may be called and which addresses may be dialled."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.deliver.guard import REFUSED, AddressPolicy, Endpoint
from hookline.errors import DestinationRefused, SettingsError

STRICT = AddressPolicy()

SPECIAL = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "::ffff:10.0.0.0/104", "64:ff9b::/96", "64:ff9b:1::/48"),
    *("100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48"),
    *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "4000::/3", "e000::/4"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0"),
    *("192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8"),
    *("2600::", "2606:4700:4700::1111", "2001:200::", "2001:4860:4860::8888", "2a00:1450::1", "3ffe::1", "2003::1"),
]


@pytest.mark.parametrize("block", SPECIAL)
def test_first_second_and_last_address_of_every_special_block_are_refused(block):
    network = ipaddress.ip_network(block)
    size = network.num_addresses
    for offset in {0, min(1, size - 1), size - 1}:
        with pytest.raises(DestinationRefused) as refusal:
            STRICT.vet(str(network[offset]))
        assert str(refusal.value) == REFUSED  # the same words for every address


@pytest.mark.parametrize("address", PUBLIC)
def test_ordinary_addresses_of_the_internet_are_allowed(address):
    STRICT.vet(address)


@pytest.mark.parametrize(
    "address", ["", "localhost", "127.1", "0x7f.0.0.1", "1.2.3.4.5", "fe80::1%eth0", "::ffff:0:0:0:0"]
)
def test_what_is_no_allowed_address_is_refused(address):
    with pytest.raises(DestinationRefused):
        STRICT.vet(address)


def test_an_ipv4_address_is_judged_the_same_in_its_mapped_form():
    with pytest.raises(DestinationRefused):
        STRICT.vet("::ffff:127.0.0.1")
    AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"]).vet("::ffff:127.0.0.1")


def test_the_clusters_ranges_are_refused_though_they_are_public_and_an_allowed_range_wins():
    STRICT.vet("34.118.224.10")
    cluster = AddressPolicy.parse(refused_cidrs=["34.118.224.0/20", "2600:1f00::/24"])
    for address in ("34.118.224.10", "2600:1f00::1"):
        with pytest.raises(DestinationRefused):
            cluster.vet(address)
    allowed = AddressPolicy.parse(refused_cidrs=["34.118.224.0/20"], allowed_cidrs=["34.118.224.10/32", "10.1.0.0/16"])
    allowed.vet("34.118.224.10")
    allowed.vet("10.1.2.3")
    with pytest.raises(DestinationRefused):
        allowed.vet("10.2.0.1")


def test_a_malformed_range_is_a_setting_to_correct():
    with pytest.raises(SettingsError, match=r"10\.0\.0\.0/8"):
        AddressPolicy.parse(allowed_cidrs=["10.0.0.1/8"])


@pytest.mark.parametrize(
    ("url", "host", "port", "canonical"),
    [
        ("https://hooks.example.com", "hooks.example.com", 443, "https://hooks.example.com/"),
        ("https://hooks.example.com?x=1", "hooks.example.com", 443, "https://hooks.example.com/?x=1"),
        ("https://Hooks.Example.COM./a", "hooks.example.com", 443, "https://hooks.example.com/a"),
        ("https://hooks.example.com:443/a", "hooks.example.com", 443, "https://hooks.example.com/a"),
        ("https://hooks.example.com:8443/a", "hooks.example.com", 8443, "https://hooks.example.com:8443/a"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "https://xn--bcher-kva.example/"),
        ("https://8.8.8.8/a", "8.8.8.8", 443, "https://8.8.8.8/a"),
        ("https://[2606:4700:0:0::1111]/", "2606:4700::1111", 443, "https://[2606:4700::1111]/"),
        (
            "https://prod.logic.azure.example/w/a%2Fb?sp=%2Ftriggers%2Fmanual%2Frun&sig=a-b_c%3D",
            "prod.logic.azure.example",
            443,
            "https://prod.logic.azure.example/w/a%2Fb?sp=%2Ftriggers%2Fmanual%2Frun&sig=a-b_c%3D",
        ),
        ("https://api.telegram.org/bot1:AA-b_c/sendMessage", "api.telegram.org", 443, None),
    ],
)
def test_good_urls_pass_with_canonical_host_and_untouched_path(url, host, port, canonical):
    endpoint = STRICT.check_url(url)
    assert (endpoint.host, endpoint.port, endpoint.trusted) == (host, port, False)
    assert endpoint.url == (canonical or url)
    assert STRICT.check_url(endpoint.url) == endpoint


BAD_URLS = [
    *("https://xn--a.example/", "https://xn--zzzzzzzz9.example/"),
    *("", "hooks.example.com", "//hooks.example.com/", "https:/hooks.example.com", "https:hooks.example.com"),
    *("HTTPS://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd", "gopher://a.example/"),
    *(
        "https://",
        "https:///a",
        "https://:443/",
        "https://user@a.example/",
        "https://user:pw@a.example/",
        "https://@a.example/",
    ),
    *("https://a.example#x", "https://a.example/#", "https://a.example\\@b.example/", "https://a.example/a b"),
    *(
        "https://a.example/\n",
        "https://a.example/\t",
        "\thttps://a.example/",
        "https://a.example/\x00",
        "https://a.example/\x7f",
    ),
    *("https://bücher.example/", "https://a.example/ü", "https://①②⑦.0.0.1/", "https://a。example/"),
    *(
        "https://a.example:0/",
        "https://a.example:65536/",
        "https://a.example:/",
        "https://a.example:080/",
        "https://a.example:x/",
    ),
    *(
        "https://a..example/",
        "https://.a.example/",
        "https://-a.example/",
        "https://a-.example/",
        "https://a.example../",
    ),
    *("https://a%2eexample/", "https://a,b.example/", "https://*.example/", f"https://{'a' * 64}.example/"),
    *("https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://0x7f.1/"),
    *("https://1.2.3/", "https://1.2.3.4.5/", "https://8.8.8.08/", "https://a.1/", "https://a.0x/"),
    *(
        "https://[::1/",
        "https://::1/",
        "https://[2606:4700::1111]x/",
        "https://[fe80::1%25eth0]/",
        "https://[a.example]/",
    ),
    *("https://a.example/../b", "https://a.example/a/..", "https://a.example/./b", "https://a.example/%2e%2E/b"),
    *(
        "https://a.example/%",
        "https://a.example/%zz",
        'https://a.example/"',
        "https://a.example/{x}",
        "https://a.example/<x>",
    ),
    "https://a.example/" + "a" * 2048,
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_whatever_two_parsers_could_read_differently_is_refused(url):
    with pytest.raises(DestinationRefused):
        STRICT.check_url(url)


LOCAL_URLS = [
    *(
        "https://localhost/",
        "https://localhost./",
        "https://foo.localhost/",
        "https://printer.local/",
        "https://kubernetes/",
    ),
    *("https://kubernetes.default.svc/", "https://KUBERNETES.default.svc./", "https://a.b.svc.cluster.local/"),
    *(
        "https://a.b.svc.cluster.local.:8443/",
        "https://metadata.google.internal/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
    ),
    *("https://169.254.169.254/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::a9fe:a9fe]/"),
]


@pytest.mark.parametrize("url", LOCAL_URLS)
def test_names_and_addresses_of_the_machine_and_the_cluster_are_refused(url):
    with pytest.raises(DestinationRefused) as refusal:
        STRICT.check_url(url)
    assert "administrator" in str(refusal.value)


@pytest.mark.parametrize("url", LOCAL_URLS)
def test_the_administrator_can_allow_each_of_them_by_host(url):
    host = url.removeprefix("https://").removesuffix("/").removesuffix(":8443")
    assert AddressPolicy.parse(allowed_hosts=[host]).check_url(url).trusted


def test_an_allowed_range_allows_its_literals_but_trusts_no_name():
    policy = AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"])
    assert policy.check_url("https://127.0.0.1:8443/x") == Endpoint("https", "127.0.0.1", 8443, "/x", trusted=False)
    with pytest.raises(DestinationRefused):
        policy.check_url("https://localhost/")


def test_http_is_refused_but_for_the_hosts_where_the_administrator_allows_it():
    with pytest.raises(DestinationRefused, match="https"):
        STRICT.check_url("http://hooks.example.com/")
    policy = AddressPolicy.parse(http_hosts=["hooks.example.com", "127.0.0.1"])
    assert policy.check_url("http://hooks.example.com/a").url == "http://hooks.example.com/a"
    assert policy.check_url("http://hooks.example.com:80/a").origin == "http://hooks.example.com"
    with pytest.raises(DestinationRefused):
        policy.check_url("http://other.example.com/")
    with pytest.raises(DestinationRefused):
        policy.check_url("http://127.0.0.1/")  # plain http is allowed, the address is not


def test_neither_the_refusal_nor_the_endpoint_shows_the_url():
    with pytest.raises(DestinationRefused) as refusal:
        STRICT.check_url("http://10.1.2.3/s3cret")
    assert "s3cret" not in str(refusal.value)
    assert "10.1.2.3" not in str(refusal.value)
    assert "s3cret" not in repr(STRICT.check_url("https://hooks.example.com/s3cret"))


@given(st.text(alphabet="htps:/@.[]?#%\\ 0127xafe-é\n", max_size=60))
def test_any_text_is_either_refused_or_a_url_that_passes_again(text):
    try:
        endpoint = STRICT.check_url("https://" + text)
    except DestinationRefused:
        return
    assert STRICT.check_url(endpoint.url) == endpoint
