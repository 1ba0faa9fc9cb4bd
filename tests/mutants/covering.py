"""Which tests cover a line: measured once, then kept outside the repository.

The record of a test file holds until the file itself, or a Python file that its tests executed,
changes; or any other file of the tests, because nobody knows who reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import coverage
import pytest

from tests.mutants.operators import Fault
from tests.mutants.recorder import RECORD

_VERSION = 1
_COVERAGE_RC = """\
[run]
source = {root}
omit = {root}/tests/data/*
data_file = {folder}/coverage
parallel = true
# set by pytest, and inherited by the programs that a test starts
context = ${{PYTEST_CURRENT_TEST-}}
"""
_PHASE = re.compile(r" \((setup|call|teardown)\)$")


@dataclass
class FileRecord:
    """What the tests of a test file executed."""

    depends_on: dict[str, str] = field(default_factory=dict)  # path → hash
    seconds: dict[str, float] = field(default_factory=dict)  # test → duration
    failed: list[str] = field(default_factory=list)  # without any fault: useless here
    # path → line → tests; line 0: some line of the file
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class CoveringTests:
    """The tests by the lines that they execute."""

    records: Mapping[str, FileRecord]

    def find(self, path: str, fault: Fault, importers: Iterable[str] = ()) -> list[str]:
        """Return the tests that notice a fault if any does: those nearest to it, then the fastest.

        No test executes the lines that run at import: they are covered by the tests that execute
        anything of the file, or, if it has only constants, of the files that import it.
        """
        found = self._list_tests(path, range(fault.line, fault.last_line + 1))
        for file in (path, *importers) if fault.at_import else ():
            found.update(self._list_tests(file, [0]))
            if found and file == path:
                break
        return sorted(found, key=lambda test: (not _is_near(path, test), found[test], test))

    def sum_seconds(self, tests: Iterable[str]) -> float:
        """Return what tests take without a fault."""
        return sum(self.records[test.partition("::")[0]].seconds[test] for test in tests)

    def list_failed(self) -> list[str]:
        """Return the tests that fail without a fault."""
        return sorted(test for record in self.records.values() for test in record.failed)

    def _list_tests(self, path: str, lines: Iterable[int]) -> dict[str, float]:
        return {
            test: record.seconds.get(test, 0.0)
            for record in self.records.values()
            for line in lines
            for test in record.lines.get(path, {}).get(str(line), ())
            if test not in record.failed
        }


def _is_near(path: str, test: str) -> bool:
    """Say whether a test file is the one of a module, by its place and name."""
    module = Path(path)
    return test.startswith(f"tests/unit/{module.parent}/test_{module.stem}.py")


def find_importers(path: str, sources: Mapping[str, str]) -> list[str]:
    """Return the files that name a module after `import` or `from`."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package, _, name = module.rpartition(".")
    pattern = re.compile(
        rf"^\s*(from {re.escape(module)} import|import {re.escape(module)}\b"
        rf"|from {re.escape(package)} import .*\b{name}\b)",
        re.MULTILINE,
    )
    return [file for file, source in sources.items() if pattern.search(source)]


def hash_file(path: Path) -> str:
    """Return the hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def record_covering_tests(
    root: Path, files: list[str], tests: list[str], cache: Path
) -> CoveringTests:
    """Return the covering tests of a copy of the repository; run those whose record is outdated."""
    hashes = {name: hash_file(root / name) for name in files}
    others = "".join(
        f"{name}{value}"
        for name, value in sorted(hashes.items())
        if name.startswith("tests/") and not name.endswith(".py")
    )
    other_hash = hashlib.sha256(f"{_VERSION}{others}".encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    records, outdated = dict[str, FileRecord](), list[str]()
    for name in files:
        if not (Path(name).match("test_*.py") and _is_below(name, tests)):
            continue
        stored = cache / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
        record = _read_record(stored, other_hash)
        if record and all(hashes.get(path) == value for path, value in record.depends_on.items()):
            records[name] = record
        else:
            outdated.append(name)
    if outdated:
        print(f"measuring what the tests of {len(outdated)} files execute", file=sys.stderr)
        for name, record in _measure(root, outdated, hashes).items():
            records[name] = record
            stored = cache / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
            stored.write_text(json.dumps({"others": other_hash, **asdict(record)}))
    return CoveringTests(records)


def _is_below(name: str, folders: list[str]) -> bool:
    return any(Path(name).is_relative_to(folder) for folder in folders)


def _read_record(path: Path, other_hash: str) -> FileRecord | None:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return FileRecord(**content) if content.pop("others") == other_hash else None


def _measure(root: Path, test_files: list[str], hashes: Mapping[str, str]) -> dict[str, FileRecord]:
    folder = root / ".mutants"
    folder.mkdir(exist_ok=True)
    rc = folder / "coveragerc"
    rc.write_text(_COVERAGE_RC.format(root=root, folder=folder))
    environment = {**os.environ, "PYTHONPATH": str(root), RECORD: str(folder)}
    environment.pop("PYTEST_CURRENT_TEST", None)  # in a test of this module
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=short",
         "--rootdir", str(root), "-p", "tests.mutants.recorder", *test_files],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )  # fmt: skip
    if result.returncode not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        raise click.ClickException(f"the tests do not run:\n{result.stdout[-2000:]}")
    data = coverage.Coverage(config_file=str(rc))
    data.combine(keep=False)
    outcomes = json.loads((folder / "outcomes.json").read_text())
    return _split(data.get_data(), outcomes, root, test_files, hashes)


def _split(
    data: coverage.CoverageData,
    outcomes: Mapping[str, Mapping[str, float]],
    root: Path,
    test_files: list[str],
    hashes: Mapping[str, str],
) -> dict[str, FileRecord]:
    """Return what was measured, by test file."""
    records = {
        name: FileRecord(
            {path: hashes[path] for path in (name, "tests/conftest.py") if path in hashes}
        )
        for name in test_files
    }
    for test, outcome in outcomes.items():
        record = records[test.partition("::")[0]]
        record.seconds[test] = round(outcome["seconds"], 3)
        if not outcome["passed"]:
            record.failed.append(test)
    for measured in data.measured_files():
        path = str(Path(measured).relative_to(root))
        tests_by_file: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for line, contexts in data.contexts_by_lineno(measured).items():
            for context in contexts:
                # a started program has the test in its static context, maybe with a phase
                started_by = _PHASE.sub("", context.partition("|")[0])
                test = context if context in outcomes else started_by
                file = test.partition("::")[0]
                if file in records and test in outcomes:
                    tests_by_file[file][str(line)].add(test)
                    tests_by_file[file]["0"].add(test)
        for file, lines in tests_by_file.items():
            if path in hashes:
                records[file].depends_on[path] = hashes[path]
            if not path.startswith("tests/"):
                records[file].lines[path] = {line: sorted(tests) for line, tests in lines.items()}
    return records
