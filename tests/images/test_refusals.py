"""Builds that are refused or fail give one clear error and leave the earlier image alone."""

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
    make_plain_project,
    make_sdist,
    write_files,
)
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


def hash_option(path: Path) -> str:
    return "--hash=sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def retag(wheel: Path, tag: str, extra: dict[str, str] | None = None) -> Path:
    """Change a wheel's tag, and add files to it."""
    target = wheel.with_name(wheel.name.replace("py3-none-any", tag))
    with ZipFile(wheel, "a") as opened:
        for name, text in (extra or {}).items():
            opened.writestr(name, text)
    return wheel.rename(target)


@pytest.fixture(scope="module")
def requirement_lines(
    build_env: BuildEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Name → line of a requirements file, for distributions in the private index."""
    root = tmp_path_factory.mktemp("files")
    distributions = {
        "alpha": make_wheel(root, "alpha", "1.0", "VALUE = 1\n"),
        "elsewhere": retag(make_wheel(root, "elsewhere", "1.0", ""), "cp313-cp313-win_amd64"),
        "slip": retag(
            make_wheel(root, "slip", "1.0", ""),
            "py3-none-any",
            {"../" * 9 + SLIPPED.relative_to("/").as_posix(): "x", "../" * 4 + "slipped": "x"},
        ),
    }
    calls = write_files(root / "calls", {"pyproject.toml": SETUPTOOLS_BUILD, "setup.py": CALLS})
    distributions["calls"] = make_sdist(root, "calls", "1.0", calls)
    insists = write_files(
        root / "insists", {"pyproject.toml": SETUPTOOLS_BUILD, "setup.py": INSISTS}
    )
    distributions["insists"] = make_sdist(root, "insists", "1.0", insists)
    odd = write_files(
        root / "odd",
        {"pyproject.toml": ODD_BUILD + PLAIN_PYPROJECT.replace("plain", "odd"), "odd.py": ""},
    )
    distributions["odd"] = make_sdist(root, "odd", "1.0", odd)
    backend = make_wheel(root, "odd-backend", "1.0", ODD)
    lines = {name: f"{name}==1.0 {hash_option(path)}\n" for name, path in distributions.items()}
    with ZipFile(backend) as opened:
        parts = {name: opened.read(name) for name in opened.namelist()}
    with ZipFile(backend, "w") as opened:
        for name, content in parts.items():
            opened.writestr(name, content + (NEEDS if name.endswith("METADATA") else b""))
    result = build_env.mirror_home.run_mirror("add", *map(str, (*distributions.values(), backend)))
    assert result.returncode == 0, result.stderr
    return lines


@pytest.fixture(scope="module")
def earlier(
    build_env: BuildEnvironment,
    requirement_lines: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """The id of an image that was built before, and its project."""
    folder = make_plain_project(tmp_path_factory.mktemp("plain"), requirement_lines["alpha"])
    return str(build_env.build_report(str(folder), "--tag", TAG)["id"]), folder


@pytest.fixture
def plain_project(
    build_env: BuildEnvironment, earlier: tuple[str, Path], tmp_path: Path
) -> Iterator[Path]:
    """A copy of that project; checks after the test that the earlier image is unchanged."""
    before = build_env.list_images()
    yield Path(shutil.copytree(earlier[1], tmp_path / "plain"))
    assert build_env.inspect(TAG)["Id"] == earlier[0]
    assert build_env.list_images() == before
    assert_nothing_left(build_env)


def assert_nothing_left(build_env: BuildEnvironment) -> None:
    assert not build_env.engine.docker("ps", "--all", "--quiet").strip()
    assert not build_env.engine.docker("volume", "ls", "--quiet").strip()
    kinds = build_env.engine.docker("network", "ls", "--format", "{{.Name}}").split()
    assert set(kinds) <= {"bridge", "host", "none"}


def build_refused(
    build_env: BuildEnvironment, folder: Path, *arguments: str, code: int = 3, **env: str
) -> str:
    result = build_env.build(str(folder), "--tag", TAG, *arguments, **env)
    assert result.returncode == code, result.stderr
    assert [line[:7] for line in result.stderr.splitlines()].count("error: ") == 1
    assert "next: " in result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


# -- distributions of the mirror ------------------------------------------------------------------


def test_refuses_a_file_with_another_hash(
    build_env: BuildEnvironment, plain_project: Path, requirement_lines: dict[str, str]
) -> None:
    line = requirement_lines["alpha"].rpartition(":")[0] + ":" + "0" * 64 + "\n"
    (plain_project / "requirements.txt").write_text(line)
    output = build_refused(build_env, plain_project)
    assert "the build failed at: RUN" in output
    assert "alpha" in output
    assert "the mirror has another file than the lock" in output


def test_a_wheel_cannot_write_outside_its_folder(
    build_env: BuildEnvironment,
    plain_project: Path,
    requirement_lines: dict[str, str],
    tmp_path: Path,
) -> None:
    """uv skips such files."""
    (plain_project / "requirements.txt").write_text(requirement_lines["slip"])
    build_env.build_report(str(plain_project), "--tag", "plain_project:slip", "--no-proof")
    code = "import os, slip; print(os.path.exists('/tmp/slipped'), os.path.exists('/app/slipped'))"
    output = build_env.engine.docker(
        "run", "--rm", "--network", "none", "plain_project:slip", "python3", "-c", code
    )
    build_env.engine.docker("rmi", "plain_project:slip")
    assert output.split() == ["False", "False"]
    assert not SLIPPED.exists()


def test_refuses_an_sdist_that_calls_a_host_in_its_build(
    build_env: BuildEnvironment, plain_project: Path, requirement_lines: dict[str, str]
) -> None:
    """The sdist ignores the failure; the engine's cache must not hide it from a second build."""
    (plain_project / "requirements.txt").write_text(
        requirement_lines["alpha"] + requirement_lines["calls"]
    )
    for _ in range(2):
        output = build_refused(build_env, plain_project)
        assert "a step of the build tried to reach weights.example.test: RUN" in output


@pytest.mark.parametrize(
    ("name", "cause", "advice"),
    [
        pytest.param("elsewhere", "elsewhere", "--vendor NAME=WHEEL", id="another platform"),
        pytest.param(
            *("insists", "the build failed at: RUN", "it tried to reach weights.example.test"),
            id="fails without the host",
        ),
        pytest.param(
            *("odd", "odd-backend 1.0 ran in the build", "--vendor NAME=WHEEL"),
            id="an unpinned build backend",
        ),
    ],
)
def test_refuses_distributions_that_cannot_be_installed(
    build_env: BuildEnvironment,
    plain_project: Path,
    requirement_lines: dict[str, str],
    name: str,
    cause: str,
    advice: str,
) -> None:
    (plain_project / "requirements.txt").write_text(
        requirement_lines["alpha"] + requirement_lines[name]
    )
    output = build_refused(build_env, plain_project)
    assert cause in output
    assert advice in output


def test_pins_the_backend_that_a_vendored_project_asks_for(
    build_env: BuildEnvironment, plain_project: Path
) -> None:
    """Builds on this machine need pinned backends: one that the mirror has gets its hash."""
    text = PLAIN_PYPROJECT.replace("plain", "alpha") + ODD_BUILD
    folder = write_files(plain_project.with_name("alpha"), {"pyproject.toml": text})
    options = ("--vendor", f"alpha={folder}", "--tag", "plain:odd", "--no-proof")
    result = build_env.build(str(plain_project), *options)
    assert result.returncode == 0, result.stderr
    build_env.engine.docker("image", "rm", "plain:odd")


# -- input of the user --------------------------------------------------------------------------


def edit(name: str, text: str | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(text)

    return change


@pytest.mark.parametrize(
    ("change", "arguments", "part"),
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
def test_refuses_bad_input(
    build_env: BuildEnvironment,
    plain_project: Path,
    change: Callable[[Path], None],
    arguments: tuple[str, ...],
    part: str,
) -> None:
    change(plain_project)
    assert part in build_refused(build_env, plain_project, *arguments, code=2)


def test_reports_an_engine_that_does_not_answer(
    build_env: BuildEnvironment, plain_project: Path
) -> None:
    output = build_refused(build_env, plain_project, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "no Docker engine to build with: unix:///nowhere/docker.sock" in output


def test_refuses_the_name_of_another_image(
    build_env: BuildEnvironment, plain_project: Path
) -> None:
    build_env.engine.docker("tag", BASE, "another:1")
    image_id = build_env.inspect("another:1")["Id"]
    try:
        output = build_refused(build_env, plain_project, "--tag", "another:1", code=5)
        assert "another:1 is the name of another image" in output
        assert build_env.inspect("another:1")["Id"] == image_id
    finally:
        build_env.engine.docker("rmi", "another:1")


# -- interrupted builds -------------------------------------------------------------------------


def test_ctrl_c_stops_the_step(build_env: BuildEnvironment, plain_project: Path) -> None:
    child = start_build(build_env, plain_project, TAG)
    output = stop_build(child, lambda: child.send_signal(signal.SIGINT), code=130)
    assert "interrupted" in output
    wait_for(
        "the end of the step", lambda: not build_env.engine.docker("ps", "-aq").strip(), timeout=60
    )


def test_the_next_build_removes_what_a_killed_one_left(
    build_env: BuildEnvironment, earlier: tuple[str, Path], plain_project: Path
) -> None:
    child = start_build(build_env, plain_project, TAG)
    stop_build(child, child.kill, code=-signal.SIGKILL)
    assert build_env.engine.docker("ps", "--quiet").strip()
    assert build_env.engine.docker("volume", "ls", "--quiet").strip()
    assert build_env.build_report(str(earlier[1]), "--tag", TAG)["id"]
    assert_nothing_left(build_env)


# -- assembled images ---------------------------------------------------------------------------


def test_assembly_refuses_an_sdist_that_calls_a_host_every_time(
    build_env: BuildEnvironment, plain_project: Path, requirement_lines: dict[str, str]
) -> None:
    """What it built is in no cache."""
    (plain_project / "requirements.txt").write_text(
        requirement_lines["alpha"] + requirement_lines["calls"]
    )
    for _ in range(2):
        output = build_refused(build_env, plain_project, "--builder", "assemble")
        assert "a step of the build tried to reach weights.example.test: build the pack" in output


def test_ctrl_c_stops_an_assembly(build_env: BuildEnvironment, plain_project: Path) -> None:
    child = start_build(build_env, plain_project, TAG, "--builder", "assemble")
    output = stop_build(child, lambda: child.send_signal(signal.SIGINT), code=130)
    assert "interrupted" in output
