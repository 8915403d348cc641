"""Settings: flags before environment before defaults, and errors that name the setting."""

import re
from pathlib import Path

import pytest

from chart import ROOT
from hookline.errors import SettingsError
from hookline.settings import Settings


def test_a_flag_wins_over_the_environment_and_that_over_the_default():
    assert Settings.parse([], {}).data_dir == Path("data")
    assert Settings.parse([], {"HOOKLINE_DATA_DIR": "/env"}).data_dir == Path("/env")
    assert Settings.parse(["--data-dir", "/flag"], {"HOOKLINE_DATA_DIR": "/env"}).data_dir == Path("/flag")


def test_a_list_is_a_repeated_flag_or_commas():
    assert Settings.parse(["--allow-host", "a", "--allow-host", "b"], {}).allow_hosts == ("a", "b")
    assert Settings.parse([], {"HOOKLINE_ALLOW_HOSTS": "a, b"}).allow_hosts == ("a", "b")


def test_a_switch_is_a_flag_alone_or_says_true_or_false():
    assert Settings.parse([], {}).allow_secret_metadata is False
    assert Settings.parse(["--allow-secret-metadata"], {}).allow_secret_metadata is True
    assert Settings.parse(["--allow-secret-metadata", "--log-level", "debug"], {}).allow_secret_metadata is True
    assert Settings.parse([], {"HOOKLINE_ALLOW_SECRET_METADATA": "true"}).allow_secret_metadata is True
    environ = {"HOOKLINE_ALLOW_SECRET_METADATA": "true"}
    assert Settings.parse(["--allow-secret-metadata=false"], environ).allow_secret_metadata is False


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--allow-secret-metadata=1"], "allow-secret-metadata: must be true or false, not '1'"),
        (["--listen-port", "http"], "listen-port: must be a whole number"),
        (["--watch-idle-seconds", "nan"], "watch-idle-seconds: must be a finite number"),
        (["--shutdown-grace-seconds", "inf"], "shutdown-grace-seconds: must be a finite number"),
        (["--max-body-bytes", "1"], "max-body-bytes: must be at least 1024"),
        (["--allow-cidr", "10.0.0.1/8"], "allow_cidrs: '10.0.0.1/8'"),
        (["--log-level", "loud"], "log_level: must be debug, info, warning or error"),
        (["--ca-bundle", "/nowhere"], "ca_bundle: there is no file"),
        (["--api-tls-cert-file", "a"], "api_tls_cert_file, api_tls_key_file: give both, or none"),
        (["--api-host", "0.0.0.0"], "api_host: must be 127.0.0.1 or ::1 or localhost without a certificate"),
    ],
)
def test_a_malformed_setting_is_named(argv, sentence):
    with pytest.raises(SettingsError, match=sentence.replace("(", r"\(")):
        Settings.parse(argv, {})


def test_a_misspelt_variable_is_told_with_the_name_that_is_nearest():
    environ = {"HOOKLINE_ALOW_HOSTS": "a", "HOOKLINE_LISTENPORT": "1", "HOOKLINE_XYZ": "", "PATH": "", "OTHER_PORT": ""}
    assert list(Settings.unknown(environ)) == [
        ("HOOKLINE_ALOW_HOSTS", "HOOKLINE_ALLOW_HOSTS"),
        ("HOOKLINE_LISTENPORT", "HOOKLINE_LISTEN_PORT"),
        ("HOOKLINE_XYZ", ""),
    ]


def test_no_variable_is_told_that_somebody_of_ours_reads():
    names = {
        name
        for folder in ("operator", "tests", "hack")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__) and path.name != "test_not_ready.py"  # which misspell one
        for name in re.findall(r"[\"' `](HOOKLINE_[A-Z_]*[A-Z])[\"'=`]", path.read_text(encoding="utf-8"))
    }
    assert {"HOOKLINE_SERVER", "HOOKLINE_FAULTS", "HOOKLINE_DATA_DIR", "HOOKLINE_ENDPOINT"} <= names
    assert list(Settings.unknown(dict.fromkeys(names, ""))) == []


def test_variables_that_kubernetes_makes_for_services_are_not_told():
    made: dict[str, str] = {}
    for name, port in (("HOOKLINE", 8080), ("HOOKLINE_METRICS", 9090)):
        made |= {
            f"{name}_SERVICE_HOST": "10.0.0.1",
            f"{name}_SERVICE_PORT": str(port),
            f"{name}_SERVICE_PORT_HTTP": "1",
        }
        made |= {f"{name}_PORT": "tcp://10.0.0.1:1", f"{name}_PORT_{port}_TCP": "tcp://10.0.0.1:1"}
        made |= {f"{name}_PORT_{port}_TCP_{part}": "" for part in ("PROTO", "PORT", "ADDR")}
    assert list(Settings.unknown(made)) == []
    del made["HOOKLINE_METRICS_SERVICE_HOST"]  # the control: what is left is of no Service
    assert "HOOKLINE_METRICS_PORT" in dict(Settings.unknown(made))


def test_a_service_whose_variable_has_the_name_of_a_setting_does_not_break_the_start():
    made = {"HOOKLINE_API_SERVICE_HOST": "10.0.0.1", "HOOKLINE_API_PORT": "tcp://10.0.0.1:8443"}
    assert Settings.parse([], made).api_port == Settings().api_port
    assert list(Settings.unknown(made)) == []
    assert Settings.parse([], {**made, "HOOKLINE_API_PORT": "9443"}).api_port == 9443  # the pod's own, which wins
    with pytest.raises(SettingsError, match="api-port: must be a whole number"):  # the control: there is no Service
        Settings.parse([], {"HOOKLINE_API_PORT": "tcp://10.0.0.1:8443"})
