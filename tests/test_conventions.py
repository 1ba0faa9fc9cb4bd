"""Rules of the repository that no other tool checks."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import REPOSITORY

PACKAGES = ("cli", "deploy", "images", "mirror")

# in pieces, so that this file does not name them
REGISTRY_HOSTS = [
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("deb", "debian", "org"),
        ("registry", "npmjs"),
    )
]

# private vocabulary of early versions, and the terms that replaced it
RETIRED_WORDS = {
    **dict.fromkeys(("mend", "mends", "mended"), "fix, repair or remedy"),
    **dict.fromkeys(("keeper", "keepers"), "reconciler"),
    **dict.fromkeys(("bake", "baked", "baking"), "build"),
    **dict.fromkeys(("told", "heard", "sight", "sights"), "what it is: message, report, line …"),
    **dict.fromkeys(("shelf", "shelves"), "store or layout"),
    "blast": "impact",
    "jail": "sandbox",
    "patience": "backoff",
    "standing": "status",
    "unlike": "drift",
    "wish": "request",
}
# keys of stored or printed JSON, which users and older versions read
WIRE_NAMES = {"mended"}


@cache
def list_tracked_files() -> tuple[Path, ...]:
    """Return the files of the repository."""
    git = ["git", "ls-files", "-z"]
    result = subprocess.run(git, cwd=REPOSITORY, capture_output=True, timeout=30, check=True)
    names = result.stdout.decode().split("\0")
    return tuple(REPOSITORY / name for name in names if name and (REPOSITORY / name).is_file())


def list_modules() -> list[str]:
    """Return the names of all modules of the product."""
    return [
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages([str(REPOSITORY / package)], prefix=f"{package}.")
    ]


@cache
def parse_sources() -> dict[str, ast.Module]:
    """Return the syntax trees of all Python files by path, except those of test data."""
    paths = [path for path in list_tracked_files() if path.suffix == ".py"]
    return {
        str(path.relative_to(REPOSITORY)): ast.parse(path.read_bytes())
        for path in paths
        if not path.is_relative_to(REPOSITORY / "tests/data")
    }


def list_defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and name of all functions, classes, parameters, variables and attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


def split_words(name: str) -> list[str]:
    """Return the words of an identifier in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]


@pytest.mark.parametrize("name", list_modules())
def test_every_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


def test_class_names_are_unique() -> None:
    paths = defaultdict(list)
    for path, tree in parse_sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                paths[node.name].append(path)
    assert {name: where for name, where in paths.items() if len(where) > 1} == {}


def test_identifiers_use_no_retired_words() -> None:
    retired = [
        f"{path}:{line}: {name} ({word} → {RETIRED_WORDS[word]})"
        for path, tree in parse_sources().items()
        for line, name in list_defined_names(tree)
        for word in split_words(name)
        if word in RETIRED_WORDS and name not in WIRE_NAMES
    ]
    assert retired == []


def test_no_file_names_a_package_registry() -> None:
    mentions = []
    for path in list_tracked_files():
        text = path.read_bytes().decode(errors="replace")
        mentions += [
            f"{path.relative_to(REPOSITORY)}: {host}" for host in REGISTRY_HOSTS if host in text
        ]
    assert mentions == []


def test_repository_has_no_lock_that_names_an_index() -> None:
    lock = re.compile(r"uv\.lock|pylock.*\.toml")
    assert [path for path in list_tracked_files() if lock.fullmatch(path.name)] == []


@pytest.mark.parametrize("kind", ["checks", "delivery", "fixes"])
def test_every_extension_is_documented(kind: str) -> None:
    docs = "".join(path.read_text() for path in (REPOSITORY / "docs").rglob("*.md"))
    package = importlib.import_module(f"deploy.{kind}")
    for module in pkgutil.iter_modules(package.__path__):
        assert module.name in docs, f"docs/ does not mention deploy.{kind}.{module.name}"


def test_every_check_has_an_anchor() -> None:
    from deploy.doctor.run import load_categories

    for category in load_categories():
        page = (REPOSITORY / "docs" / "checks" / f"{category.name}.md").read_text()
        anchors = [line[3:] for line in page.splitlines() if line.startswith("## ")]
        assert sorted(anchors) == sorted(check.id for check in category.checks)


def test_the_architecture_picture_is_up_to_date() -> None:
    draw = (sys.executable, "docs/architecture.py", "--check")
    subprocess.run(draw, cwd=REPOSITORY, timeout=120, check=True)
