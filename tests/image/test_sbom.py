"""The bill of materials, of the packages of this interpreter."""

from importlib.metadata import distribution

import pytest

from image import sbom

INSTALLED = [distribution(name) for name in ("hookline", "httpx", "idna", "PyYAML")]


def report(*names):
    hashes = {"download_info": {"archive_info": {"hashes": {"sha256": "0" * 64}}}}
    return {"install": [{"metadata": {"name": name}} | hashes for name in names]}


def test_each_package_has_its_address_its_hash_and_what_it_needs():
    bill = sbom.bill(INSTALLED, report("httpx", "idna", "pyyaml"))
    assert bill["metadata"]["component"]["name"] == "hookline"
    python, *libraries = bill["components"]
    assert python["name"] == "python"
    assert [item["purl"].partition("@")[0] for item in libraries] == [
        "pkg:pypi/httpx",
        "pkg:pypi/idna",
        "pkg:pypi/pyyaml",
    ]
    assert libraries[0]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    needs = {item["ref"].partition("@")[0]: item["dependsOn"] for item in bill["dependencies"]}
    assert [name.partition("@")[0] for name in needs["pkg:pypi/httpx"]] == ["pkg:pypi/idna"]
    assert {"pkg:pypi/httpx", "pkg:pypi/pyyaml"} <= {name.partition("@")[0] for name in needs["pkg:pypi/hookline"]}


def test_a_package_that_no_lock_brought_is_refused():
    with pytest.raises(ValueError, match=r"idna .* is installed, but pip's report does not name it"):
        sbom.bill(INSTALLED, report("httpx", "pyyaml"))
