"""The rules of the house that no other tool checks."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cli", "deploy", "images", "mirror")

# in pieces, so that this file does not name them
HOSTS = [
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("deb", "debian", "org"),
        ("registry", "npmjs"),
    )
]


def list_tracked_files() -> list[Path]:
    """The files of the repository, or of the folder where there is no git."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=30, check=True
    )
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def list_modules() -> list[str]:
    return [
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
    ]


@pytest.mark.parametrize("name", list_modules())
def test_every_module_loads(name: str) -> None:
    importlib.import_module(name)


def test_no_file_names_a_package_registry() -> None:
    named = []
    for path in list_tracked_files():
        text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        named += [f"{path.relative_to(ROOT)}: {host}" for host in HOSTS if host in text]
    assert named == []


def test_no_lock_that_names_an_index_is_in_the_repository() -> None:
    assert [
        p for p in list_tracked_files() if re.fullmatch(r"uv\.lock|pylock.*\.toml", p.name)
    ] == []


@pytest.mark.parametrize("kind", ["checks", "delivery", "fixes"])
def test_every_part_has_a_page(kind: str) -> None:
    page = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    package = importlib.import_module(f"deploy.{kind}")
    for module in pkgutil.iter_modules(package.__path__):
        assert module.name in page, f"docs/ says nothing of deploy.{kind}.{module.name}"


def test_every_check_has_an_anchor() -> None:
    from deploy.doctor.run import load_categories

    for category in load_categories():
        page = (ROOT / "docs" / "checks" / f"{category.name}.md").read_text()
        told = [line[3:] for line in page.splitlines() if line.startswith("## ")]
        assert sorted(told) == sorted(one.id for one in category.checks)


def test_the_wheel_holds_the_four_packages_only(tmp_path: Path) -> None:
    from zipfile import ZipFile

    subprocess.run(
        # this interpreter: uv would take the .venv of the README's set-up, which has no hatchling
        [
            *("uv", "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable),
            *("--out-dir", str(tmp_path)),
        ],
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    tops = {name.split("/")[0] for name in ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
