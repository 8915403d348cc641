"""TLS contexts for subscriptions that ask for more than the usual: an own authority, a client certificate, a version.

In: a ``TlsProfile`` with PEM texts. Out: an ``ssl.SSLContext`` for ``transport.Transports``, or InvalidKey. The same
function checks what a Secret holds (the controller is handed it) and makes the context that is used later.
``contexts`` keeps those that are in use.
"""

from __future__ import annotations

import os
import ssl

from hookline.deliver.dial import tls_context
from hookline.errors import InvalidKey
from hookline.model import TlsProfile


def profile_context(profile: TlsProfile, extra_ca: str | None = None) -> ssl.SSLContext:
    """A client context for this profile; ``extra_ca`` is the administrator's bundle, as for ``dial.tls_context``.

    The profile's own authorities replace the system's and the administrator's: nobody else vouches for the receiver
    then. Raises InvalidKey when a PEM text can't be used; the text of the error holds nothing of it.
    """
    context = _trusting(profile.authorities) if profile.authorities else tls_context(extra_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if profile.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    if profile.certificate:
        _present(context, profile.certificate, profile.private_key)
    return context


def check_profile(profile: TlsProfile) -> None:
    """Whether a context can be made of this. Raises InvalidKey."""
    if profile.authorities:
        _trusting(profile.authorities)
    if profile.certificate:
        _present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), profile.certificate, profile.private_key)


def _trusting(authorities: str) -> ssl.SSLContext:
    try:
        # Bundles often have names in other letters between the certificates, which `cadata` does not take.
        context = ssl.create_default_context(cadata=authorities.encode("ascii", "ignore").decode())
    except (ssl.SSLError, ValueError):
        raise InvalidKey("it must hold certificates in PEM form") from None
    # Many private authorities lack extensions that RFC 5280 demands; Python 3.13 began to insist on them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context


def _present(context: ssl.SSLContext, certificate: str, private_key: str) -> None:
    # The ssl module reads files only. This one is in memory and has no name: the key never reaches a disk.
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(f"{certificate.strip()}\n{private_key.strip()}\n".encode())
        # Without the empty password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: "")
    except (ssl.SSLError, ValueError):
        message = "tls.crt and tls.key must be a certificate and its private key in PEM form, the key not encrypted"
        raise InvalidKey(message) from None
    finally:
        os.close(descriptor)
