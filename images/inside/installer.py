"""Makes an installed environment the same from build to build, or picks what was added to it.

usage: installer.py install VENV ARGV...           run uv; VENV/built-from-sdist names what it built
       installer.py project VENV TARGET [ARGV...]  run uv, if told to; then the files of what was
                                                installed as editable or from a folder, as VENV
                                                has them, below TARGET
Both compile what they installed, by bytecode.py beside this file.

ARGV gives uv a cache of its own and build constraints. VENV/built-with names what ran in a build;
where the constraints do not pin it, the end is 1. What holds times of this build is removed.
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

UV_CACHE_FILE = (
    "uv_cache.json"  # of a distribution that was built from a folder: the folder's times
)
SITE_PACKAGES = "lib/python*/site-packages"


def distribution_id(path: Path) -> str:
    """Name and version of a .dist-info folder or a wheel."""
    name, version = path.name.removesuffix(".dist-info").split("-")[:2]
    return f"{re.sub(r'[-_.]+', '-', name).lower()} {version}"


def write_sorted(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{one}\n" for one in sorted(lines)))


def run_uv(venv: Path, argv: list[str]) -> tuple[set[str], set[str]]:
    """Run it: what it built from an sdist, and the distributions that ran in its builds.

    The cache is the witness: each wheel that is built, and each that is unpacked for a build or
    to be installed, is in it.
    """
    if done := subprocess.run(argv, check=False).returncode:
        sys.exit(done)
    cache = Path(argv[argv.index("--cache-dir") + 1])
    pins = Path(argv[argv.index("--build-constraints") + 1]).read_text()
    pinned = {" ".join(one) for one in re.findall(r"(?m)^([^=\s]+)==([^ ;\\]+)", pins)}
    installed = {distribution_id(one) for one in venv.glob(f"{SITE_PACKAGES}/*.dist-info")}
    fetched = {distribution_id(one) for one in cache.glob("archive-v*/*/*.dist-info")}
    if strange := sorted(fetched - installed - pinned):
        sys.exit(f"{', '.join(strange)} ran in the build, and build-backends.txt does not pin it")
    built = {distribution_id(one) for one in cache.glob("sdists-v*/**/*.whl") if one.is_file()}
    shutil.rmtree(cache)  # in no layer
    return built, fetched - installed


def remove_build_times(venv: Path) -> None:
    """Remove uv_cache.json and its line in RECORD."""
    for path in venv.glob(f"{SITE_PACKAGES}/*.dist-info/{UV_CACHE_FILE}"):
        path.unlink()
        record = path.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if UV_CACHE_FILE not in line))


def copy_added(venv: Path, target: Path) -> None:
    """Copy by RECORD; direct_url.json tells that it came from a folder."""
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


def compile_bytecode(below: Path, venv: Path) -> None:
    """Bytecode of what stands below a folder as it will stand in VENV; without site's imports."""
    for site in below.glob(SITE_PACKAGES):
        later = venv / site.relative_to(below)
        words = (Path(__file__).with_name("bytecode.py"), site, later)
        if done := subprocess.run((sys.executable, "-s", "-S", *words), check=False).returncode:
            sys.exit(done)


def install_locked(venv: Path, argv: list[str]) -> None:
    """The lock's distributions."""
    built, builders = run_uv(venv, argv)
    write_sorted(venv / "built-from-sdist", built)
    write_sorted(venv / "built-with", builders)
    remove_build_times(venv)
    compile_bytecode(venv, venv)


def install_project(venv: Path, target: Path, argv: list[str]) -> None:
    """What stands in the source."""
    target.mkdir(parents=True, exist_ok=True)
    builders = run_uv(venv, argv)[1] if argv else set()
    before = (venv / "built-with").read_text().splitlines()
    write_sorted(target / "built-with", {*before, *builders})
    remove_build_times(venv)
    copy_added(venv, target)
    compile_bytecode(target, venv)


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    if verb == "install":
        install_locked(Path(folder).resolve(), rest)
    else:
        install_project(Path(folder).resolve(), Path(rest[0]), rest[1:])
