"""What the operator refuses at its start the chart refuses, too: the old pod has ended by then (``Recreate``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from chart import CHART, CHART_OWNED, camel
from chartvalues import Key
from chartvalues import parse as documented
from hookline.deliver.proxy import Proxy
from hookline.errors import SettingsError
from hookline.settings import PREFIX, Settings

Render = Callable[..., Any]
Chosen = dict[str, Any]
Path = tuple[str, ...]
RANGES = (
    *(
        "nonsense",
        "dead",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0/8",
        "10.0.0.0.0",
        "256.0.0.0/8",
        "010.0.0.0/8",
        "1.2.3.4/",
    ),
    *(
        "fd00::1/8",
        "fd00::/129",
        "1::2::3",
        "1:2:3",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
        ":1",
        ":::",
        "12345::",
        "/8",
    ),
)
PROXIES = (
    *("proxy:3128", "https://proxy:3128", "http://proxy", "http://proxy:0", "http://proxy:65536", "http://proxy:port"),
    *(
        "http://user:word@proxy:3128",
        "http://proxy:3128/path",
        "http://proxy:3128?x",
        "http://:3128",
        "http://[::1:3128",
    ),
)
REFUSED: list[Chosen] = [
    *({name: [text]} for name in ("allow_cidrs", "refuse_cidrs") for text in RANGES),
    *({"egress_proxy": text} for text in PROXIES),
    {"egress_proxy_connect": "name"},
    {"egress_proxy_credentials_file": "/etc/proxy"},
    {"lease_duration_seconds": 5},
    {"lease_renew_deadline_seconds": 15},
    {"lease_renew_deadline_seconds": "2"},
    {"lease_retry_seconds": "10.0"},
    {"key_overlap_seconds": 604_801},
    {"key_overlap_seconds": "99999999"},
    {"max_body_bytes": "1023"},
    {"max_body_bytes": "2048.5"},
    {"expression_limit_milliseconds": 0.5},
    {"audit_seconds": "-1"},
    {"tracing": "yes"},
    {"log_level": "loud"},
    {"log_format": "xml"},
    {"egress_proxy_connect": "neither", "egress_proxy": "http://proxy:3128"},
]
TAKEN: list[Chosen] = [
    {"allow_cidrs": ["10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "10.128.0.0/9", "255.255.255.255/32"]},
    {"refuse_cidrs": ["fd00::/8", "::/0", "::1", "2001:db8::/33", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "FE80::/10"]},
    {"egress_proxy": "http://proxy.example:3128", "egress_proxy_connect": "name"},
    {"egress_proxy": "http://[fd00::1]:65535/"},
    {"lease_duration_seconds": 5, "lease_renew_deadline_seconds": "3.5"},
    {"key_overlap_seconds": "604800"},
    {"key_overlap_seconds": 0},
    {"audit_seconds": 0, "shutdown_grace_seconds": "0"},
]


def text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def start(settings: Chosen) -> None:
    """What the operator makes of them first; raises SettingsError."""
    parsed = Settings.parse([], {f"{PREFIX}{name.upper()}": text(value) for name, value in settings.items()})
    Proxy.parse(parsed.egress_proxy, parsed.egress_proxy_connect, parsed.egress_proxy_credentials_file)


def values(settings: Chosen) -> Chosen:
    return {"settings": {camel(name): value for name, value in settings.items()}}


@pytest.mark.parametrize("settings", REFUSED, ids=str)
def test_what_the_operator_refuses_the_chart_refuses(refusal: Render, settings: Chosen) -> None:
    with pytest.raises(SettingsError):
        start(settings)
    first = camel(next(iter(settings)))
    said = refusal(values(settings))
    assert f"'/settings/{first}" in said or "): settings." in said


@pytest.mark.parametrize("settings", TAKEN, ids=str)
def test_what_the_operator_takes_the_chart_takes(render: Render, settings: Chosen) -> None:
    start(settings)
    data = render(values(settings)).one("ConfigMap", "hookline")["data"]
    assert {f"{PREFIX}{name.upper()}": text(value) for name, value in settings.items()}.items() <= data.items()


@pytest.mark.parametrize("written", [float, str], ids=["number", "text"])
@pytest.mark.parametrize("bound", ["least", "most"])
def test_every_bound_of_a_number_is_one_of_the_chart(refusal: Render, written: type, bound: str) -> None:
    """Each by itself, since a chart says only the first sentence."""
    beyond = {"least": -1, "most": 1}[bound]
    for name, item in Settings.__dataclass_fields__.items():
        limit = item.metadata[bound]
        if name in CHART_OWNED or limit is None or limit + beyond < 0:
            continue
        number = (limit + beyond) if written is float else str(limit + beyond)
        with pytest.raises(SettingsError):
            start({name: number})
        assert camel(name) in refusal(values({name: number}))


def without(path: Path) -> Any:
    """Values in which this key is null."""
    found: Any = None
    for name in reversed(path):
        found = {name: found}
    return found


def paths(keys: Sequence[Key], path: Path = ()) -> Iterator[tuple[Path, Key]]:
    for key in keys:
        yield (*path, key.name), key
        yield from paths(key.below, (*path, key.name))


KEYS = dict(paths(documented((CHART / "values.yaml").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_a_key_that_is_null_is_empty_or_refused_by_its_name(render: Render, refusal: Render, path: Path) -> None:
    """Helm takes such a key away, and so does an upgrade that reuses values from before there was the key."""
    key = KEYS[path]
    if key.below or (key.default and not key.hint.get("open")):
        assert f"missing property '{path[-1]}'" in refusal(without(path))
    else:
        everything = {"monitoring": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
        merged = merge(everything, without(path))
        assert render(merged)


def merge(one: Any, other: Any) -> Any:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return {name: merge(one.get(name), other[name]) if name in other else one[name] for name in {**one, **other}}


def test_a_probe_that_is_null_is_that_of_kubernetes(render: Render) -> None:
    assert render({"livenessProbe": None}).container["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": "metrics"}
    }
