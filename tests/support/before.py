"""What takes minutes to build is built before the first test, where no test's timeout runs."""

from __future__ import annotations

import sys

import pytest

import helm


def wants(session: pytest.Session, fixture: str) -> bool:
    """Whether any test that will run uses this fixture."""
    return not session.config.option.collectonly and any(
        fixture in getattr(item, "fixturenames", ()) for item in session.items
    )


def build_helm(session: pytest.Session, fixture: str) -> None:
    """Build a missing helm when a test uses this fixture; ends the run when that can't be done."""
    if not wants(session, fixture):
        return
    if not helm.is_built():
        print("building helm, about two minutes …", file=sys.__stderr__)
    try:
        helm.provide()
    except helm.HelmError as error:
        pytest.exit(f"no helm for the tests: {error}", returncode=pytest.ExitCode.INTERNAL_ERROR)
