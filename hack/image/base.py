"""Two base images from Debian's packages: one to build in, and of its packages those that Python needs to run.

In: apt sources of this machine. Out: two tar files. The second has no shell, no package manager and no other program
than Python, but says in ``/var/lib/dpkg/status.d`` what it holds, where scanners of images look for it.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from image.errors import ImageError
from image.tools import Tools

EPOCH = 0
"""The date of all files, so that a base is a matter of its packages alone."""
_ROOTS = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
_LEFT_OUT = frozenset({"dpkg", "debconf", "python3"})
"""Dependencies of packages' installation, not of their programs."""
_FURTHER = ("/etc/ssl/certs/ca-certificates.crt", "/usr/lib/os-release", "/etc/os-release", "/tmp")  # noqa: S108
_MERGED = ("/bin", "/lib", "/lib64", "/sbin")
_OWN = {
    "etc/nsswitch.conf": "hosts: files dns\n",
    "etc/passwd": "root:x:0:0::/root:/sbin/nologin\nhookline:x:65532:65532::/var/lib/hookline:/sbin/nologin\n",
    "etc/group": "root:x:0:\nhookline:x:65532:\n",
}
_UNUSED = ("doc", "man", "locale", "info", "lintian")
_COMPILE = 'chroot "$1" python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.[0-9]*'

Packages = Mapping[str, Mapping[str, str]]


def build(tools: Tools, directory: Path) -> tuple[Path, Path]:
    """Write ``build.tar`` and ``run.tar`` into ``directory``; takes a minute. Raises ImageError."""
    whole, part = directory / "build.tar", directory / "run.tar"
    sources = [
        path
        for path in map(Path, ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"))
        if path.is_file()
    ]
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)
    if not sources or release is None:
        raise ImageError("this machine has no apt sources of Debian to make a base image from: name one with --base")
    unused = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _UNUSED]
    tools(
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
        "--include=python3-minimal,python3-pip,libstdc++6,ca-certificates",
        *unused,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        f"--customize-hook={_COMPILE}",
        *(release[1], str(whole), str(sources[0])),
        environment={"SOURCE_DATE_EPOCH": str(EPOCH)},
    )
    with tarfile.open(whole) as source, tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as target:
        _select(source, target)
    return whole, part


def closure(packages: Packages) -> list[str]:
    """The roots and, of their dependencies, those that are installed and needed at run time; sorted."""
    found: set[str] = set()
    waiting = list(_ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found or name in _LEFT_OUT:
            continue
        found.add(name)
        told = packages[name]
        needs = ",".join(filter(None, (told.get("Depends"), told.get("Pre-Depends"))))
        for need in filter(None, needs.split(",")):
            choices = [choice.split()[0].partition(":")[0] for choice in need.split("|")]
            waiting += [choice for choice in choices if choice in packages][:1]
    return sorted(found)


def parse(status: str) -> dict[str, dict[str, str]]:
    """The stanzas of ``/var/lib/dpkg/status`` by the package's name; of a field with several lines only the first."""
    stanzas = [dict(re.findall(r"^(\S+): (.*)$", text, re.MULTILINE)) for text in status.split("\n\n") if text.strip()]
    return {stanza["Package"]: stanza for stanza in stanzas}


def _select(source: tarfile.TarFile, target: tarfile.TarFile) -> None:
    packages = parse(_text(source, "/var/lib/dpkg/status"))
    chosen = closure(packages)
    wanted = {*_FURTHER, *_MERGED, *(path for name in chosen for path in _files(source, name, packages[name]))}
    wanted |= {str(parent) for path in wanted for parent in PurePosixPath(path).parents}
    for member in source:
        path = PurePosixPath("/", member.name)
        compiled = (
            path.parent.name == "__pycache__" and str(path.parent.parent / f"{path.name.split('.')[0]}.py") in wanted
        )
        empty = path.name == "__pycache__" and str(path.parent) in wanted
        if str(path) in wanted or compiled or empty:
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
    own = _OWN | {f"var/lib/dpkg/status.d/{name}": _stanza(packages[name]) for name in chosen}
    for name, text in own.items():
        _add(target, name, text)


def _files(source: tarfile.TarFile, name: str, told: Mapping[str, str]) -> Iterator[str]:
    """What a package owns, as it is called where /lib is /usr/lib."""
    for spelling in (name, f"{name}:{told['Architecture']}"):
        try:
            listed = _text(source, f"/var/lib/dpkg/info/{spelling}.list")
        except KeyError:
            continue
        for path in listed.split("\n"):
            yield f"/usr{path}" if path.startswith(tuple(f"{top}/" for top in _MERGED)) else path


def _stanza(told: Mapping[str, str]) -> str:
    return "".join(f"{key}: {value}\n" for key, value in told.items())


def _text(source: tarfile.TarFile, path: str) -> str:
    file = source.extractfile(f".{path}")
    return file.read().decode() if file else ""


def _add(target: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(f"./{name}")
    member.size, member.mode, member.mtime = len(text.encode()), 0o644, EPOCH
    target.addfile(member, io.BytesIO(text.encode()))
