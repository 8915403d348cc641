"""``python sbom.py REPORT``: the bill of materials of the interpreter that runs it, as CycloneDX 1.6.

In: the report of ``pip install --report``, and the packages installed beside this interpreter. Out: JSON on standard
output, the same for the same packages. It runs in the first stage of the Dockerfile, where nothing but Python is.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

PRODUCT = "hookline"


def bill(installed: list[Distribution], report: dict[str, Any]) -> dict[str, Any]:
    """The bill of these distributions; ``report`` is pip's, and knows the hash of each wheel.

    Raises ValueError for one that came from no wheel that the report names.
    """
    hashes = {
        _name(item["metadata"]["name"]): item["download_info"]["archive_info"]["hashes"]["sha256"]
        for item in report["install"]
    }
    known = {_name(item.name): item for item in installed}
    components = [_component(item, hashes) for name, item in sorted(known.items()) if name != PRODUCT]
    product = known[PRODUCT]
    python = f"pkg:generic/python@{platform.python_version()}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", **_described(product)}},
        "components": [
            {
                "type": "platform",
                "bom-ref": python,
                "name": "python",
                "version": platform.python_version(),
                "purl": python,
            },
            *components,
        ],
        "dependencies": [_dependencies(item, known) for _, item in sorted(known.items())],
    }


def _component(item: Distribution, hashes: dict[str, str]) -> dict[str, Any]:
    if _name(item.name) not in hashes:
        raise ValueError(f"{item.name} {item.version} is installed, but pip's report does not name it")
    return {
        "type": "library",
        **_described(item),
        "hashes": [{"alg": "SHA-256", "content": hashes[_name(item.name)]}],
    }


def _described(item: Distribution) -> dict[str, Any]:
    told = {"bom-ref": _purl(item), "name": item.name, "version": item.version, "purl": _purl(item)}
    license_ = item.metadata.json.get("license_expression")  # the only field whose content is SPDX (PEP 639)
    return told | ({"licenses": [{"expression": license_}]} if license_ else {})


def _dependencies(item: Distribution, known: dict[str, Distribution]) -> dict[str, Any]:
    """What an item names, with markers or without, and what is really there."""
    named = {_name(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]) for text in item.requires or ()}
    return {"ref": _purl(item), "dependsOn": [_purl(known[name]) for name in sorted(named & known.keys())]}


def _purl(item: Distribution) -> str:
    return f"pkg:pypi/{_name(item.name)}@{item.version}"


def _name(name: str) -> str:
    """As PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    json.dump(
        bill(list(distributions(path=[p for p in sys.path if p.endswith("site-packages")])), told), sys.stdout, indent=1
    )
