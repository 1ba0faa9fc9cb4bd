"""Small real projects, locked by real uv when the tests run, and a mirror to build them from."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.engine import DockerEngine
from tests.conftest import RunProgram
from tests.local.mirror_home import MirrorHome, purge_on_exit

BASE = "python:3.13-slim-trixie"
WEB_MODULE = """\
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

app = Starlette(routes=[Route("/health", lambda request: JSONResponse({"ok": True}))])

if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=8000)
"""
RECIPE = """\
kind = "application"
name = "hello"
extras = ["web"]
[[starts]]
name = "web"
argv = ["uv", "run", "--extra", "web", "python3", "-m", "hello.main"]
port = 8000
health = "/health"
seconds = 40
"""
SETUPTOOLS_BUILD = (
    '[build-system]\nrequires = ["setuptools>=61"]\nbuild-backend = "setuptools.build_meta"\n'
)
PLAIN_PROCFILE = "main: python3 -c print(42)\n"
PLAIN_PYPROJECT = '[project]\nname = "plain"\nversion = "1.0"\nrequires-python = ">=3.11"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEnvironment:
    """The program, an engine and a mirror on this machine."""

    program: RunProgram
    engine: DockerEngine
    place: MirrorHome
    index: str

    def env(self, **more: str) -> dict[str, str]:
        return {**self.place.env, "DOCKER_HOST": self.engine.host, **more}

    def build(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """`build-image` on the base that the engine has."""
        given = ("build-image", *words, "--base", BASE, "--timeout", "1500")
        return self.program(*given, env=self.env(**env), timeout=1560)

    def build_report(self, *words: str, **env: str) -> dict[str, Any]:
        """The report of a build that has to succeed."""
        done = self.build(*words, "-o", "json", **env)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        return told

    def lock(self, folder: Path) -> None:
        """`uv lock` through the mirror: the versions are the newest, and are fetched once."""
        words = ("uv", "lock", "--quiet", "--directory", str(folder))
        done = self.program(*words, env={"UV_DEFAULT_INDEX": self.index, "UV_NO_CACHE": "1"})
        assert done.returncode == 0, done.stderr

    def list_images(self) -> set[str]:
        return set(self.engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())

    def inspect(self, image: str) -> dict[str, Any]:
        (told,) = json.loads(self.engine.docker("inspect", image))
        assert isinstance(told, dict)
        return told


@contextmanager
def build_environment(
    root: Path, program: RunProgram, engine: DockerEngine, ca: Path
) -> Iterator[BuildEnvironment]:
    """A mirror for the length of a block; everything of it lies below ``root``."""
    place = MirrorHome(root, program)
    with purge_on_exit(place):
        told = place.up("--ca-bundle", str(ca))
        yield BuildEnvironment(program=program, engine=engine, place=place, index=str(told["url"]))


def run_program(
    *words: str, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """A console script, for who has no fixture `program`: benchmarks."""
    return subprocess.run(
        words,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def render_pyproject(
    *needs: str, name: str = "hello", extra: str = "", build: str = SETUPTOOLS_BUILD
) -> str:
    return (
        f'[project]\nname = "{name}"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = {json.dumps(needs)}\n"
        '[project.optional-dependencies]\nweb = ["starlette", "uvicorn"]\n'
        f"{extra}{build}"
        + (
            '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
            if build == SETUPTOOLS_BUILD
            else ""
        )
    )


def make_web_project(folder: Path, *needs: str, **files: str) -> Path:
    """A web application in the src layout; ``files``: module of its package → code."""
    modules = {f"src/hello/{name}.py": text for name, text in {"main": WEB_MODULE, **files}.items()}
    return write_files(
        folder,
        {
            "pyproject.toml": render_pyproject(*(needs or ("idna",))),
            "src/hello/__init__.py": "",
            "recipe.toml": RECIPE,
            **modules,
        },
    )


def make_plain_project(folder: Path, requirements: str = "") -> Path:
    """A project without packages, and what starts it."""
    files = {
        "pyproject.toml": PLAIN_PYPROJECT,
        "requirements.txt": requirements,
        "Procfile": PLAIN_PROCFILE,
    }
    return write_files(folder, files)


def make_sdist(target: Path, name: str, version: str, files: Path, **links: str) -> Path:
    """An sdist of a folder, written by hand; ``links``: what else is in it, path → target."""
    path = target / f"{name}-{version}.tar.gz"
    top = f"{name}-{version}"
    info = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (files / "PKG-INFO").write_text(info)
    with tarfile.open(path, "w:gz") as sdist:
        for one in sorted(files.iterdir()):
            sdist.add(one, f"{top}/{one.name}")
        for inner, to in links.items():
            entry = tarfile.TarInfo(inner)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            sdist.addfile(entry)
    return path


def copy_project(source: Path, target: Path) -> Path:
    subprocess.run(("cp", "-a", f"{source}/.", str(target)), check=True, timeout=30)
    return target


def run_git(folder: Path, *words: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    own = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ("git", "-C", str(folder), *own, *words),
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
