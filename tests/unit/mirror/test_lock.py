"""Locks as uv, pip-tools and PEP 751 write them, and what is none."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import InputError, MirrorError
from mirror.lock import (
    LockFile,
    PinnedDistribution,
    PinnedFile,
    merge_locks,
    parse_requirements,
    read_lock,
)

ONE, TWO = "a" * 64, "b" * 64

UV_LOCK = f"""
version = 1
requires-python = ">=3.12"

[[package]]
name = "app"
version = "0.1"
source = {{ editable = "." }}

[[package]]
name = "Mem0_AI"
version = "1.0"
source = {{ git = "https://git.example/x?rev=main#abc" }}

[[package]]
name = "model"
version = "3.8.0"
source = {{ url = "https://files.example/model-3.8.0-py3-none-any.whl" }}
wheels = [{{ url = "https://files.example/model-3.8.0-py3-none-any.whl", hash = "sha256:{ONE}" }}]

[[package]]
name = "numpy"
version = "2.1.0"
source = {{ registry = "https://index.example/simple" }}
sdist = {{ url = "https://files.example/a/numpy-2.1.0.tar.gz", hash = "sha256:{ONE}", size = 7 }}
wheels = [
    {{ url = "https://files.example/b/numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
      hash = "sha256:{TWO}", size = 9 }},
]
""".replace(",\n      hash", ", hash")

PYLOCK = f"""
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"
[[packages]]
name = "numpy"
version = "2.1.0"
marker = "sys_platform == 'linux'"
sdist = {{ url = "https://files.example/numpy-2.1.0.tar.gz", hashes = {{ sha256 = "{ONE}" }} }}
[[packages.wheels]]
url = "https://files.example/numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
size = 9
hashes = {{ sha256 = "{TWO}" }}
[[packages]]
name = "mem0ai"
vcs = {{ type = "git", url = "https://git.example/x", commit-id = "abc" }}
"""


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_uv_lock(tmp_path: Path) -> None:
    found = read_lock(write(tmp_path, "uv.lock", UV_LOCK))
    assert found.requires_python == ">=3.12"
    assert [(pin.name, pin.origin) for pin in found.pins] == [
        ("app", "path"),
        ("mem0-ai", "git"),
        ("model", "url"),
        ("numpy", "index"),
    ]
    numpy = found.pins[3]
    assert numpy.specifier == "==2.1.0"
    assert numpy.hashes == {ONE, TWO}
    assert numpy.files[1] == PinnedFile(
        filename="numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        url="https://files.example/b/numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        sha256=TWO,
        size=9,
    )


def test_the_real_uv_writes_what_is_read(tmp_path: Path) -> None:
    """Without an index: a project of a local wheel, locked by uv itself."""
    from tests.local.mirror_home import make_wheel

    (tmp_path / "links").mkdir()
    wheel = make_wheel(tmp_path / "links", "house-lib", "1.0", "x = 1\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["house-lib"]\n[tool.uv]\nno-index = true\nfind-links = ["links"]\n'
    )
    subprocess.run(
        ["uv", "lock", "-q", "--offline", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
        check=True,
        timeout=60,
    )
    found = read_lock(str(tmp_path / "uv.lock"))
    assert {pin.name for pin in found.pins} == {"app", "house-lib"}
    (lib,) = [pin for pin in found.pins if pin.name == "house-lib"]
    assert [file.filename for file in lib.files] == [wheel.name]


def test_a_pylock(tmp_path: Path) -> None:
    found = read_lock(write(tmp_path, "pylock.toml", PYLOCK))
    numpy, mem0 = found.pins
    assert numpy.specifier == "==2.1.0"
    assert numpy.hashes == {ONE, TWO}
    assert numpy.marker == 'sys_platform == "linux"'
    assert mem0.origin == "git"


def test_requirements_with_hashes() -> None:
    found = parse_requirements(
        "# made by uv\n--index-url https://index.example/simple\n"
        f"Zope.Interface==7.0 ; python_version < '3.13' \\\n    --hash=sha256:{ONE} \\\n"
        f"    --hash=sha256:{TWO.upper()}\n    # via app\n"
        "-e .\nmodel @ https://files.example/model-1.0-py3-none-any.whl\n"
        "lib @ git+https://git.example/x@abc  # pinned\r\n"
        "plain>=2,<3\n"
    )
    zope, here, model, lib, plain = found.pins
    assert (zope.name, zope.specifier) == ("zope-interface", "==7.0")
    assert zope.hashes == {ONE, TWO}
    assert zope.marker == 'python_version < "3.13"'
    assert (here.origin, model.origin, lib.origin) == ("path", "url", "git")
    assert (plain.specifier, plain.hashes) == ("<3,>=2", frozenset())
    assert found.skipped == ("--index-url https://index.example/simple",)


def test_chronicles(chronicle_lock: Path) -> None:
    found = read_lock(str(chronicle_lock))
    assert len(found.pins) == 160
    assert all(pin.hashes and pin.specifier.startswith("==") for pin in found.pins)


def test_a_name() -> None:
    assert read_lock("numpy>=2").pins == (PinnedDistribution(name="numpy", specifier=">=2"),)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("uv.lock", b"\x00\xff\xfe", "not a text file"),
        ("uv.lock", b"package = [", "not TOML"),
        ("uv.lock", b"[[package]]\nversion = '1'\n", "not as uv writes"),
        ("uv.lock", b"package = [1]\n", "not as uv writes"),
        ("some.toml", b"a = 1\n", "neither a uv.lock nor"),
        ("pylock.toml", b"lock-version = '9.0'\ncreated-by = 'x'\npackages = []\n", "version"),
        ("r.txt", b"numpy==2.1 ===\n", "is no requirement"),
        ("r.txt", b"$(reboot)\n", "is no requirement"),
    ],
)
def test_what_is_none_is_one_line(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as told:
        read_lock(str(tmp_path / name))
    assert why in told.value.why
    assert "\n" not in str(told.value)


def test_a_missing_and_a_huge_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_lock(str(tmp_path / "uv.lock"))
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(200 * 1024**2)
    begun = time.monotonic()
    with pytest.raises(InputError, match="larger than"):
        read_lock(str(huge))
    assert time.monotonic() - begun < 1


def test_several_as_one() -> None:
    one = LockFile(
        pins=(PinnedDistribution(name="a"), PinnedDistribution(name="b")), requires_python=">=3.11"
    )
    two = LockFile(pins=(PinnedDistribution(name="b"),), requires_python="<3.14")
    together = merge_locks([one, two])
    assert [pin.name for pin in together.pins] == ["a", "b"]
    assert together.requires_python == ">=3.11,<3.14"


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_requirements(text)
    except MirrorError as refused:
        assert refused.what
