"""What a build refuses or cannot do: one clear error, and the earlier image as it was."""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.cluster.waiting import wait_for
from tests.images.interrupted_build import start_build, stop_build
from tests.images.projects import (
    BASE,
    PLAIN_PYPROJECT,
    SETUPTOOLS_BUILD,
    BuildEnvironment,
    make_sdist,
    write_files,
)
from tests.images.projects import make_plain_project as plain_project
from tests.wheels import make_wheel

pytestmark = [pytest.mark.engine, pytest.mark.index]

TAG = "plain:kept"
CALLS = """\
import urllib.request
from setuptools import setup

try:
    urllib.request.urlopen("http://weights.example.test/w.bin", timeout=3)
except OSError:
    pass
setup(name="calls", version="1.0")
"""
INSISTS = CALLS.replace("except OSError", "except ValueError").replace("calls", "insists")
NEEDS = b"Requires-Dist: setuptools\n"
SLIPPED = Path("/tmp/slipped")
ODD_BUILD = '[build-system]\nrequires = ["odd-backend"]\nbuild-backend = "odd_backend"\n'
ODD = "from setuptools.build_meta import *\n"


def digest(path: Path) -> str:
    return "--hash=sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def retagged(wheel: Path, tag: str, extra: dict[str, str] | None = None) -> Path:
    """The wheel for another platform, or with more files."""
    target = wheel.with_name(wheel.name.replace("py3-none-any", tag))
    with ZipFile(wheel, "a") as opened:
        for name, text in (extra or {}).items():
            opened.writestr(name, text)
    return wheel.rename(target)


@pytest.fixture(scope="module")
def files(shop: BuildEnvironment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name → line of a requirements file, for what was put into the private index."""
    root = tmp_path_factory.mktemp("files")
    made = {
        "alpha": make_wheel(root, "alpha", "1.0", "VALUE = 1\n"),
        "elsewhere": retagged(make_wheel(root, "elsewhere", "1.0", ""), "cp313-cp313-win_amd64"),
        "slip": retagged(
            make_wheel(root, "slip", "1.0", ""),
            "py3-none-any",
            {"../" * 9 + SLIPPED.relative_to("/").as_posix(): "x", "../" * 4 + "slipped": "x"},
        ),
    }
    calls = write_files(root / "calls", {"pyproject.toml": SETUPTOOLS_BUILD, "setup.py": CALLS})
    made["calls"] = make_sdist(root, "calls", "1.0", calls)
    insists = write_files(
        root / "insists", {"pyproject.toml": SETUPTOOLS_BUILD, "setup.py": INSISTS}
    )
    made["insists"] = make_sdist(root, "insists", "1.0", insists)
    built = write_files(
        root / "odd",
        {"pyproject.toml": ODD_BUILD + PLAIN_PYPROJECT.replace("plain", "odd"), "odd.py": ""},
    )
    made["odd"] = make_sdist(root, "odd", "1.0", built)
    backend = make_wheel(root, "odd-backend", "1.0", ODD)
    lines = {name: f"{name}==1.0 {digest(path)}\n" for name, path in made.items()}
    with ZipFile(backend) as opened:
        parts = {name: opened.read(name) for name in opened.namelist()}
    with ZipFile(backend, "w") as opened:
        for name, content in parts.items():
            opened.writestr(name, content + (NEEDS if name.endswith("METADATA") else b""))
    done = shop.place.run_mirror("add", *map(str, (*made.values(), backend)))
    assert done.returncode == 0, done.stderr
    return lines


@pytest.fixture(scope="module")
def first(
    shop: BuildEnvironment, files: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """The id of an earlier image, and its project."""
    folder = plain_project(tmp_path_factory.mktemp("plain"), files["alpha"])
    return str(shop.build_report(str(folder), "--tag", TAG)["id"]), folder


@pytest.fixture
def plain(shop: BuildEnvironment, first: tuple[str, Path], tmp_path: Path) -> Iterator[Path]:
    """A copy of that project; the earlier image has to be as it was after the test."""
    before = shop.list_images()
    yield Path(shutil.copytree(first[1], tmp_path / "plain"))
    assert shop.inspect(TAG)["Id"] == first[0]
    assert shop.list_images() == before
    nothing_left(shop)


def nothing_left(shop: BuildEnvironment) -> None:
    assert not shop.engine.docker("ps", "--all", "--quiet").strip()
    assert not shop.engine.docker("volume", "ls", "--quiet").strip()
    kinds = shop.engine.docker("network", "ls", "--format", "{{.Name}}").split()
    assert set(kinds) <= {"bridge", "host", "none"}


def refused(shop: BuildEnvironment, folder: Path, *words: str, code: int = 3, **env: str) -> str:
    done = shop.build(str(folder), "--tag", TAG, *words, **env)
    assert done.returncode == code, done.stderr
    assert [line[:7] for line in done.stderr.splitlines()].count("error: ") == 1
    assert "next: " in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


# -- what comes out of the mirror ---------------------------------------------------------------


def test_another_hash_than_the_locks(
    shop: BuildEnvironment, plain: Path, files: dict[str, str]
) -> None:
    line = files["alpha"].rpartition(":")[0] + ":" + "0" * 64 + "\n"
    (plain / "requirements.txt").write_text(line)
    said = refused(shop, plain)
    assert "the build failed at: RUN" in said
    assert "alpha" in said
    assert "the mirror has another file than the lock" in said


def test_a_wheel_that_writes_outside(
    shop: BuildEnvironment, plain: Path, files: dict[str, str], tmp_path: Path
) -> None:
    """uv leaves out what would lie elsewhere."""
    (plain / "requirements.txt").write_text(files["slip"])
    shop.build_report(str(plain), "--tag", "plain:slip", "--no-proof")
    code = "import os, slip; print(os.path.exists('/tmp/slipped'), os.path.exists('/app/slipped'))"
    said = shop.engine.docker(
        "run", "--rm", "--network", "none", "plain:slip", "python3", "-c", code
    )
    shop.engine.docker("rmi", "plain:slip")
    assert said.split() == ["False", "False"]
    assert not SLIPPED.exists()


def test_an_sdist_that_calls_while_it_is_built(
    shop: BuildEnvironment, plain: Path, files: dict[str, str]
) -> None:
    """It gets over it, so the build would succeed: by the engine's cache, too, the second time."""
    (plain / "requirements.txt").write_text(files["alpha"] + files["calls"])
    for _ in range(2):
        said = refused(shop, plain)
        assert "a step of the build tried to reach weights.example.test: RUN" in said


@pytest.mark.parametrize(
    ("name", "what", "more"),
    [
        pytest.param("elsewhere", "elsewhere", "--vendor NAME=WHEEL", id="another platform's"),
        pytest.param(
            *("insists", "the build failed at: RUN", "it tried to reach weights.example.test"),
            id="fails as it cannot call",
        ),
        pytest.param(
            *("odd", "odd-backend 1.0 ran in the build", "--vendor NAME=WHEEL"),
            id="a build backend that nothing pins",
        ),
    ],
)
def test_a_distribution_that_cannot_be_taken(
    shop: BuildEnvironment, plain: Path, files: dict[str, str], name: str, what: str, more: str
) -> None:
    (plain / "requirements.txt").write_text(files["alpha"] + files[name])
    said = refused(shop, plain)
    assert what in said
    assert more in said


def test_a_build_backend_that_nothing_pins_on_this_machine(
    shop: BuildEnvironment, plain: Path
) -> None:
    """The mirror has it; what is made a wheel here is built by pinned ones, too."""
    text = PLAIN_PYPROJECT.replace("plain", "alpha") + ODD_BUILD
    folder = write_files(plain.with_name("alpha"), {"pyproject.toml": text})
    said = refused(shop, plain, "--vendor", f"alpha={folder}", code=2)
    assert "alpha cannot be built from alpha" in said
    assert "odd-backend" in said
    assert "hash" in said
    assert "--vendor alpha=WHEEL" in said


# -- what the user gives ------------------------------------------------------------------------


def edit(name: str, text: str | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(text)

    return change


@pytest.mark.parametrize(
    ("change", "words", "part"),
    [
        (edit("requirements.txt", None), (), "has no lock"),
        (edit("requirements.txt", "alpha==1.0\n"), (), "alpha 1.0 has no hash"),
        (edit("uv.lock", "version = 1\n"), (), "is out of date"),
        (edit("pyproject.toml", "[project\n"), (), "not TOML"),
        (edit("uv.lock", "\0"), (), "not TOML"),
        (edit("x", ""), ("--extra", "nonsense"), "nonsense"),
        (edit("x", ""), ("--vendor", "beta=x.whl"), "--vendor beta"),
    ],
    ids=("no-lock", "no-hash", "out-of-date", "broken", "broken-lock", "extra", "vendor"),
)
def test_bad_input(
    shop: BuildEnvironment,
    plain: Path,
    change: Callable[[Path], None],
    words: tuple[str, ...],
    part: str,
) -> None:
    change(plain)
    assert part in refused(shop, plain, *words, code=2)


def test_no_engine(shop: BuildEnvironment, plain: Path) -> None:
    said = refused(shop, plain, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "no Docker engine to build with: unix:///nowhere/docker.sock" in said


def test_the_name_of_another_image(shop: BuildEnvironment, plain: Path) -> None:
    shop.engine.docker("tag", BASE, "another:1")
    held = shop.inspect("another:1")["Id"]
    try:
        said = refused(shop, plain, "--tag", "another:1", code=5)
        assert "another:1 is the name of another image" in said
        assert shop.inspect("another:1")["Id"] == held
    finally:
        shop.engine.docker("rmi", "another:1")


# -- a build that does not come to its end ------------------------------------------------------


def test_ctrl_c_in_the_middle(shop: BuildEnvironment, plain: Path) -> None:
    child = start_build(shop, plain, TAG)
    said = stop_build(child, lambda: child.send_signal(signal.SIGINT), code=130)
    assert "interrupted" in said
    wait_for("the end of the step", lambda: not shop.engine.docker("ps", "-aq").strip(), timeout=60)


def test_what_a_killed_build_left_is_taken_away_by_the_next(
    shop: BuildEnvironment, first: tuple[str, Path], plain: Path
) -> None:
    child = start_build(shop, plain, TAG)
    stop_build(child, child.kill, code=-signal.SIGKILL)
    assert shop.engine.docker("ps", "--quiet").strip()
    assert shop.engine.docker("volume", "ls", "--quiet").strip()
    assert shop.build_report(str(first[1]), "--tag", TAG)["id"]
    nothing_left(shop)
