"""A Prometheus as a process of its own, that scrapes one target every second.

In: the program, a target, a file of rules. Out: a handle that asks its HTTP API.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from support.cluster import eventually

Series = tuple[dict[str, str], list[tuple[float, float]]]
JOB = "hookline"
NAMESPACE = "hookline-system"
"""That of the scraped pod, as the Prometheus operator labels it."""
START_SECONDS = 40.0
_LISTENING = re.compile(r'msg="Listening on" address=\S+:(\d+)')


class QueryError(AssertionError):
    """Prometheus did not understand; the message is what it said."""


class LivePrometheus:
    """Started at once, and ready. ``close`` ends it."""

    def __init__(self, program: Path, home: Path, port: int, rules: Path) -> None:
        home.mkdir()
        target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": NAMESPACE}}
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": JOB, "static_configs": [target]}],
        }
        (home / "prometheus.yml").write_text(json.dumps(config))
        self._log = home / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={home / 'prometheus.yml'}",
                    f"--storage.tsdb.path={home / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            self._port = eventually(self._find_port, "Prometheus names its port", START_SECONDS)
            eventually(self._scraped, "Prometheus has scraped twice", START_SECONDS)
        except BaseException:
            self.close()
            raise

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The series and values of an expression now. Raises QueryError."""
        found = self._get("query", query=expression)
        return [(item["metric"], float(item["value"][1])) for item in found["result"]]

    def history(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """The series of an expression between two Unix times: labels, pairs of time and value. Raises QueryError."""
        found = self._get("query_range", query=expression, start=str(start), end=str(end), step=str(step))
        return [(item["metric"], [(when, float(value)) for when, value in item["values"]]) for item in found["result"]]

    def alerts(self) -> list[dict[str, Any]]:
        """What fires or is about to: labels, annotations, state."""
        found: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return found

    def close(self) -> None:
        """Kill it: what it stored is not wanted any more."""
        self._process.kill()
        self._process.wait(30)

    def _find_port(self) -> int:
        text = self._log.read_text()
        assert self._process.poll() is None, f"Prometheus ended:\n{text[-3000:]}"
        found = _LISTENING.search(text)
        return int(found[1]) if found else 0

    def _scraped(self) -> bool:
        try:
            return any(value >= 2 for _, value in self.query(f'sum_over_time(up{{job="{JOB}"}}[1m])'))
        except (OSError, QueryError):
            return False

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise QueryError(f"{parameters}: {error.read().decode()}") from None
