"""The planter on a small repository with one good and one weak test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import REPOSITORY

MODULE = """\
from mirror.limits import FEW

LIMIT = 10


def is_large(number):
    return number > LIMIT


def is_small(number):
    return number < FEW


def print_all():
    print("unseen")
"""
TESTS = """\
import subprocess
import sys

from mirror.small import is_large, is_small


def test_large():
    assert is_large(11)
    assert not is_large(10)


def test_small():
    is_small(5)


def test_a_program():
    code = "from mirror.small import is_large; print(is_large(11))"
    subprocess.run((sys.executable, "-c", code), check=True, timeout=60)


def test_that_fails_anyway():
    assert is_large(9)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(
        REPOSITORY / "tests/mutants", tmp_path / "tests/mutants", ignore=lambda *_: ["__pycache__"]
    )
    shutil.copy(REPOSITORY / "tests/__init__.py", tmp_path / "tests")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/__init__.py").touch()
    (tmp_path / "mirror/small.py").write_text(MODULE)
    (tmp_path / "mirror/limits.py").write_text("FEW = 5\n")
    (tmp_path / "tests/unit").mkdir()
    (tmp_path / "tests/unit/test_small.py").write_text(TESTS)
    subprocess.run(("git", "init", "-q"), cwd=tmp_path, timeout=30, check=True)
    return tmp_path


def run_planter(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "tests.mutants", *arguments),
        cwd=repository,
        env={
            **os.environ,
            "PYTHONPATH": str(repository),
            "MIRROR_TEST_CACHE": str(repository.parent / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def list_files(repository: Path) -> list[Path]:
    return sorted(path for path in repository.rglob("*") if "__pycache__" not in path.parts)


def plant(repository: Path) -> dict[str, dict[str, Any]]:
    result = run_planter(repository, "mirror", "--most", "30", "-o", "json")
    assert result.returncode == 1, result.stderr
    assert "not used: tests/unit/test_small.py::test_that_fails_anyway" in result.stderr
    faults: list[dict[str, Any]] = json.loads(result.stdout)
    return {f"{Path(fault['path']).name}:{fault['line']}": fault for fault in faults}


def test_prints_the_faults_that_no_test_notices(repository: Path) -> None:
    before = list_files(repository)
    faults = plant(repository)
    assert {place: fault["outcome"] for place, fault in faults.items()} == {
        "limits.py:1": "survived",  # run at import, like the next
        "small.py:3": "caught",
        "small.py:7": "caught",
        "small.py:11": "survived",
        "small.py:15": "uncovered",
    }
    assert "-    return number < FEW\n+" in faults["small.py:11"]["diff"]
    assert faults["small.py:7"]["tests"] == 2, "one of them runs it in another process"
    assert (repository / "mirror/small.py").read_text() == MODULE
    assert list_files(repository) == before
    # what tests execute is measured again when they have changed
    test_file = repository / "tests/unit/test_small.py"
    test_file.write_text(TESTS.replace("    is_small(5)", "    assert not is_small(5)"))
    assert plant(repository)["small.py:11"]["outcome"] == "caught"


def test_refuses_a_path_without_a_product_file(repository: Path) -> None:
    result = run_planter(repository, "tests")
    assert result.returncode == 2
    assert "no Python file of the product is at tests" in result.stderr
