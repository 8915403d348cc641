"""The API over TLS: with the certificate of its files, whenever they change, and never in clear elsewhere."""

from __future__ import annotations

import http.client
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from hookline.errors import SettingsError
from hookline.serve import listen
from hookline.serve.listen import Certificate
from hookline.serve.server import Behind, make_api
from hookline.settings import Settings
from support.outbox import A, add, message
from support.served import BASE, ApiClient, free_port

SHOP = BASE.format("shop", "orders")


def write(directory: Path, authority: trustme.CA) -> tuple[str, str]:
    """A certificate of this authority for ``localhost``; the paths of its files."""
    issued = authority.issue_cert("localhost")
    cert, key = directory / "tls.crt", directory / "tls.key"
    issued.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return str(cert), str(key)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def looks(monkeypatch):
    """What each look at the files came to: whether they were read anew."""
    found: list[bool] = []
    look = listen.Certificate.refresh

    def noted(certificate: listen.Certificate) -> bool:
        found.append(look(certificate))
        return found[-1]

    monkeypatch.setattr(listen.Certificate, "refresh", noted)
    return found


@pytest.fixture
async def api(served, client, tmp_path, monkeypatch):
    """Its port, the authority of its certificate, and the directory of its files."""
    monkeypatch.setattr(listen, "RELOAD_SECONDS", 0.05)
    authority, directory, port = trustme.CA(), tmp_path / "tls", free_port()
    directory.mkdir()
    cert, key = write(directory, authority)
    settings = Settings(
        api_host="127.0.0.1", api_port=port, api_tls_cert_file=cert, api_tls_key_file=key, lease_namespace="x"
    )
    settings.validate()
    behind = Behind(client, served.store, lambda *name: served.known.get(name), lambda: None)
    made = await make_api(settings, behind, time.monotonic)
    assert made is not None
    await add(served.store, message(1))
    yield port, authority, directory
    await made.stop()


async def test_deliveries_are_read_over_tls_and_not_in_clear(served, api, token):
    port, authority, _ = api
    code, listed = await served.do(lambda: ApiClient(port, token("reads"), trusting(authority)).get(SHOP))
    assert (code, len(listed["items"])) == (200, 1)
    with pytest.raises((http.client.HTTPException, OSError)):
        await served.do(lambda: ApiClient(port, token("reads")).get(SHOP))
    with pytest.raises(ssl.SSLCertVerificationError):
        await served.do(lambda: ApiClient(port, token("reads"), trusting(trustme.CA())).get(SHOP))


async def test_old_versions_of_tls_are_refused(served, api, token):
    port, authority, _ = api
    context = trusting(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        await served.do(lambda: ApiClient(port, token("reads"), context).get(SHOP))


async def test_a_certificate_that_changes_is_in_force_soon_and_one_that_is_broken_never(
    served, api, looks, token, until
):
    port, authority, directory = api
    other = trustme.CA()

    async def trusted(by: trustme.CA) -> bool:
        try:
            answer: tuple[int, Any] = await served.do(lambda: ApiClient(port, token("reads"), trusting(by)).get(SHOP))
        except ssl.SSLError:
            return False
        return answer[0] == 200

    assert await trusted(authority)
    (directory / "tls.key").write_text("broken")
    seen = len(looks)
    await until(lambda: len(looks) >= seen + 2, "the files are looked at, of which one began after they were broken")
    assert not any(looks)
    assert await trusted(authority)
    write(directory, other)
    await until(lambda: trusted(other), "the new certificate is in force")
    assert not await trusted(authority)


async def test_a_stream_goes_on_while_the_certificate_changes(served, api, looks, token, until):
    port, authority, directory = api
    stream = await served.do(lambda: ApiClient(port, token("reads"), trusting(authority)).lines(SHOP + "?watch=true"))
    write(directory, trustme.CA())
    await until(lambda: any(looks), "the new certificate is in force")
    await add(served.store, message(2, A))
    await until(lambda: stream.states("msg_0002"), "it tells what changes")
    await served.do(stream.close)


@pytest.mark.parametrize("broken", ["absent", "no PEM", "key of another"])
def test_a_certificate_that_can_not_be_used_is_refused_at_the_start(tmp_path, broken):
    cert, key = write(tmp_path, trustme.CA())
    Certificate(cert, key)
    if broken == "absent":
        Path(cert).unlink()
    elif broken == "no PEM":
        Path(cert).write_text("nothing")
    else:
        Path(key).write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    with pytest.raises(SettingsError, match="api_tls_cert_file, api_tls_key_file: can't be used"):
        Certificate(cert, key)


async def test_a_port_that_is_taken_is_named(served, client):
    settings = Settings(api_port=served.port)
    behind = Behind(client, served.store, lambda *_: None, lambda: None)
    with pytest.raises(SettingsError, match=f"api_port: {served.port} can't be listened at"):
        await make_api(settings, behind, time.monotonic)


async def test_without_a_port_there_is_no_api(served, client):
    behind = Behind(client, served.store, lambda *_: None, lambda: None)
    assert await make_api(Settings(api_port=0), behind, time.monotonic) is None
