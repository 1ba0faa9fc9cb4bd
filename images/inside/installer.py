"""Install into an environment so that every build produces the same files.

usage: installer.py install VENV ARGV...           run uv; list in VENV/built-from-sdist what it
                                                   built
       installer.py project VENV TARGET [ARGV...]  run uv, if ARGV is given; copy the files of
                                                   distributions that are editable or installed from
                                                   a folder from VENV to the same place below TARGET

Both compile what they installed with bytecode.py beside this file, and remove the times of this
build. ARGV must give uv a cache of its own and build constraints. VENV/built-with lists the
distributions that ran in a build; the exit code is 1 if the constraints do not pin one of them.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

UV_CACHE_FILE = "uv_cache.json"  # in a distribution built from a folder: the folder's times
SITE_PACKAGES = "lib/python*/site-packages"


def distribution_id(path: Path) -> str:
    """Return "name version" of a .dist-info folder or a wheel."""
    name, version = path.name.removesuffix(".dist-info").split("-")[:2]
    return f"{re.sub(r'[-_.]+', '-', name).lower()} {version}"


def write_sorted(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in sorted(lines)))


def run_uv(venv: Path, argv: list[str]) -> tuple[set[str], set[str]]:
    """Run uv. Return what it built from an sdist, and the distributions that ran in its builds.

    Both are read from uv's cache, which has every wheel that was built, and every wheel that was
    unpacked for a build or to be installed.
    """
    if code := subprocess.run(argv, check=False).returncode:
        sys.exit(code)
    cache = Path(argv[argv.index("--cache-dir") + 1])
    constraints = Path(argv[argv.index("--build-constraints") + 1]).read_text()
    pins = re.findall(r"(?m)^([^=\s]+)==([^ ;\\]+)", constraints)
    pinned = {f"{name} {version}" for name, version in pins}
    installed = {distribution_id(path) for path in venv.glob(f"{SITE_PACKAGES}/*.dist-info")}
    unpacked = {distribution_id(path) for path in cache.glob("archive-v*/*/*.dist-info")}
    if unpinned := sorted(unpacked - installed - pinned):
        sys.exit(f"{', '.join(unpinned)} ran in the build, and build-backends.txt does not pin it")
    wheels = [path for path in cache.glob("sdists-v*/**/*.whl") if path.is_file()]
    built = {distribution_id(path) for path in wheels}
    shutil.rmtree(cache)  # keep it out of the layer
    return built, unpacked - installed


def remove_build_times(venv: Path) -> None:
    """Remove uv_cache.json and its line in RECORD."""
    for path in venv.glob(f"{SITE_PACKAGES}/*.dist-info/{UV_CACHE_FILE}"):
        path.unlink()
        record = path.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if UV_CACHE_FILE not in line))


def copy_added(venv: Path, target: Path) -> None:
    """Copy the files in RECORD of each distribution that direct_url.json says is from a folder."""
    for path in sorted(venv.glob(f"{SITE_PACKAGES}/*.dist-info/direct_url.json")):
        if "dir_info" not in json.loads(path.read_text()):
            continue
        site = path.parents[1]
        with path.with_name("RECORD").open(newline="") as lines:
            names = [row[0] for row in csv.reader(lines) if row]
        for name in names:
            source = (site / name).resolve()
            if source.is_relative_to(venv) and source.is_file():
                copy = target / source.relative_to(venv)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)


def compile_bytecode(folder: Path, venv: Path) -> None:
    """Compile the site-packages below a folder as if they were in VENV."""
    for site in folder.glob(SITE_PACKAGES):
        final = venv / site.relative_to(folder)
        # -S: a fork starts with no module that site-packages' .pth files import
        argv = (sys.executable, "-s", "-S", Path(__file__).with_name("bytecode.py"), site, final)
        if code := subprocess.run(argv, check=False).returncode:
            sys.exit(code)


def install_locked(venv: Path, argv: list[str]) -> None:
    built, builders = run_uv(venv, argv)
    write_sorted(venv / "built-from-sdist", built)
    write_sorted(venv / "built-with", builders)
    remove_build_times(venv)
    compile_bytecode(venv, venv)


def install_project(venv: Path, target: Path, argv: list[str]) -> None:
    """Install the project and the members of its workspace, and copy what they added."""
    target.mkdir(parents=True, exist_ok=True)
    builders = run_uv(venv, argv)[1] if argv else set()
    earlier = (venv / "built-with").read_text().splitlines()
    write_sorted(target / "built-with", {*earlier, *builders})
    remove_build_times(venv)
    copy_added(venv, target)
    compile_bytecode(target, venv)


if __name__ == "__main__":
    command, folder, *arguments = sys.argv[1:]
    if command == "install":
        install_locked(Path(folder).resolve(), arguments)
    else:
        install_project(Path(folder).resolve(), Path(arguments[0]), arguments[1:])
