"""Makes an installed environment the same from build to build, or picks what was added to it.

usage: settle.py install VENV ARGV...         run an installer; VENV/built-from-sdist names what it
                                              built, and what holds times of this build is removed
       settle.py project VENV TARGET [ARGV...]  run an installer, if any; then the files of what was
                                              installed as editable or from a folder, as VENV has
                                              them, below TARGET
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

TIMED = "uv_cache.json"  # of a distribution that was built from a folder: the folder's times


def tidy(venv: Path) -> None:
    """Remove uv_cache.json and its line in RECORD."""
    for path in venv.glob(f"lib/python*/site-packages/*.dist-info/{TIMED}"):
        path.unlink()
        record = path.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if TIMED not in line))


def added(venv: Path, target: Path) -> None:
    """Copy by RECORD; direct_url.json tells that it came from a folder."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(venv.glob("lib/python*/site-packages/*.dist-info/direct_url.json")):
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


def install(venv: Path, argv: list[str]) -> None:
    """Run uv, pass on what it says, keep which distributions it says to have built."""
    built = set()
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as uv:
        assert uv.stderr is not None
        for line in uv.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            words = line.split()
            if words[:1] == ["Built"]:
                built.add(words[1].replace("==", " "))
    if uv.returncode:
        sys.exit(uv.returncode)
    (venv / "built-from-sdist").write_text("".join(f"{one}\n" for one in sorted(built)))
    tidy(venv)


def project(venv: Path, target: Path, argv: list[str]) -> None:
    """Run uv on what stands in the source, and pick what it added."""
    done = subprocess.run(argv, check=False).returncode if argv else 0
    if done:
        sys.exit(done)
    tidy(venv)
    added(venv, target)


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    if verb == "install":
        install(Path(folder).resolve(), rest)
    else:
        project(Path(folder).resolve(), Path(rest[0]), rest[1:])
