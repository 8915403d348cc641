"""Builds the site: the generated pages first, then Sphinx, strictly: every warning is an error.

In: ``docs/``. Out: ``.run/docs``, a folder to be served by any web server; it asks nothing of any other host.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".run" / "docs"
_OPTIONS = ("--quiet", "--nitpicky", "--fail-on-warning", "--keep-going", "--builder=dirhtml", "--jobs=2")


def build(source: Path = ROOT / "docs", site: Path = SITE, *, anew: bool = False) -> str:
    """Build ``source`` into ``site``; returns what Sphinx complained of, empty when all is well."""
    command = [sys.executable, "-m", "sphinx", *_OPTIONS, f"--conf-dir={Path(__file__).parent}"]
    command += [f"--doctree-dir={site}.cache", *(["--fresh-env"] if anew else []), str(source), str(site)]
    paths = os.pathsep.join(str(ROOT / name) for name in ("hack", "operator"))
    environment = os.environ | {"PYTHONPATH": paths, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    told = (done.stdout + done.stderr).strip()
    return told if done.returncode == 0 or told else f"sphinx ended with {done.returncode}"
