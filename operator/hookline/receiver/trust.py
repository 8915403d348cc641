"""Which certificates a client trusts. In: the field ``caFile``, or none. Out: a context that checks names."""

from __future__ import annotations

import ssl

from hookline.receiver.fields import Field


def trust(ca_file: Field | None) -> ssl.SSLContext:
    """The system's authorities, or only those in ``ca_file``. Raises SettingsError."""
    if ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=ca_file.content())
    except ssl.SSLError:
        raise ca_file.wrong("it must be a file with certificates in PEM") from None
