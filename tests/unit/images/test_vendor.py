"""Vendoring: what becomes a wheel in the private index, and what is refused. Uses no index."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from images.project_lock import ProjectLock
from images.source import check_large_files, clone, fetch_tags
from images.vendor import PrivateIndex, VendoredDistribution, check_sources, vendor
from mirror.core.errors import InputError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from mirror.lock import PinnedDistribution
from tests.images.projects import run_git
from tests.wheels import make_wheel

PIN = PinnedDistribution(name="x", specifier="==1.0")
# the sdist contains its own build backend, so that it needs no index
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

Vendor = Callable[..., tuple[ProjectLock, tuple[VendoredDistribution, ...]]]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def vendor_pin(tmp_path: Path) -> Vendor:
    """Call `vendor` with a lock that has one pin."""

    def run(
        pin: PinnedDistribution, **sources: str
    ) -> tuple[ProjectLock, tuple[VendoredDistribution, ...]]:
        return vendor(
            ProjectLock(file="uv.lock", sha256="", pins=(pin,), members=()),
            sources,
            tmp_path / "scratch",
            PrivateIndex(url="http://127.0.0.1:9/simple/", upload=sha256),
            SILENT,
            Deadline.after(60),
        )

    return run


def test_names_a_wheel_by_its_content_and_pins_its_hash(vendor_pin: Vendor, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0", "")
    hashes = (f"sha256:{sha256(wheel)}",)
    lock, (vendored,) = vendor_pin(replace(PIN, origin=str(wheel), hashes=hashes))
    assert vendored.filename == f"x-1.0-0_{sha256(wheel)[:12]}-py3-none-any.whl"
    assert (vendored.version, vendored.stand_in) == ("1.0", False)
    assert lock.pins == (replace(PIN, hashes=hashes),)


def test_refuses_a_file_with_another_hash(vendor_pin: Vendor, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0", "")
    pin = replace(PIN, origin=str(wheel), hashes=("sha256:" + "0" * 64,))
    with pytest.raises(InputError, match="is not what was locked") as refused:
        vendor_pin(pin)
    assert sha256(wheel) in refused.value.why
    assert vendor_pin(pin, x=str(wheel))[1][0].stand_in, "a stand-in is another file"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("x-1.0-cp313-cp313-win_amd64.whl", "for another platform only"),
        ("y-1.0-py3-none-any.whl", "is not x"),
        ("x-2.0-py3-none-any.whl", "not the locked version"),
        ("x.whl", "not a wheel"),
    ],
)
def test_refuses_unusable_wheels(vendor_pin: Vendor, tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=part):
        vendor_pin(PIN, x=str(tmp_path / name))


def test_refuses_a_name_that_is_not_in_the_lock() -> None:
    lock = ProjectLock(file="uv.lock", sha256="", pins=(PIN,), members=())
    with pytest.raises(InputError, match=r"--vendor y: uv\.lock has no such distribution"):
        check_sources(lock, {"y": "y.whl"})


@pytest.mark.parametrize("source", ["nowhere/x.whl", "file:///nowhere/x.whl", "/nowhere"])
def test_refuses_a_file_that_does_not_exist_before_anything_is_built(source: str) -> None:
    lock = ProjectLock(file="uv.lock", sha256="", pins=(PIN,), members=())
    with pytest.raises(InputError, match=r"cannot vendor x: .* does not exist"):
        check_sources(lock, {"x": source})


def test_does_not_look_for_what_is_fetched_later(tmp_path: Path) -> None:
    lock = ProjectLock(file="uv.lock", sha256="", pins=(PIN,), members=())
    wheel = make_wheel(tmp_path, "x", "1.0", "")
    for source in ("https://x.test/x.whl", "git+https://x.test/x@v1", "git@x.test:a/x.git"):
        check_sources(lock, {"x": source})
    for source in (str(wheel), wheel.as_uri(), str(tmp_path)):
        check_sources(lock, {"x": source})


def make_test_sdist(path: Path, *links: tuple[str, str], **files: str) -> Path:
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


def test_builds_an_sdist(vendor_pin: Vendor, tmp_path: Path) -> None:
    (vendored,) = vendor_pin(PIN, x=str(make_test_sdist(tmp_path / "x-1.0.tar.gz")))[1]
    assert vendored.filename.startswith("x-1.0-0_")


@pytest.mark.parametrize("name", ["x-1.0/../../../../escaped", "x-1.0/out/escaped"])
def test_an_sdist_cannot_write_outside_its_folder(
    vendor_pin: Vendor, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by its file names nor through a link in it."""
    inner, outside = tmp_path / "a/b/c", tmp_path / "outside"
    inner.mkdir(parents=True)
    outside.mkdir()
    monkeypatch.setenv("TMPDIR", str(inner))
    monkeypatch.setenv("UV_CACHE_DIR", str(inner / "cache"))
    path = make_test_sdist(tmp_path / "x-1.0.tar.gz", ("x-1.0/out", str(outside)), **{name: "x"})
    try:
        vendor_pin(PIN, x=str(path))
    except InputError as refused:
        assert "cannot be built" in refused.what
    assert not list(outside.iterdir())
    escaped = [path for path in tmp_path.rglob("escaped") if not path.is_relative_to(inner)]
    assert not escaped


SCM = '[project]\nname = "x"\ndynamic = ["version"]\n[build-system]\nrequires = ["pbr"]\n'


def commit(folder: Path, *tags: str) -> str:
    """Make a commit of everything in a folder; return its hash."""
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")
    for tag in tags:
        run_git(folder, "tag", tag)
    return run_git(folder, "rev-parse", "HEAD")


def test_fetches_tags_only_for_a_version_that_comes_from_them(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    (origin / "pyproject.toml").write_text(SCM)
    locked = commit(origin, "v1.4.0")
    commit(origin)
    run_git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    location = f"file://{origin}@{locked}"
    for pyproject, expected in ((SCM, "v1.4.0"), (PROJECT, "")):
        checkout = tmp_path / f"checkout{len(expected)}"
        checkout.mkdir()
        clone(location, checkout, Deadline.after(60))
        (checkout / "pyproject.toml").write_text(pyproject)
        fetch_tags(location, checkout, checkout, Deadline.after(60))
        assert run_git(checkout, "tag") == expected
        assert run_git(checkout, "rev-parse", "HEAD") == locked


def test_fetches_submodules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, value in enumerate(("protocol.file.allow", "always")):
        monkeypatch.setenv(f"GIT_CONFIG_{'VALUE' if number else 'KEY'}_0", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    data, origin, checkout = (tmp_path / name for name in ("data", "origin", "checkout"))
    for folder in (data, origin, checkout):
        folder.mkdir()
    (data / "value").write_text("4")
    commit(data)
    commit(origin)
    run_git(origin, "submodule", "--quiet", "add", "../data", "inner")
    commit(origin)
    clone(f"file://{origin}", checkout, Deadline.after(60))
    assert (checkout / "inner/value").read_text() == "4"


def test_names_files_that_are_in_git_lfs(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    (tmp_path / "README").write_text("large files are in Git LFS")
    commit(tmp_path)
    with pytest.raises(InputError, match=r"x has files in Git LFS .*: model\.bin") as refused:
        check_large_files("x", tmp_path, tmp_path, Deadline.after(60))
    assert "--vendor x=WHEEL" in refused.value.next_step
    (tmp_path / "model.bin").write_text("the real content")
    check_large_files("x", tmp_path, tmp_path, Deadline.after(60))


def test_a_download_that_is_labeled_as_compressed_is_kept_as_it_is(
    vendor_pin: Vendor, tmp_path: Path, httpserver: HTTPServer
) -> None:
    """Servers label a .tar.gz as gzip-encoded content: its hash is that of the file."""
    content = make_test_sdist(tmp_path / "x-1.0.tar.gz").read_bytes()
    response = httpserver.expect_request("/x-1.0.tar.gz")
    response.respond_with_data(content, headers={"Content-Encoding": "gzip"})
    digest = hashlib.sha256(content).hexdigest()
    pin = replace(PIN, origin=httpserver.url_for("/x-1.0.tar.gz"), hashes=(f"sha256:{digest}",))
    (vendored,) = vendor_pin(pin)[1]
    assert vendored.version == "1.0"
