"""mirror.wheels selects the files that a Linux machine installs; compared with packaging's tags."""

from __future__ import annotations

import sys

import pytest
from packaging.tags import sys_tags

from mirror.wheels import (
    PYTHON_VERSIONS,
    TargetEnvironment,
    allows_python,
    parse_version,
    select_files,
    select_pythons,
)

TARGET = TargetEnvironment(pythons=("3.12",), machines=("x86_64",))


@pytest.mark.parametrize(
    ("tags", "is_selected"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py2-none-any", False),
        ("py312-none-any", True),
        ("py313-none-any", False),
        ("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp312-cp312-manylinux_2_28_aarch64", False),
        ("cp311-cp311-manylinux_2_17_x86_64", False),
        ("cp38-abi3-manylinux_2_28_x86_64", True),
        ("cp313-abi3-manylinux_2_28_x86_64", False),
        ("cp312-cp312-musllinux_1_2_x86_64", False),
        ("cp313-cp313t-manylinux_2_28_x86_64", False),
        ("cp312-none-manylinux_2_17_x86_64", True),
        ("py3-none-manylinux_2_17_x86_64", True),
        ("py3-none-manylinux_2_17_i686", False),
        ("cp312-cp312-win_amd64", False),
        ("cp312-cp312-macosx_11_0_arm64", False),
        ("pp310-pypy310_pp73-manylinux_2_17_x86_64", False),
    ],
)
def test_selects_wheels_by_their_tags(tags: str, is_selected: bool) -> None:
    filename = f"lib-1.0-{tags}.whl"
    assert select_files([filename], TARGET) == ((filename,) if is_selected else ())


def test_accepts_the_linux_tags_of_this_interpreter() -> None:
    target = TargetEnvironment(
        pythons=(f"3.{sys.version_info.minor}",), machines=("x86_64", "aarch64"), musl=True
    )
    tags = [tag for tag in sys_tags() if tag.platform == "any" or "linux" in tag.platform]
    assert tags
    rejected = [tag for tag in tags if not target.accepts_tags([tag])]
    assert not [tag for tag in rejected if tag.interpreter.startswith("cp3")], rejected


def test_selects_musl_wheels_on_request() -> None:
    musl = TargetEnvironment(pythons=("3.12",), machines=("x86_64",), musl=True)
    assert select_files(["lib-1.0-cp312-cp312-musllinux_1_2_x86_64.whl"], musl)


def test_selects_an_sdist_only_without_a_wheel() -> None:
    wheel, sdist = "lib-1.0-py3-none-any.whl", "lib-1.0.tar.gz"
    assert select_files([sdist, wheel], TARGET) == (wheel,)
    assert select_files([sdist, "lib-1.0-cp312-cp312-win_amd64.whl"], TARGET) == (sdist,)
    assert select_files(["nonsense.whl"], TARGET) == ()


def test_evaluates_markers() -> None:
    assert TARGET.satisfies_marker("")
    assert TARGET.satisfies_marker("python_full_version < '3.13'")
    assert not TARGET.satisfies_marker("python_full_version >= '3.13'")
    assert not TARGET.satisfies_marker("sys_platform == 'win32'")
    assert TARGET.satisfies_marker("no marker at all"), "an invalid marker counts as satisfied"


def test_selects_python_versions() -> None:
    assert select_pythons(">=3.12,<3.14") == ("3.12", "3.13")
    assert select_pythons("") == PYTHON_VERSIONS
    assert select_pythons("nonsense") == PYTHON_VERSIONS


def test_parses_versions_of_filenames() -> None:
    assert str(parse_version("lib-1.0-py3-none-any.whl", "lib")) == "1.0"
    assert str(parse_version("lib-1.0.tar.gz", "lib")) == "1.0"
    assert parse_version("lib.exe", "lib") is None


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("demo-pkg-0.8-3.tar.gz", "0.8.post3"),
        ("demo-pkg-234.tar.gz", "234"),
        ("demo.pkg-0.6.zip", "0.6"),
        ("demo_pkg-0.5.tar.bz2", "0.5"),
        ("Demo_Pkg-1!2.0.tar.gz", "1!2.0"),
        ("demo_pkg-1.1+local.7-py3-none-any.whl", "1.1+local.7"),
        ("demo-2-pkg.tar.gz", None),
        ("demo-pkg-extra-1.0.tar.gz", None),
        ("demo_pkg-0.4-py2.7.egg", None),
        ("demo-pkg-0.3.win32-py2.7.exe", None),
        ("other-1.0-py3-none-any.whl", None),
        ("demo_pkg-1.0.whl", None),
    ],
)
def test_the_projects_name_tells_where_the_version_starts(
    filename: str, version: str | None
) -> None:
    parsed = parse_version(filename, "demo-pkg")
    assert (str(parsed) if parsed else None) == version


def test_selects_only_sdists_that_installers_build() -> None:
    names = ["lib-1.0.tar.gz", "lib-1.0.win32.exe", "lib-1.0-py2.7.egg", "lib-1.0.zip"]
    assert select_files(names, TARGET) == ("lib-1.0.tar.gz", "lib-1.0.zip")


@pytest.mark.parametrize(
    ("specifier", "python", "allowed"),
    [("", "3.9", True), (">=3.12", "3.9", False), (">=3.9.2", "3.9", True), ("junk", "3.9", True)],
)
def test_requires_python(specifier: str, python: str, allowed: bool) -> None:
    assert allows_python(specifier, python) == allowed
