"""What the sdist and the wheel contain, and what they are called."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from configparser import ConfigParser
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from mirror.version import VERSION
from tests import REPOSITORY
from tests.distribution import build_distributions

PACKAGES = ("cli", "deploy", "images", "mirror")
METADATA = f"cluster_pypi_mirror-{VERSION}.dist-info"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build_distributions(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def wheel(distributions: tuple[Path, Path]) -> Iterator[ZipFile]:
    with ZipFile(distributions[1]) as archive:
        yield archive


def list_tracked(*folders: str) -> set[str]:
    """Return the files of the repository below these folders, also new ones."""
    argv = ("git", "ls-files", "-z", "-co", "--exclude-standard", *folders)
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, timeout=30, check=True)
    names = done.stdout.decode().rstrip("\0").split("\0")
    return {name for name in names if (REPOSITORY / name).is_file()}


def test_the_wheel_has_every_file_of_the_packages_and_the_docs_of_checks(wheel: ZipFile) -> None:
    """All that is not Python too: recipes, scripts, locks, explanations of checks."""
    checks = {
        name.replace("docs/checks", "deploy/checks/docs") for name in list_tracked("docs/checks")
    }
    product = {name for name in wheel.namelist() if not name.startswith(f"{METADATA}/")}
    assert product == list_tracked(*PACKAGES) | checks
    assert {
        "deploy/checks/docs/dns.md",
        "images/recipes/chronicle.toml",
        "images/recipes/mirror.toml",
        "images/recipes/mirror_system.sh",
    } <= product


def test_the_sdist_has_what_a_reader_and_a_builder_need(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert list_tracked(*PACKAGES, "docs", "requirements") <= names
    assert {"README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith(("tests", ".ci"))]


def test_the_wheel_says_its_name_version_and_license(wheel: ZipFile) -> None:
    """`pypi-mirror` on the public index is another project."""
    found = message_from_bytes(wheel.read(f"{METADATA}/METADATA"))
    assert (found["Name"], found["Version"]) == ("cluster-pypi-mirror", VERSION)
    assert (found["License-Expression"], found["Requires-Python"]) == ("MIT", ">=3.11")
    assert b"MIT License" in wheel.read(f"{METADATA}/licenses/LICENSE")


def test_the_wheel_has_three_programs(wheel: ZipFile) -> None:
    entries = ConfigParser()
    entries.read_string(wheel.read(f"{METADATA}/entry_points.txt").decode())
    assert dict(entries["console_scripts"]) == {
        "mirror": "cli.mirror:main",
        "kubectl-mirror": "cli.mirror:main",
        "build-image": "cli.build_image:main",
    }
