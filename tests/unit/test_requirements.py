"""requirements/*.txt pin every dependency of pyproject.toml, with hashes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mirror.lock import read_lock

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("name", "dependencies"),
    [
        ("runtime", PROJECT["dependencies"]),
        ("dev", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_pins_every_dependency_at_a_version_that_fits(name: str, dependencies: list[str]) -> None:
    pins = read_lock(str(ROOT / f"requirements/{name}.txt")).pins
    assert all(pin.sha256_digests for pin in pins)
    versions = {pin.name: pin.version for pin in pins}
    for dependency in dependencies:
        requirement = Requirement(dependency)
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), dependency
