"""A pytest plugin that records which test executes which line, and how long each test takes."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

# the folder for the results; set by tests.mutants.covering
RECORD = "MUTANTS_RECORD"


def pytest_configure(config: pytest.Config) -> None:
    if folder := os.environ.get(RECORD):
        config.pluginmanager.register(_Recorder(Path(folder)))


class _Recorder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outcomes: dict[str, dict[str, float | bool]] = {}
        rc = str(folder / "coveragerc")
        self._coverage = coverage.Coverage(config_file=rc)
        # programs that tests start read it too: coverage is imported by its .pth file
        os.environ["COVERAGE_PROCESS_START"] = rc
        self._coverage.start()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None]:
        self._coverage.switch_context(item.nodeid)
        yield
        self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = self._outcomes.setdefault(report.nodeid, {"seconds": 0.0, "passed": True})
        outcome["seconds"] += report.duration
        outcome["passed"] = bool(outcome["passed"]) and not report.failed

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        (self._folder / "outcomes.json").write_text(json.dumps(self._outcomes))
