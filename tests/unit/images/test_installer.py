"""images/inside/installer.py, run as an assembly runs it, with real uv and files of our own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import images
from images.uv import find_uv, uv_environment
from tests.wheels import make_wheel

PROGRAM = Path(images.__file__).parent / "inside/installer.py"
PYPROJECT = '[project]\nname = "{}"\nversion = "1.0"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallerRun:
    """A run of installer.py and its report, which is empty if it failed."""

    done: subprocess.CompletedProcess[str]
    report: dict[str, Any]

    def list_files(self, name: str) -> list[str]:
        """Return the files of a distribution that are not its metadata."""
        paths = [path.partition("site-packages/")[2] for path in self.report["files"][name]]
        return [path for path in paths if ".dist-info/" not in path]


def make_source_archive(folder: Path, name: str) -> Path:
    source = folder / f"{name}-1.0"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT.format(name))
    (source / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    archive = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as sdist:
        sdist.add(source, source.name)
    return archive


def install(folder: Path, *files: Path, digest: str = "") -> InstallerRun:
    """Install files, each by its hash or another one, without building any."""
    target, build = folder / "venv", folder / "build"
    venv.create(target, with_pip=False)
    build.mkdir()
    lines = [
        f"{path.name.partition('-')[0]}==1.0 "
        f"--hash=sha256:{digest or hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in files
    ]
    (build / "requirements.txt").write_text("".join(lines))
    (build / "backends.txt").write_text("")
    command = (
        *(find_uv(), "pip", "install", "--python", target / "bin/python3", "--no-deps"),
        *("--no-index", "--find-links", folder, "--no-config", "--require-hashes"),
        *("--cache-dir", build / "cache", "--build-constraints", build / "backends.txt"),
        *("--requirement", build / "requirements.txt", "--no-build"),
    )
    report = build / "report.json"
    done = subprocess.run(
        (sys.executable, PROGRAM, "distributions", target, report, *command),
        env={**uv_environment(), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = json.loads(report.read_text()) if report.exists() else {}
    return InstallerRun(done=done, report=found)


def test_lists_the_files_of_each_distribution_with_their_bytecode(tmp_path: Path) -> None:
    wheels = (make_wheel(tmp_path, name, "1.0", "A = 1\n") for name in ("one", "two"))
    installed = install(tmp_path, *wheels)
    assert installed.done.returncode == 0, installed.done.stderr
    assert sorted(installed.report["files"]) == ["one", "two"]
    tag = sys.implementation.cache_tag
    for name in ("one", "two"):
        source, bytecode = installed.list_files(name)
        assert source.endswith(".py")
        assert bytecode.endswith(f".{tag}.pyc")
    assert installed.report["built"] == []
    assert installed.report["without_wheel"] == []


def test_leaves_out_what_has_no_wheel_and_runs_none_of_it(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "one", "1.0", "A = 1\n")
    sdists = [make_source_archive(tmp_path, name) for name in ("first", "second")]
    installed = install(tmp_path, sdists[0], wheel, sdists[1])
    assert installed.done.returncode == 0, installed.done.stderr
    assert installed.report["without_wheel"] == ["first", "second"]
    assert list(installed.report["files"]) == ["one"]


def test_only_the_hash_of_an_sdist_is_locked(tmp_path: Path) -> None:
    make_wheel(tmp_path, "one", "1.0", "A = 1\n")
    installed = install(tmp_path, make_source_archive(tmp_path, "one"))
    assert installed.done.returncode == 0, installed.done.stderr
    assert installed.report["without_wheel"] == ["one"]
    assert installed.report["files"] == {}


def test_fails_for_a_wheel_of_another_platform(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "one", "1.0", "")
    other = wheel.rename(wheel.with_name(wheel.name.replace("py3-none-any", "cp27-none-win32")))
    installed = install(tmp_path, other)
    assert installed.done.returncode != 0
    assert "one" in installed.done.stderr
    assert installed.report == {}
