"""The stored form of a last-seen object: small bytes from which the old state comes back.

In: an object as decoded. Out: bytes for ``Seen.projection``, and back. A first byte tells whether the JSON after it is
compressed: a Pod of 3.8 kB becomes 1.3 kB, while a small one would only cost time.
"""

from __future__ import annotations

import zlib
from typing import Any

import orjson

from hookline.model import Object, Seen

COMPRESS_FROM = 512
_PLAIN = b"j"
_DEFLATED = b"z"


def metadata_only(obj: Object) -> Object:
    """The object without anything but its identity and its metadata, the latter without ``managedFields``."""
    metadata = obj["metadata"]
    return {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": {key: metadata[key] for key in metadata if key != "managedFields"},
    }


def project(obj: Object, *, full: bool) -> Seen:
    """The last-seen entry of an object, whole or (``full=False``) its metadata.

    An object that is nested too deep to be encoded again is kept as metadata.
    """
    metadata = obj["metadata"]
    try:
        raw = orjson.dumps(obj if full else metadata_only(obj))
    except orjson.JSONEncodeError:
        full = False
        raw = orjson.dumps(metadata_only(obj))
    return Seen(metadata["uid"], metadata["resourceVersion"], _pack(raw), full)


def restore(seen: Seen) -> Object:
    """The object, or its metadata, that ``project`` kept."""
    raw = seen.projection
    loaded: dict[str, Any] = orjson.loads(zlib.decompress(raw[1:]) if raw[:1] == _DEFLATED else raw[1:])
    return loaded


def _pack(raw: bytes) -> bytes:
    return _DEFLATED + zlib.compress(raw, 1) if len(raw) > COMPRESS_FROM else _PLAIN + raw
