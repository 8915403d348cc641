"""The image that is built, and the operator that runs in it (make image-test)."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from hookline import __version__
from image import build as images
from image.archive import Archive
from support.cluster import eventually
from support.containers import USER, ContainerOperator
from support.live import running

PYTHON = ["/opt/hookline/bin/python", "-c"]
CHILD = """
import asyncio
from hookline.expressions import child
from hookline.expressions.worker import Death, Worker
import marshal, sys

async def main():
    worker = await Worker.start(int(sys.argv[1]) << 20)
    ask = lambda text, data: worker.ask(marshal.dumps(
        (child.EVALUATE, 20.0, 1 << 20, [(marshal.dumps({"object": data}), [(text, False)])])), 60)
    print((await ask("object.a + 1", {"a": 1}))[child.ITEM.size:].decode(), flush=True)
    try:
        await ask("object.s.split('').map(x, object.s + object.s)", {"s": "x" * 9000})
        print("survived")
    except Death as death:
        print(death.cause)
    await worker.end()

asyncio.run(main())
"""


def test_two_builds_of_the_same_sources_are_the_same_image(builder, source, built, tmp_path):
    again = images.build(builder, source, tmp_path)
    assert again.digest == Archive(built).digest
    other = images.build(builder, images.Source(source.tree, source.epoch, "another"), tmp_path)
    assert other.digest != again.digest, "the control: what differs is seen"


def test_it_says_who_runs_what(archive):
    told = archive.configuration["config"]
    assert (told["User"], told["Entrypoint"]) == ("65532:65532", ["hookline"])
    assert told["Labels"]["org.opencontainers.image.version"] == __version__
    assert told["Labels"]["org.opencontainers.image.revision"] == "tested"


def test_it_holds_no_shell_no_setuid_program_and_nothing_that_its_user_may_change_but_its_data(root):
    programs = {path.name for path in (root / "usr" / "bin").iterdir()}
    assert not programs & {"sh", "bash", "dash", "dpkg", "apt-get", "pip", "pip3", "perl"}
    changeable, privileged = set(), set()
    for directory, names, files in os.walk(root):
        for path in (Path(directory, name) for name in (*names, *files)):
            told = path.lstat()
            if not stat.S_ISLNK(told.st_mode) and (told.st_uid == USER or told.st_mode & 0o002):
                changeable.add(str(path.relative_to(root)))
            if stat.S_ISREG(told.st_mode) and told.st_mode & (stat.S_ISUID | stat.S_ISGID):
                privileged.add(str(path))
    assert (changeable, privileged) == ({"tmp", "var/lib/hookline"}, set())


def test_its_bill_of_materials_names_every_package_of_the_lock_that_is_installed(root):
    bill = json.loads((root / images.SBOM).read_text())
    packages = {item["purl"] for item in bill["components"] if item["type"] == "library"}
    site = next((root / "opt" / "hookline" / "lib").glob("python3.*")) / "site-packages"
    installed = {path.name.removesuffix(".dist-info").lower().replace("_", "-") for path in site.glob("*.dist-info")}
    assert {purl.removeprefix("pkg:pypi/").replace("@", "-") for purl in packages} == installed - {
        f"hookline-{__version__}"
    }


def test_it_prints_its_version(container):
    done = container("version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n"), done.stderr


def test_its_root_cannot_be_written_but_tmp_and_the_data_can(container):
    code = "import sys; open(sys.argv[1], 'w').close()"
    for directory in ("/opt/hookline", "/", "/usr/lib"):
        done = container(code, f"{directory}/x", entrypoint=PYTHON)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
    for directory in ("/tmp", "/var/lib/hookline"):
        assert container(code, f"{directory}/x", entrypoint=PYTHON).returncode == 0


@pytest.mark.parametrize(("prefix", "compiled"), [("None", False), ("'/tmp'", True)], ids=["as it is", "control"])
def test_no_module_is_compiled_again_at_each_start(container, prefix, compiled):
    """In Python's own words; the control looks for compiled files where none are."""
    code = f"import sys; sys.pycache_prefix = {prefix}; import hookline.app, kopf, kubernetes.client"
    words = container(code, entrypoint=["/opt/hookline/bin/python", "-v", "-c"]).stderr
    assert "import 'hookline.app'" in words
    assert bool(re.search(r"^# code object from /\S+\.py$", words, re.MULTILINE)) is compiled


@pytest.mark.parametrize(("mebibytes", "end"), [("64", "memory"), ("2048", "survived")], ids=["limited", "control"])
def test_an_expression_is_evaluated_by_a_child_and_one_that_takes_too_much_memory_ends_it(container, mebibytes, end):
    done = container(CHILD, mebibytes, entrypoint=PYTHON)
    assert done.stdout.split() == ["2", end], done.stderr


@pytest.mark.usefixtures("crds")
def test_the_operator_in_it_delivers_what_a_filter_lets_through(
    container, control_plane, receiver, subscriptions, config_map, namespace, tmp_path
):
    operator = ContainerOperator(container, control_plane, tmp_path / "home", receiver.ca_pem, "--namespace", namespace)
    with running(operator):
        subscriptions.ready(filter={"expression": "object.data.a == '2'"})
        config_map("web", a="1")
        config_map("web", a="2")
        eventually(lambda: receiver.requests, "a request")
        assert [body["data"]["object"]["data"] for body in receiver.bodies] == [{"a": "2"}]
        assert operator.stop() == 0
