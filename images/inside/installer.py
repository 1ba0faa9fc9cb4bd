"""Install into an environment so that every build produces the same files.

usage: installer.py install VENV ARGV...           run uv; list in VENV/built-from-sdist what it
                                                   built
       installer.py environment VENV REPORT        create VENV; write to REPORT (JSON) mode and
                                                   owner of the folders above it, and above uv
       installer.py distributions VENV REPORT ARGV...
                                                   run uv; write to REPORT (JSON) the files of each
                                                   distribution, and what was built. If ARGV has
                                                   --no-build, what has no wheel is left out, and
                                                   listed
       installer.py project VENV TARGET [ARGV...]  run uv, if ARGV is given; copy the files of
                                                   distributions that are editable or installed from
                                                   a folder from VENV to the same place below TARGET

All compile what they installed with bytecode.py beside this file, and remove the times of this
build. ARGV must give uv a cache of its own and build constraints. VENV/built-with lists the
distributions that ran in a build; the exit code is 1 if the constraints do not pin one of them.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

UV_CACHE_FILE = "uv_cache.json"  # in a distribution built from a folder: the folder's times
SITE_PACKAGES = "lib/python*/site-packages"
UV_FOLDER = Path("/usr/local/bin")
# as uv says it; the second if only the hash of an sdist is locked, and there is a wheel, too
NO_WHEEL = (
    re.compile(r"Because ([\w.-]+)==\S+ has no usable wheels"),
    re.compile(r"Failed to download `([\w.-]+)==[^`]+`\s+cause: Hash mismatch"),
)


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(line: str) -> str:
    """Return the name in a line of a requirements file."""
    return normalize(re.split(r"[^\w.-]", line, maxsplit=1)[0])


def distribution_id(path: Path) -> str:
    """Return "name version" of a .dist-info folder or a wheel."""
    name, version = path.name.removesuffix(".dist-info").split("-")[:2]
    return f"{normalize(name)} {version}"


def write_sorted(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in sorted(lines)))


def run(argv: Iterable[str | Path]) -> None:
    if code := subprocess.run(tuple(argv), check=False).returncode:
        sys.exit(code)


def read_builds(venv: Path, argv: list[str]) -> tuple[set[str], set[str]]:
    """Return what uv built from an sdist, and the distributions that ran in its builds.

    Both are read from uv's cache, which has every wheel that was built, and every wheel that was
    unpacked for a build or to be installed. The cache is removed.
    """
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


def compile_bytecode(folder: Path, venv: Path, *groups: Path) -> None:
    """Compile the site-packages below a folder as if they were in VENV; or only some modules."""
    for site in folder.glob(SITE_PACKAGES):
        final = venv / site.relative_to(folder)
        # -S: a fork starts with no module that site-packages' .pth files import
        program = Path(__file__).with_name("bytecode.py")
        run((sys.executable, "-s", "-S", program, site, final, *groups))


def install_wheels(argv: list[str]) -> list[str]:
    """Run uv with --no-build, without the requirements that have no wheel; return their names.

    Once something is installed, uv does not run again: it would start the environment's Python, and
    with that the .pth files of what it has installed.
    """
    path = Path(argv[argv.index("--requirement") + 1])
    dropped: list[str] = []
    while lines := path.read_text().splitlines(keepends=True):
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        sys.stderr.write(done.stderr)
        if not done.returncode:
            break
        found = (name for pattern in NO_WHEEL for name in pattern.findall(done.stderr))
        names = set(map(normalize, found))
        kept = [line for line in lines if requirement_name(line) not in names]
        if len(kept) == len(lines):
            sys.exit(done.returncode)
        dropped += [requirement_name(line) for line in lines if line not in kept]
        path.write_text("".join(kept))
    return sorted(set(dropped))


def list_files(venv: Path) -> dict[str, list[Path]]:
    """Return the files in the RECORD of each distribution, sorted."""
    files: dict[str, list[Path]] = {}
    for record in sorted(venv.glob(f"{SITE_PACKAGES}/*.dist-info/RECORD")):
        site = record.parents[1]
        with record.open(newline="", errors="surrogateescape") as lines:
            paths = {Path(os.path.normpath(site / row[0])) for row in csv.reader(lines) if row}
        name = distribution_id(record.parent).split()[0]
        files[name] = sorted(
            path for path in paths if path.is_relative_to(venv) and os.path.lexists(path)
        )
    return files


def list_modules(venv: Path, paths: Iterable[Path]) -> list[list[Path]]:
    """Return the modules among the files of one distribution, by package.

    Another distribution may have files in the same package: what is compiled must not depend on it.
    """
    (site,) = venv.glob(SITE_PACKAGES)
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if path.is_relative_to(site) and path.suffix == ".py" and not path.is_symlink():
            groups[path.relative_to(site).parts[0]].append(path)
    return list(groups.values())


def install_locked(venv: Path, argv: list[str]) -> None:
    run(argv)
    built, builders = read_builds(venv, argv)
    write_sorted(venv / "built-from-sdist", built)
    write_sorted(venv / "built-with", builders)
    remove_build_times(venv)
    compile_bytecode(venv, venv)


def create_environment(venv: Path, report: Path) -> None:
    above = [folder for folder in (*venv.parents, *UV_FOLDER.parents, UV_FOLDER) if folder.exists()]
    folders = {str(path): path.stat() for path in above}
    run((sys.executable, "-m", "venv", "--without-pip", venv))
    result = {
        path: [stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid]
        for path, info in folders.items()
    }
    report.write_text(json.dumps({"folders": result}))


def install_distributions(venv: Path, report: Path, argv: list[str]) -> None:
    without_wheel: list[str] = []
    if "--no-build" in argv:
        without_wheel = install_wheels(argv)
    else:
        run(argv)
    built, builders = read_builds(venv, argv)
    remove_build_times(venv)
    files = list_files(venv)
    modules = {name: list_modules(venv, paths) for name, paths in files.items()}
    groups = report.with_name("groups.json")
    groups.write_text(
        json.dumps([list(map(str, group)) for several in modules.values() for group in several])
    )
    compile_bytecode(venv, venv, groups)
    for name, several in modules.items():
        bytecode = {Path(importlib.util.cache_from_source(p)) for group in several for p in group}
        files[name] += sorted(path for path in bytecode - {*files[name]} if path.exists())
    result = {
        "files": {name: list(map(str, paths)) for name, paths in files.items()},
        "built": sorted(built),
        "builders": sorted(builders),
        "without_wheel": without_wheel,
    }
    report.write_text(json.dumps(result))


def install_project(venv: Path, target: Path, argv: list[str]) -> None:
    """Install the project and the members of its workspace, and copy what they added."""
    target.mkdir(parents=True, exist_ok=True)
    builders: set[str] = set()
    if argv:
        run(argv)
        builders = read_builds(venv, argv)[1]
    earlier = (venv / "built-with").read_text().splitlines()
    write_sorted(target / "built-with", {*earlier, *builders})
    remove_build_times(venv)
    copy_added(venv, target)
    compile_bytecode(target, venv)


if __name__ == "__main__":
    command, folder, *arguments = sys.argv[1:]
    if command == "install":
        install_locked(Path(folder).resolve(), arguments)
    elif command == "environment":
        create_environment(Path(folder), Path(arguments[0]))
    elif command == "distributions":
        install_distributions(Path(folder).resolve(), Path(arguments[0]), arguments[1:])
    else:
        install_project(Path(folder).resolve(), Path(arguments[0]), arguments[1:])
