"""URLs that try to reach an address that nobody should: every spelling of it that is known, in every place of a URL.

Made here systematically, so that the tests need no download. Published collections are read where the environment
variable ``HOOKLINE_CORPORA`` names a directory with checkouts of them (docs/security.md says which); two of them carry
no licence, so nothing of them is in this repository.
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

OK = "hooks.example.com"

FORBIDDEN = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7"),
    *("fe80::/10", "fec0::/10", "ff00::/8", "4000::/3"),
)
"""The special-purpose blocks, written down here again: what checks a guard must not be made of it."""

TARGETS = (
    *("169.254.169.254", "10.0.0.1", "127.0.0.1", "192.168.1.1", "172.16.0.1", "100.100.100.200", "168.63.129.16"),
    *("192.0.0.192", "0.0.0.0", "198.18.0.1", "240.0.0.1", "255.255.255.255", "10.96.0.1"),
    *("::1", "fd00:ec2::254", "fe80::1", "fd00::1", "2001:db8::1", "5f00::1"),
)

_CIRCLED = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")
_WIDE = {ord(character): 0xFEE0 + ord(character) for character in "0123456789."}  # full width


def hosts4(address: IPv4Address) -> Iterator[str]:
    """Spellings of an IPv4 address as the host of a URL."""
    number, text = int(address), str(address)
    a, b, c, d = parts = address.packed
    low24, low16 = number & 0xFFFFFF, number & 0xFFFF
    yield from (text, f"{text}.", f"{text}..", f"[{text}]", f"{text}%00", f"{text}.0", text.replace(".", "..", 1))
    yield from (str(number), f"0x{number:x}", f"0X{number:X}", f"0{number:o}", f"0x{number + (5 << 32):x}")
    yield from (str(number + (1 << 32)), f"0x{number:016x}", f"00000000000{number:o}")
    yield from (f"{a}.{low24}", f"{a}.{b}.{low16}", f"0x{a:x}.{low24}", f"0{a:o}.{b}.0x{low16:x}", f"{a}.0x{low24:x}")
    yield ".".join(f"0x{part:x}" for part in parts)
    yield ".".join(f"0x{part:08X}" for part in parts)
    yield ".".join(f"0{part:o}" for part in parts)
    yield ".".join(f"0000{part:o}" for part in parts)
    yield ".".join(f"{part:03d}" for part in parts)
    yield ".".join(str(part + 256) for part in parts)
    yield from (f"0x{a:x}.{b}.0{c:o}.{d}", f"{a}.0x{b:x}.{c}.0{d:o}", f"0x{a:x}{b:02x}.{c}.{d}")
    yield from (text.translate(_CIRCLED), text.translate(_WIDE), text.replace(".", "。"), text.replace(".", "｡"))
    yield from (
        "".join(f"%{byte:02x}" for byte in text.encode()),
        text.replace(".", "%2e"),
        text.replace(".", "%E3%80%82"),
    )
    yield from (f"+{text}", f"{text}\u00ad", f"\u200b{text}", f"{a}.{b}.{c}.{d}\u2024")
    for prefix in ("::ffff:", "::", "::ffff:0:", "64:ff9b::", "64:ff9b:1::", "0:0:0:0:0:ffff:", "::FFFF:"):
        yield f"[{prefix}{text}]"
        yield f"[{prefix}{number >> 16:x}:{low16:x}]"
    yield from (f"[2002:{number >> 16:x}:{low16:x}::]", f"[2002:{number >> 16:x}:{low16:x}::{text}]")
    yield f"[2001:0:{number >> 16:x}:{low16:x}::{~number >> 16 & 0xFFFF:x}:{~number & 0xFFFF:x}]"
    yield from (f"[fe80::5efe:{text}]", f"[::ffff:{text}%lo]", f"[::ffff:{text}%25lo]", f"::ffff:{text}")


def hosts6(address: IPv6Address) -> Iterator[str]:
    """Spellings of an IPv6 address as the host of a URL."""
    text, long = address.compressed, address.exploded
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    mixed = f"{address.exploded.rsplit(':', 2)[0]}:{low}"
    for spelt in (text, text.upper(), long, long.upper(), mixed, f"{text}%lo", f"{text}%25lo", f"{text}%0", f"{text}."):
        yield f"[{spelt}]"
    yield from (text, f"[{text}", f"{text}]", f"[[{text}]]", f"%5B{text}%5D", f"[{text}].", f"[v1.{text}]")


def urls(host: str, port: int) -> Iterator[str]:
    """Every place of a URL where a parser might look for the host."""
    yield from (f"https://{host}/", f"https://{host}:{port}/", f"http://{host}/", f"http://{host}:{port}/a?b=c")
    yield from (f"HTTPS://{host}:{port}/", f"https:{host}:{port}", f"https:/{host}:{port}/", f"https:///{host}:{port}/")
    yield from (f"//{host}:{port}/", f"\\\\{host}:{port}\\", f"https:\\\\{host}:{port}/", f"{host}:{port}")
    yield from (f"https://{OK}@{host}:{port}/", f"https://{OK}:443@{host}:{port}/", f"https://a:b@{host}:{port}/")
    yield from (f"https://{OK}\\@{host}:{port}/", f"https://{host}:{port}\\@{OK}/", f"https://{host}:{port}#@{OK}/")
    yield from (f"https://{host}:{port}?@{OK}/", f"https://{host}:{port};.{OK}/", f"https://{OK};@{host}:{port}/")
    yield from (
        f" https://{host}:{port}/",
        f"https://{host}:{port}/ ",
        f"https://\t{host}:{port}/",
        f"\nhttps://{host}/",
    )
    yield from (
        f"https://{host}:{port}\r\n/",
        f"ht\ntps://{host}:{port}/",
        f"https://{host}:0{port}/",
        f"https://{host}:+{port}/",
    )
    yield from (f"https://{OK} @{host}:{port}/", f"https://{OK}%20@{host}:{port}/", f"https://{host}%2f@{OK}/")


def generated(addresses: Iterable[str], port: int) -> list[str]:
    """All of them, once each."""
    found: dict[str, None] = {}
    for text in addresses:
        address = ipaddress.ip_address(text)
        for host in hosts4(address) if isinstance(address, IPv4Address) else hosts6(address):
            found.update(dict.fromkeys(urls(host, port)))
    return list(found)


def published(directory: Path, address: str = "169.254.169.254") -> dict[str, list[str]]:
    """The URLs of each collection that is there, aimed at this address."""
    scripts = {
        "cujanovic/SSRF-Testing": (directory / "SSRF-Testing" / "ip.py", [address, "80", OK]),
        "swisskyrepo/PayloadsAllTheThings": (
            directory / "PayloadsAllTheThings" / "Server Side Request Forgery" / "Files" / "ip.py",
            [address, "80", OK],
        ),
    }
    found = {name: _printed(script, arguments) for name, (script, arguments) in scripts.items() if script.exists()}
    sheets = sorted((directory / "url-cheatsheet-data" / "src").glob("*.json"))
    if sheets:
        found["PortSwigger/url-cheatsheet-data"] = _unique(
            url
            for sheet in sheets
            for item in json.loads(sheet.read_text("utf-8"))["payloads"]
            for url in _aimed(item, address)
        )
    wpt = directory / "ada" / "tests" / "wpt" / "urltestdata.json"
    if wpt.exists():
        found["web-platform-tests/wpt"] = _unique(
            item["input"] for item in json.loads(wpt.read_text("utf-8")) if isinstance(item, dict)
        )
    return found


def _aimed(item: dict[str, Any], address: str) -> Iterator[str]:
    text = item["payload"].replace("<attacker>", address).replace("<allowed>", OK)
    if "://" in text or text.startswith(("/", "\\")):
        yield text
    yield f"https://{text}"
    yield f"http://{text}/"


def _printed(script: Path, arguments: list[str]) -> list[str]:
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, check=False, timeout=60)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode("utf-8", "replace"))
    return _unique(line.strip() for line in text.splitlines() if re.match(r"\s*[A-Za-z]*:?[/\\]{2}", line))


def _unique(texts: Iterable[str]) -> list[str]:
    whole = (text.encode("utf-8", "replace").decode() for text in texts)  # no field holds half a surrogate pair
    return list(dict.fromkeys(whole))
