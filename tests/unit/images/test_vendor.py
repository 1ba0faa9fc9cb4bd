"""What becomes a wheel in the private index, and what is refused on the way. No index is asked."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from images.project_lock import LockedDistribution, ProjectLock
from images.vendor import VendoredDistribution, vendor
from mirror.core.errors import InputError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from tests.wheels import make_wheel

PIN = LockedDistribution(name="x", version="1.0", marker="", hashes=())
# a backend in the sdist itself: it needs nothing
BACKEND = """\
import zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "x-1.0-py3-none-any.whl"
    info = "Metadata-Version: 2.1\\nName: x\\nVersion: 1.0\\n"
    tag = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("x.py", "")
        wheel.writestr("x-1.0.dist-info/METADATA", info)
        wheel.writestr("x-1.0.dist-info/WHEEL", tag)
        wheel.writestr("x-1.0.dist-info/RECORD", "")
    return name
"""
PROJECT = (
    '[project]\nname = "x"\nversion = "1.0"\n'
    '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
)

Try = Callable[..., tuple[ProjectLock, tuple[VendoredDistribution, ...]]]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    """`vendor` with one pin."""

    def run(
        pin: LockedDistribution, **given: str
    ) -> tuple[ProjectLock, tuple[VendoredDistribution, ...]]:
        return vendor(
            ProjectLock(file="uv.lock", sha256="", pins=(pin,), members=()),
            given,
            tmp_path / "scratch",
            index="http://127.0.0.1:9/simple/",
            upload=sha256,
            progress=SILENT,
            deadline=Deadline.after(60),
        )

    return run


def test_a_wheel_gets_its_content_into_its_name_and_its_hash_into_the_lock(
    attempt: Try, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0", "")
    known = (f"sha256:{sha256(wheel)}",)
    locked, (told,) = attempt(replace(PIN, origin=str(wheel), hashes=known))
    assert told.filename == f"x-1.0-0_{sha256(wheel)[:12]}-py3-none-any.whl"
    assert (told.version, told.stand_in) == ("1.0", False)
    assert locked.pins == (replace(PIN, hashes=known),)


def test_a_file_that_is_not_what_was_locked(attempt: Try, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0", "")
    pin = replace(PIN, origin=str(wheel), hashes=("sha256:" + "0" * 64,))
    with pytest.raises(InputError, match="is not what was locked") as refused:
        attempt(pin)
    assert sha256(wheel) in refused.value.why
    assert attempt(pin, x=str(wheel))[1][0].stand_in, "a stand-in is another file"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("x-1.0-cp313-cp313-win_amd64.whl", "for another platform only"),
        ("y-1.0-py3-none-any.whl", "is not x"),
        ("x-2.0-py3-none-any.whl", "not the locked version"),
        ("x.whl", "not a wheel"),
    ],
)
def test_wheels_that_are_refused(attempt: Try, tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=part):
        attempt(PIN, x=str(tmp_path / name))


def test_a_name_that_the_lock_has_not(attempt: Try) -> None:
    with pytest.raises(InputError, match=r"--vendor y: uv\.lock has no such distribution"):
        attempt(PIN, y="y.whl")


def sdist(path: Path, *links: tuple[str, str], **files: str) -> Path:
    texts = {"x-1.0/pyproject.toml": PROJECT, "x-1.0/own.py": BACKEND, **files}
    with tarfile.open(path, "w:gz") as out:
        for name, target in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            out.addfile(link)
        for name, text in texts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            out.addfile(entry, io.BytesIO(text.encode()))
    return path


def test_an_sdist_is_built(attempt: Try, tmp_path: Path) -> None:
    (told,) = attempt(PIN, x=str(sdist(tmp_path / "x-1.0.tar.gz")))[1]
    assert told.filename.startswith("x-1.0-0_")


@pytest.mark.parametrize("name", ["x-1.0/../../../../escaped", "x-1.0/out/escaped"])
def test_an_sdist_that_writes_outside(
    attempt: Try, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its names, or through a link in it."""
    inner, outside = tmp_path / "a/b/c", tmp_path / "outside"
    inner.mkdir(parents=True)
    outside.mkdir()
    monkeypatch.setenv("TMPDIR", str(inner))
    monkeypatch.setenv("UV_CACHE_DIR", str(inner / "cache"))
    made = sdist(tmp_path / "x-1.0.tar.gz", ("x-1.0/out", str(outside)), **{name: "x"})
    try:
        attempt(PIN, x=str(made))
    except InputError as refused:
        assert "cannot be built" in refused.what
    assert not list(outside.iterdir())
    escaped = [one for one in tmp_path.rglob("escaped") if not one.is_relative_to(inner)]
    assert not escaped
