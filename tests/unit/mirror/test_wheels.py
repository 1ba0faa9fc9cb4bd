"""Which files a Linux machine takes; compared with packaging's own idea of this machine."""

from __future__ import annotations

import pytest

from mirror.wheels import (
    PYTHON_VERSIONS,
    TargetEnvironment,
    parse_version,
    select_files,
    select_pythons,
)

TARGET = TargetEnvironment(pythons=("3.12",), machines=("x86_64",))


@pytest.mark.parametrize(
    ("tags", "taken"),
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
def test_wheels(tags: str, taken: bool) -> None:
    name = f"lib-1.0-{tags}.whl"
    assert select_files([name], TARGET) == ((name,) if taken else ())


def test_as_packaging_sees_it() -> None:
    """Whatever this interpreter takes of Linux wheels, the target of its kind takes too."""
    import sys

    from packaging.tags import sys_tags

    target = TargetEnvironment(
        pythons=(f"3.{sys.version_info.minor}",), machines=("x86_64", "aarch64"), musl=True
    )
    here = [tag for tag in sys_tags() if tag.platform == "any" or "linux" in tag.platform]
    assert here
    wrong = [tag for tag in here if not target.accepts_tags([tag])]
    assert not [tag for tag in wrong if tag.interpreter.startswith("cp3")], wrong


def test_musl_on_request() -> None:
    musl = TargetEnvironment(pythons=("3.12",), machines=("x86_64",), musl=True)
    assert select_files(["lib-1.0-cp312-cp312-musllinux_1_2_x86_64.whl"], musl)


def test_an_sdist_only_where_there_is_no_wheel() -> None:
    wheel, sdist = "lib-1.0-py3-none-any.whl", "lib-1.0.tar.gz"
    assert select_files([sdist, wheel], TARGET) == (wheel,)
    assert select_files([sdist, "lib-1.0-cp312-cp312-win_amd64.whl"], TARGET) == (sdist,)
    assert select_files(["nonsense.whl"], TARGET) == ()


def test_markers() -> None:
    assert TARGET.satisfies_marker("")
    assert TARGET.satisfies_marker("python_full_version < '3.13'")
    assert not TARGET.satisfies_marker("python_full_version >= '3.13'")
    assert not TARGET.satisfies_marker("sys_platform == 'win32'")
    assert TARGET.satisfies_marker("no marker at all")


def test_pythons() -> None:
    assert select_pythons(">=3.12,<3.14") == ("3.12", "3.13")
    assert select_pythons("") == PYTHON_VERSIONS
    assert select_pythons("nonsense") == PYTHON_VERSIONS


def test_versions() -> None:
    assert str(parse_version("lib-1.0-py3-none-any.whl")) == "1.0"
    assert str(parse_version("lib-1.0.tar.gz")) == "1.0"
    assert parse_version("lib.exe") is None
