"""The Dockerfile as a text: it agrees with the locks, the chart and the project, and needs no shell at run time."""

import re
import tomllib
from pathlib import Path

import yaml

from hookline.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "hookline"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FIRST, LAST = re.split(r"^FROM \$\{BASE\}$", DOCKERFILE, flags=re.MULTILINE)


def pins(name):
    """Name, version and hashes of each line of a lock."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name_of(line): (found(r"==(\S+)", line)[1], frozenset(re.findall(r"--hash=(\S+)", line))) for line in lines}


def found(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text)
    assert match, f"{pattern} in {text}"
    return match


def name_of(requirement: str) -> str:
    return found(r"^[\w.-]+", requirement)[0].lower()


def names(requirements):
    return {name_of(text) for text in requirements}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_locks_of_the_image_are_parts_of_the_one_lock_with_the_same_versions_and_hashes():
    whole = pins("requirements.lock")
    for lock in ("requirements-run.lock", "requirements-build.lock"):
        part = pins(lock)
        assert part
        assert {name: pin for name, pin in part.items() if whole.get(name) != pin} == {}, f"run: make lock ({lock})"
        assert all(hashes for _, hashes in part.values())


def test_they_hold_what_the_project_needs_to_run_and_to_be_built_and_no_tool_of_developers():
    told = project()
    run = pins("requirements-run.lock").keys()
    assert names(told["project"]["dependencies"]) <= run
    for extra in ("otel", "postgres"):
        assert names(told["project"]["optional-dependencies"][extra]) <= run
    assert names(told["build-system"]["requires"]) <= pins("requirements-build.lock").keys()
    assert not run & {"pytest", "mypy", "ruff", "hatchling", "trustme", "pip"}


def test_every_install_from_an_index_asks_for_hashes_and_for_wheels():
    installs = [text for text in re.split(r"&&|^RUN", FIRST, flags=re.MULTILINE) if " install " in text]
    assert len(installs) == 3
    for install in installs:
        assert "--no-index" in install or ("--require-hashes" in install and "--only-binary :all:" in install)


def test_the_last_stage_runs_nothing_and_its_entry_point_needs_no_shell():
    assert not re.search(r"^\s*(RUN|CMD|SHELL|ADD)\b", LAST, re.MULTILINE)
    assert re.findall(r"^ENTRYPOINT (.*)$", LAST, re.MULTILINE) == ['["hookline"]']
    assert "hookline" in project()["project"]["scripts"]


def test_its_user_and_its_directory_are_those_of_the_chart():
    security = yaml.safe_load((CHART / "values.yaml").read_text())["podSecurityContext"]
    user = f"{security['runAsUser']}:{security['runAsGroup']}"
    assert re.findall(r"^USER (.*)$", LAST, re.MULTILINE) == [user]
    mount = found(r"name: outbox\n\s+mountPath: (\S+)", (CHART / "templates" / "deployment.yaml").read_text())[1]
    assert f"COPY --from=build --chown={user} /data {mount}\n" in LAST
    environment = dict(re.findall(r"(HOOKLINE_\w+)=(\S+)", LAST))
    assert str(Settings.parse([], environment).data_dir) == mount


def test_the_context_holds_what_is_copied_and_nothing_else():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")} - {
        "hack",
        "hack/image",
    }
    copied = {name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", FIRST, re.MULTILINE) for name in line.split()}
    assert kept == copied


def test_the_labels_say_what_the_project_says():
    assert f'licenses="{project()["project"]["license"]}"' in LAST
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", LAST)) >= {"title", "version", "revision", "licenses"}
