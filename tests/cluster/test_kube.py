"""The Kubernetes client against a real API server: who it is, whom it trusts, and what it makes of refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from controlplane import ControlPlane
from controlplane.access import LocalConnection
from hookline.errors import ApiError, Conflict, Forbidden, NotServed, ResourceGone, SettingsError
from hookline.kube import Access, KubeClient, load_access
from support.watching import Objects, Proxy, install


async def ask(access: Access) -> Any:
    """One small request with these credentials, which a right to read everything does not cover."""
    client = KubeClient(access)
    try:
        kind = "application/merge-patch+json"
        return await client.request("PATCH", "/api/v1/namespaces/default", body={}, content_type=kind)
    finally:
        await client.close()


async def service_account_token(client: KubeClient, namespace: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await client.request("POST", path, body={"metadata": {"name": "robot"}})
    answer = await client.request("POST", f"{path}/robot/token", body={"spec": {}})
    token: str = answer["status"]["token"]
    return token


def rewritten(control_plane: ControlPlane, target: Path, *, user: Any = None, **cluster: Any) -> str:
    """The control plane's kubeconfig with another user, or other words about the cluster."""
    config = yaml.safe_load(Path(control_plane.kubeconfig).read_text())
    if user is not None:
        config["users"][0]["user"] = user
    config["clusters"][0]["cluster"].update(cluster)
    target.write_text(json.dumps(config))
    return str(target)


async def test_each_refusal_is_its_own_error_with_the_words_of_the_api_server(
    client: KubeClient, namespace: str
) -> None:
    maps = Objects(client, namespace)
    await maps.create("a")
    with pytest.raises(Conflict, match='configmaps "a" already exists'):
        await maps.create("a")
    with pytest.raises(NotServed, match='configmaps "none" not found'):
        await maps.patch("none", data={})
    with pytest.raises(NotServed):
        await client.request("GET", "/apis/nothing.example.com/v1")
    with pytest.raises(ApiError) as refused:
        await maps.create("UPPER")
    assert refused.value.status == 422
    token = await service_account_token(client, namespace)
    robot = replace(
        client.access, certificate_path=None, private_key_path=None, authorization=lambda: f"Bearer {token}"
    )
    with pytest.raises(Forbidden) as forbidden:
        await ask(robot)
    assert forbidden.value.status == 403


async def test_a_list_of_a_state_that_is_forgotten_is_gone(
    client: KubeClient, control_plane: ControlPlane, namespace: str
) -> None:
    things = Objects(client, namespace, await install(client))  # the API server itself remembers nothing before that
    params = {"limit": "1", "resourceVersionMatch": "Exact", "resourceVersion": "2"}
    compact(control_plane, await things.create("a"))
    with pytest.raises(ResourceGone):
        await client.get_bytes(things.path, params=params)


def compact(control_plane: ControlPlane, latest: Any) -> None:
    """Make etcd forget what was before this object."""
    connection = LocalConnection(control_plane._layout.etcd_socket, timeout=10)
    connection.request("POST", "/v3/kv/compaction", json.dumps({"revision": latest["metadata"]["resourceVersion"]}))
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


async def test_a_message_is_bounded(client: KubeClient, namespace: str) -> None:
    with pytest.raises(ApiError) as refused:
        await Objects(client, namespace).create("x" * 5000)
    assert len(str(refused.value)) <= 310


async def test_a_server_with_another_authority_is_not_trusted(client: KubeClient, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    assert await ask(client.access)
    with pytest.raises(ApiError) as refused:
        await ask(replace(client.access, ca_path=str(other)))
    assert refused.value.status == 0
    assert "127.0.0.1" not in str(refused.value), "no address in a message"


async def test_a_kubeconfig_that_asks_not_to_verify_is_refused(control_plane: ControlPlane, tmp_path: Path) -> None:
    path = rewritten(control_plane, tmp_path / "config", **{"insecure-skip-tls-verify": True})
    with pytest.raises(SettingsError, match="insecure-skip-tls-verify"):
        load_access(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "apiVersion: v1\nkind: Config\n"])
def test_a_kubeconfig_that_is_none_is_a_setting_to_correct(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(SettingsError, match="kubeconfig"):
        load_access(str(path))


def test_an_absent_kubeconfig_is_a_setting_to_correct(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="kubeconfig"):
        load_access(str(tmp_path / "none"))


async def test_the_environment_names_the_kubeconfig_and_its_proxies_are_ignored(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    access = load_access(None)
    assert access.proxy is None
    assert (await ask(access))["metadata"]["name"] == "default"


async def test_a_rejected_token_is_read_again_at_the_next_request(client: KubeClient, namespace: str) -> None:
    token = await service_account_token(client, namespace)
    tokens = ["Bearer stale", f"Bearer {token}"]
    access = replace(client.access, certificate_path=None, private_key_path=None, authorization=lambda: tokens.pop(0))
    robot = KubeClient(access, clock=lambda: 0.0)
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    try:
        with pytest.raises(Forbidden, match="Unauthorized"):
            await robot.request("POST", path, body={})
        review = await robot.request("POST", path, body={})
        assert review["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"
        await robot.request("POST", path, body={})
        assert tokens == [], "a good token is not asked for at every request"
    finally:
        await robot.close()


async def test_a_credential_plugin_is_run_again_when_its_token_is_about_to_expire(
    client: KubeClient, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    token = await service_account_token(client, namespace)
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        f"""
import json, pathlib
count = pathlib.Path({str(tmp_path / "count")!r})
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
status = {{"token": "first" if number == 1 else {token!r}, "expirationTimestamp": "2000-01-01T00:00:00Z"}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""
    )
    exec_ = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(plugin)],
        "interactiveMode": "Never",
    }
    access = load_access(rewritten(control_plane, tmp_path / "config", user={"exec": exec_}))
    assert access.authorization() == f"Bearer {token}"
    with pytest.raises(Forbidden, match="robot"):
        await ask(access)


async def test_a_watch_hands_over_whole_lines_however_long(client: KubeClient, namespace: str) -> None:
    maps = Objects(client, namespace)
    params = {"watch": "1", "resourceVersion": "0", **field(maps)}
    async with client.stream(maps.path, params, 30.0) as batches:
        await maps.create("large", data={"key": "ä" * 400_000})
        lines = [line async for batch in until_lines(batches, 1) for line in batch]
    assert json.loads(lines[0])["object"]["data"]["key"] == "ä" * 400_000


async def test_a_watch_without_a_byte_for_too_long_is_an_error(client: KubeClient, namespace: str) -> None:
    maps = Objects(client, namespace)
    params = {"watch": "1", "resourceVersion": "0", **field(maps)}
    with pytest.raises(ApiError, match="no answer in time"):
        async with client.stream(maps.path, params, 0.2) as batches:
            _ = [batch async for batch in batches]


async def test_a_refused_watch_says_so(client: KubeClient) -> None:
    with pytest.raises(NotServed):
        async with client.stream("/apis/nothing.example.com/v1/things", {"watch": "1"}, 5.0):
            raise AssertionError("not reached")


async def test_the_rest_of_a_line_that_was_cut_is_dropped(client: KubeClient, namespace: str) -> None:
    maps = Objects(client, namespace)
    proxy = Proxy(client.access)
    lines: list[bytes] = []
    async with proxy.client() as through:
        params = {"watch": "1", "resourceVersion": "0", **field(maps)}
        async with through.stream(maps.path, params, 30.0) as batches:
            proxy.cut_at = b"in-the-middle"
            await maps.create("whole")
            async for batch in until_lines(batches, 1):  # a reset may discard what was not read yet
                lines += batch
            await maps.create("cut", data={"key": "in-the-middle"})
            with pytest.raises(ApiError):
                await collect(batches, lines)
    assert [json.loads(line)["object"]["metadata"]["name"] for line in lines] == ["whole"]


async def collect(batches: AsyncIterator[list[bytes]], lines: list[bytes]) -> None:
    """Append all lines until the stream ends."""
    async for batch in batches:
        lines += batch


def field(objects: Objects) -> dict[str, str]:
    return {"fieldSelector": objects.scope.field_selector}


async def until_lines(batches: AsyncIterator[list[bytes]], count: int) -> AsyncIterator[list[bytes]]:
    """The batches up to the one with the last of so many lines."""
    async for batch in batches:
        yield batch
        count -= len(batch)
        if count <= 0:
            return
