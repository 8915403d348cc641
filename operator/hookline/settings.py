"""Everything that an administrator can configure, parsed once, from flags and environment, and frozen.

Each field is a flag of ``hookline run`` (``--data-dir``) and an environment variable (``HOOKLINE_DATA_DIR``).
A flag wins. A list is a repeated flag in the singular (``--allow-host a``), or ``HOOKLINE_ALLOW_HOSTS=a,b``. A switch
is a flag alone, or ``true`` or ``false``.
"""

from __future__ import annotations

import argparse
import difflib
import ipaddress
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from hookline.errors import SettingsError

PREFIX = "HOOKLINE_"
OTHERS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("SERVER", "SERVER_CA", "OPERATOR_NAMESPACE"),  # the command line, beside a cluster
        *("ENDPOINT", "ID", "TIMESTAMP"),  # what scripts of `hookline receive` get
        *("FAULTS", "SEED", "CORPORA", "NODE", "IMAGE", "GOLDEN", "TEST_SECRET"),  # the tests
    )
)
"""Variables of ours that are no settings."""

_SERVICE_VARIABLE = re.compile(
    r"(?P<service>\w+?)_(?P<rest>SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MAX_KEY_OVERLAP = 7 * 86_400
_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_PROXY = rf"http://([^\[\]/@:?#\s]+|\[[0-9A-Fa-f:.]+\]):{_PORT}/?"
_RANGE = r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?"
_SWITCH: dict[str, Any] = {"nargs": "?", "const": "true"}


def _setting(
    default: Any, text: str, *, least: float | None = None, most: float | None = None, pattern: str | None = None
) -> Any:
    """Declare one setting: its default, its help text, its bounds, and the form of a text, or of each of several.

    The chart refuses by these what the operator would refuse at its start (hack/chart.py).
    """
    return field(default=default, metadata={"help": text, "least": least, "most": most, "pattern": pattern})


@dataclass(frozen=True, slots=True)
class Settings:
    """The administrator's choices. Construct with keywords in tests, with ``parse`` everywhere else."""

    data_dir: Path = _setting(Path("data"), "directory of the outbox; must be on a durable local volume")
    kubeconfig: str = _setting("", "kubeconfig file; empty: KUBECONFIG, then the pod's own service account")
    namespaces: tuple[str, ...] = _setting((), "serve subscriptions of these namespaces only; empty: all")
    cluster_name: str = _setting(
        "", "name of this cluster: the first part of every event's source, and who asks in a webhook handshake"
    )
    listen_host: str = _setting("0.0.0.0", "address of /metrics, /healthz and /readyz")  # noqa: S104 (inside a pod)
    listen_port: int = _setting(8080, "port of /metrics, /healthz and /readyz; 0 takes a free one", least=0)
    api_host: str = _setting(
        "", "address of the API for deliveries; empty: 0.0.0.0 with a certificate, 127.0.0.1 without, the only one then"
    )
    api_port: int = _setting(8443, "port of the API for deliveries; 0: none", least=0)
    api_tls_cert_file: str = _setting(
        "", "PEM file with the certificate of the API for deliveries, read anew when it changes; empty: no TLS"
    )
    api_tls_key_file: str = _setting("", "PEM file with the key of that certificate")
    api_max_body_bytes: int = _setting(
        2 * 1024 * 1024, "how much of a message's body the API for deliveries shows", least=0
    )
    ca_bundle: str = _setting("", "PEM file with certificate authorities that receivers may use beside the system's")
    allow_cidrs: tuple[str, ...] = _setting(
        (), "address range that deliveries may reach though special", pattern=_RANGE
    )
    allow_hosts: tuple[str, ...] = _setting((), "host that deliveries may reach whatever it resolves to")
    allow_http_hosts: tuple[str, ...] = _setting((), "host that may be called by plain http")
    allow_secret_metadata: bool = _setting(
        False,
        "let subscriptions watch the metadata of Secrets, never their data; the operator needs the right to list and "
        "watch them",
    )
    allow_service_account_tokens: bool = _setting(
        False,
        "let subscriptions send tokens of their ServiceAccounts (serviceAccountToken); the operator needs the right to "
        "make tokens of every ServiceAccount in the namespaces that it serves",
    )
    refuse_cidrs: tuple[str, ...] = _setting(
        (), "further range to refuse, beside those that the cluster tells", pattern=_RANGE
    )
    egress_proxy: str = _setting(
        "", "http://host:port of a proxy that every delivery must go through, by CONNECT", pattern=_PROXY
    )
    egress_proxy_connect: str = _setting(
        "address",
        "what the proxy is asked for: address, looked up and vetted here; or name, which the proxy looks up, so that "
        "it alone can refuse internal addresses",
    )
    egress_proxy_credentials_file: str = _setting("", "file that holds user:password for the egress proxy")
    outbox_key_file: str = _setting(
        "", "file of keys that seal bodies and last-seen objects in the outbox (docs/signing.md); empty: they are clear"
    )
    key_overlap_seconds: int = _setting(
        86_400,
        "how long the old and the new key both sign after a rotation, up to 604800 (7 days)",
        least=0,
        most=MAX_KEY_OVERLAP,
    )
    max_body_bytes: int = _setting(2 * 1024 * 1024, "largest body; larger events are dropped and counted", least=1024)
    delivered_retention_seconds: int = _setting(3600, "how long delivered messages are kept", least=0)
    delivered_retention_bytes: int = _setting(
        256 * 1024 * 1024, "room for delivered messages, all subscriptions together; the oldest go first", least=0
    )
    dead_retention_seconds: int = _setting(7 * 86400, "how long dead letters are kept", least=0)
    dead_retention_bytes: int = _setting(
        1024 * 1024 * 1024, "room for dead letters, all subscriptions together; the oldest go first", least=0
    )
    max_pending_per_subscription: int = _setting(
        100_000, "messages that may wait for one endpoint; what comes then is dropped and counted", least=1
    )
    max_pending_bytes_per_subscription: int = _setting(
        256 * 1024 * 1024, "bytes that may wait for one endpoint; what comes then is dropped and counted", least=1024
    )
    max_subscriptions_per_namespace: int = _setting(
        1000, "subscriptions of a namespace that are served, the oldest; 0: any number", least=0
    )
    max_informers_per_namespace: int = _setting(
        100,
        "different watches (kind, namespace, field selector; of each ServiceAccount) that the subscriptions of a "
        "namespace may need together, the oldest first; 0: any number",
        least=0,
    )
    max_pending_bytes_per_namespace: int = _setting(
        1024 * 1024 * 1024,
        "bytes that may wait for all endpoints of a namespace together; what comes then is dropped and counted; 0: any "
        "number",
        least=0,
    )
    max_rate_per_namespace: int = _setting(
        5000,
        "delivery attempts per second of all subscriptions of a namespace together; others wait; 0: any number",
        least=0,
    )
    expression_limit_milliseconds: float = _setting(
        100.0,
        "processor time that an expression may take for one object; then it is cut off and counts as failed, and after "
        "5 such within 10 minutes it is not evaluated any more until its subscription's spec changes",
        least=1.0,
    )
    max_expression_share_per_namespace: float = _setting(
        0.25,
        "share of one core that all expressions of a namespace may take together, 5 s of processor time in advance; "
        "beyond it they wait, 30 s at most, or fail where other namespaces share the watch; the dearest are not "
        "evaluated any more until their subscription's spec changes; 0: any",
        least=0.0,
    )
    expression_memory_bytes: int = _setting(
        512 * 1024 * 1024,
        "memory that the process may take that evaluates expressions; one that needs more is treated like one that "
        "takes too long",
        least=16 * 1024 * 1024,
    )
    secret_poll_seconds: float = _setting(10.0, "how often referenced Secrets are looked at", least=0.1)
    resolve_retry_seconds: float = _setting(5.0, "how often an unserved kind is looked for again", least=0.1)
    access_reviews_per_second: int = _setting(
        300,
        "how many SubjectAccessReviews may be made in a second; each source of each ServiceAccount takes three every "
        "7 seconds, however many subscriptions share them, and where they can't be had in 15 s messages wait",
        least=1,
    )
    status_interval_seconds: float = _setting(2.0, "least time between two patches of one status", least=0.1)
    shutdown_grace_seconds: float = _setting(
        15.0,
        "time that attempts in flight get at shutdown, which takes 10 seconds more at worst, and 17 at least",
        least=0.0,
    )
    watch_idle_seconds: float = _setting(
        70.0,
        "a watch without any byte for so long is opened anew; API servers send one about every minute, so less than "
        "60 opens quiet watches over and over; the alert HooklineWatchStale's threshold is to be twice as much",
        least=1.0,
    )
    audit_seconds: float = _setting(1800.0, "how often each watch is compared with a list; 0: never", least=0.0)
    lease_name: str = _setting("hookline", "name of the Lease that elects one of several operators; empty: no election")
    lease_namespace: str = _setting("", "namespace of the Lease; empty: the pod's own; outside a cluster: no election")
    lease_duration_seconds: float = _setting(15.0, "a leader that is silent for so long is replaced", least=1.0)
    lease_renew_deadline_seconds: float = _setting(10.0, "a leader that can't renew for so long stops", least=0.5)
    lease_retry_seconds: float = _setting(2.0, "how often the Lease is renewed or looked at", least=0.1)
    subscription_metrics: int = _setting(
        0,
        "how many subscriptions get series of their own in /metrics, by namespace and name, those first known; all "
        "others share one; each takes 12 series, and one for each reason of its failures; 0: none",
        least=0,
    )
    log_level: str = _setting("info", "debug, info, warning or error")
    log_format: str = _setting("auto", "json, text, or auto, which is text on a terminal and json elsewhere")
    tracing: bool = _setting(
        False,
        "export traces by OTLP over HTTP, as the standard variables OTEL_* say, and send traceparent on; needs "
        "hookline[otel]",
    )

    @classmethod
    def parse(cls, argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
        """Read flags, then environment, then defaults. Raises SettingsError naming the setting and its right form."""
        parser = argparse.ArgumentParser(prog="hookline run", allow_abbrev=False)
        cls.declare(parser)
        return cls.chosen(parser.parse_args(list(argv)), environ)

    @classmethod
    def declare(cls, parser: argparse.ArgumentParser) -> None:
        """Add a flag for each setting; what was not given is None in the parsed options."""
        parser.description = "Run the operator."
        for item in fields(cls):
            text = f"{item.metadata['help']} (default: {_show(item.default)}; env: {_variable(item)})"
            parser.add_argument(
                f"--{_flag(item)}",
                dest=item.name,
                default=None,
                action="append" if isinstance(item.default, tuple) else "store",
                metavar="true|false" if isinstance(item.default, bool) else _flag(item).rpartition("-")[2].upper(),
                help=text.replace("%", "%%"),
                **_SWITCH if isinstance(item.default, bool) else {},
            )

    @classmethod
    def chosen(cls, options: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
        """From what a parser with these flags read, and the environment. Raises SettingsError."""
        flags = vars(options)
        values: dict[str, Any] = {}
        for item in fields(cls):
            raw = flags[item.name]
            if raw is None and not _is_of_service(_variable(item), environ):
                raw = environ.get(_variable(item))
            if raw is not None:
                values[item.name] = _convert(item, raw)
        settings = cls(**values)
        settings.validate()
        return settings

    @classmethod
    def unknown(cls, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Variables that look like a setting and are none, each with the nearest name of one, or an empty string.

        Not those that Kubernetes makes for each Service of a pod's namespace, of which one may be called ``hookline``.
        """
        known = {item.name.upper() for item in fields(cls)}
        for name in sorted(environ.keys() - OTHERS):
            own = name.removeprefix(PREFIX)
            if name.startswith(PREFIX) and own not in known and not _is_of_service(name, environ):
                yield name, "".join(PREFIX + nearest for nearest in difflib.get_close_matches(own, known, 1))

    def validate(self) -> None:
        """Check what types can't. Raises SettingsError."""
        for name in ("allow_cidrs", "refuse_cidrs"):
            for cidr in getattr(self, name):
                try:
                    ipaddress.ip_network(cidr)
                except ValueError as error:
                    raise SettingsError(
                        f"{name}: {cidr!r} is no address range: {error}; write e.g. 10.0.0.0/8"
                    ) from None
        if not self.lease_retry_seconds < self.lease_renew_deadline_seconds < self.lease_duration_seconds:
            raise SettingsError(
                "lease_renew_deadline_seconds: must lie between lease_retry_seconds and lease_duration_seconds"
            )
        if self.key_overlap_seconds > MAX_KEY_OVERLAP:
            raise SettingsError(f"key_overlap_seconds: must be at most {MAX_KEY_OVERLAP}, which are 7 days")
        if bool(self.api_tls_cert_file) != bool(self.api_tls_key_file):
            raise SettingsError("api_tls_cert_file, api_tls_key_file: give both, or none")
        if not self.api_tls_cert_file and self.api_host not in ("", *LOOPBACK):
            raise SettingsError(
                f"api_host: must be {' or '.join(LOOPBACK)} without a certificate, because tokens and bodies would be "
                "in clear; set api_tls_cert_file and api_tls_key_file"
            )
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"log_level: must be debug, info, warning or error, not {self.log_level!r}")
        if self.log_format not in ("auto", "json", "text"):
            raise SettingsError(f"log_format: must be auto, json or text, not {self.log_format!r}")
        if self.ca_bundle and not Path(self.ca_bundle).is_file():
            raise SettingsError(f"ca_bundle: there is no file {self.ca_bundle!r}; write the path of a PEM file")


def _flag(item: Field[Any]) -> str:
    name = item.name.replace("_", "-")
    return name.removesuffix("s") if isinstance(item.default, tuple) else name


def _variable(item: Field[Any]) -> str:
    return PREFIX + item.name.upper()


def _is_of_service(name: str, environ: Mapping[str, str]) -> bool:
    """Whether Kubernetes made this variable for a Service.

    That of one called ``hookline-api`` has the name of a setting, HOOKLINE_API_PORT, and an address as its value.
    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    made = _SERVICE_VARIABLE.fullmatch(name)
    if made is None or f"{made['service']}_SERVICE_HOST" not in environ:
        return False
    return made["rest"] != "PORT" or "://" in environ.get(name, "")


def _show(default: Any) -> str:
    if isinstance(default, tuple):
        return "none" if not default else ",".join(default)
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


def _convert(item: Field[Any], raw: str | list[str]) -> Any:
    default = item.default
    if isinstance(default, tuple):
        parts = raw.split(",") if isinstance(raw, str) else raw
        return tuple(part.strip() for part in parts if part.strip())
    text = raw if isinstance(raw, str) else raw[-1]
    if isinstance(default, Path):
        return Path(text)
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise SettingsError(f"{_flag(item)}: must be true or false, not {text!r}")
        return text == "true"
    if isinstance(default, (int, float)):
        try:
            number = type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise SettingsError(f"{_flag(item)}: must be {kind}, not {text!r}") from None
        if not math.isfinite(number):
            raise SettingsError(f"{_flag(item)}: must be a finite number, not {text!r}")
        least = item.metadata["least"]
        if least is not None and number < least:
            raise SettingsError(f"{_flag(item)}: must be at least {least}, not {text}")
        return number
    return text
