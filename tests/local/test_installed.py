"""The wheel in clean environments: on each Python that this machine has, and by `uv tool`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from mirror.version import VERSION
from tests import REPOSITORY
from tests.distribution import build_distributions
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel

RUNNING = "{}.{}".format(*sys.version_info)
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@cache
def find_python(version: str) -> str | None:
    """Return an interpreter of this minor version: on the PATH, of pyenv, or of uv."""
    if version == RUNNING:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    uv = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "uv/python"
    found = (
        shutil.which(f"python{version}"),
        *sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}"))),
        *sorted(map(str, uv.glob(f"cpython-{version}.*/bin/python{version}"))),
    )
    return next((path for path in found if path and _runs(path, version)), None)


def _runs(path: str, version: str) -> bool:
    """Whether it is that version: a shim of pyenv is there for versions that it does not run."""
    script = "import sys; print('{}.{}'.format(*sys.version_info))"
    done = subprocess.run((path, "-c", script), capture_output=True, text=True, timeout=30)
    return done.stdout.strip() == version


class Installation:
    """A clean environment's folder of programs, and a user who has nothing else of ours."""

    def __init__(self, programs: Path, home: Path) -> None:
        self._programs = programs
        self._env = {"PATH": f"{programs}:{_SYSTEM_PATH}", "HOME": str(home), "LANG": "C.UTF-8"}
        self._home = home

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._programs / argv[0]), *argv[1:]],
            env=self._env | dict(env or {}),
            cwd=self._home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def print(self, *argv: str) -> str:
        """Run a program that must succeed; return what it prints."""
        done = self.run(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_distributions(tmp_path_factory.mktemp("dist"))[1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def run_uv(*argv: str, env: Mapping[str, str] | None = None) -> None:
    subprocess.run(
        ("uv", *argv), cwd=REPOSITORY, env={**os.environ, **(env or {})}, timeout=600, check=True
    )


@pytest.mark.index
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_runs_on(version: str, wheel: Path, home: Path, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    environment = tmp_path / "env"
    run_uv("venv", "-q", "--python", python, str(environment))
    install = ("pip", "install", "-q", "--python", str(environment / "bin/python"))
    run_uv(*install, "--require-hashes", "--requirement", "requirements/runtime.txt")
    run_uv(*install, "--no-deps", str(wheel))
    check_programs(Installation(environment / "bin", home))
    use_mirror(Installation(environment / "bin", home), tmp_path)


@pytest.mark.index
def test_uv_tool_installs_it_as_the_readme_says(home: Path, tmp_path: Path) -> None:
    (command,) = (
        line.split("#")[0].split()
        for line in (REPOSITORY / "README.md").read_text().splitlines()
        if line.startswith("uv tool install")
    )
    programs = tmp_path / "bin"
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(programs)}
    run_uv(*command[1:], "--python", sys.executable, env=folders)
    assert sorted(path.name for path in programs.iterdir()) == [
        "build-image",
        "kubectl-mirror",
        "mirror",
    ]
    check_programs(Installation(programs, home))


def check_programs(installed: Installation) -> None:
    """Run what reads the package's data, without a cluster or an engine."""
    assert installed.print("mirror", "--version") == f"mirror, version {VERSION}\n"
    assert installed.print("kubectl-mirror", "--version") == f"kubectl mirror, version {VERSION}\n"
    recipes = installed.print("build-image", "--list").splitlines()
    assert [line.split()[0] for line in recipes] == ["chronicle", "mirror"]
    manifests = installed.print("mirror", "manifests", "--image", "m:1")
    assert manifests.count("\nkind: ") == 6
    assert "dns.answers" in installed.print("mirror", "doctor", "--explain", "dns.answers")
    assert installed.print("mirror", "completion", "bash").startswith("_mirror_completion() {")


def use_mirror(installed: Installation, folder: Path) -> None:
    """Start a mirror, add a package, install it, and remove everything."""
    home = MirrorHome(folder / "user", installed.run)
    try:
        assert home.up()["state"] == "running"
        package = make_wheel(folder, "house-lib", "1.0", "x = 1\n")
        added = home.run_mirror("add", str(package))
        assert added.returncode == 0, added.stderr
        url = f"http://127.0.0.1:{home.port}/workloads/stable/+simple/"
        target = folder / "target"
        install = ("pip", "install", "-q", "--no-cache", "--target", str(target), "house-lib")
        run_uv(*install, env={"UV_DEFAULT_INDEX": url})
        assert (target / "house_lib.py").read_text() == "x = 1\n"
    finally:
        assert home.run_mirror("down", "--purge", "--yes").returncode == 0
    assert home.list_pids() == []
