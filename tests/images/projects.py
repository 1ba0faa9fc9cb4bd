"""Small real projects, locked by real uv during the tests, and what is needed to build them."""

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
PLAIN_PROCFILE = "main: python3 -c 'print(42)'\n"
PLAIN_PYPROJECT = '[project]\nname = "plain"\nversion = "1.0"\nrequires-python = ">=3.11"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEnvironment:
    """The programs, an engine and a local mirror."""

    program: RunProgram
    engine: DockerEngine
    mirror_home: MirrorHome
    index: str

    def env(self, **extra: str) -> dict[str, str]:
        cache = str(self.mirror_home.root / "cache")
        own = {"DOCKER_HOST": self.engine.host, "XDG_CACHE_HOME": cache}
        return {**self.mirror_home.env, **own, **extra}

    def build(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `build-image` with the base image that the engine has."""
        argv = ("build-image", *arguments, "--base", BASE, "--timeout", "1500")
        return self.program(*argv, env=self.env(**env), timeout=1560)

    def build_report(self, *arguments: str, **env: str) -> dict[str, Any]:
        """Return the report of a build that must succeed."""
        result = self.build(*arguments, "-o", "json", **env)
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        assert isinstance(report, dict)
        return report

    def lock(self, folder: Path) -> None:
        """Run `uv lock` with the mirror: the newest versions, each downloaded once."""
        arguments = ("uv", "lock", "--quiet", "--directory", str(folder))
        result = self.program(*arguments, env={"UV_DEFAULT_INDEX": self.index, "UV_NO_CACHE": "1"})
        assert result.returncode == 0, result.stderr

    def list_images(self) -> set[str]:
        return set(self.engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())

    def inspect(self, image: str) -> dict[str, Any]:
        (details,) = json.loads(self.engine.docker("inspect", image))
        assert isinstance(details, dict)
        return details


@contextmanager
def build_environment(
    root: Path, program: RunProgram, engine: DockerEngine, ca: Path
) -> Iterator[BuildEnvironment]:
    """Run a mirror for the length of a block, with all its files below ``root``."""
    mirror_home = MirrorHome(root, program)
    with purge_on_exit(mirror_home):
        status = mirror_home.up("--ca-bundle", str(ca))
        yield BuildEnvironment(
            program=program, engine=engine, mirror_home=mirror_home, index=str(status["url"])
        )


def run_program(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a console script; for benchmarks, which have no fixture `program`."""
    return subprocess.run(
        arguments,
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


def with_recipe(folder: Path) -> tuple[str, ...]:
    """Return the arguments of `build-image` for a project with a recipe.toml."""
    return str(folder), "--recipe", str(folder / "recipe.toml")


def make_web_project(folder: Path, *needs: str, **files: str) -> Path:
    """Write a web application in the src layout; ``files`` maps modules of its package to code."""
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
    """Write a project without packages, with a Procfile."""
    files = {
        "pyproject.toml": PLAIN_PYPROJECT,
        "requirements.txt": requirements,
        "Procfile": PLAIN_PROCFILE,
    }
    return write_files(folder, files)


def make_sdist(target: Path, name: str, version: str, files: Path, **links: str) -> Path:
    """Write an sdist of a folder, with symbolic links (path → target)."""
    archive = target / f"{name}-{version}.tar.gz"
    top = f"{name}-{version}"
    info = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (files / "PKG-INFO").write_text(info)
    with tarfile.open(archive, "w:gz") as sdist:
        for path in sorted(files.iterdir()):
            sdist.add(path, f"{top}/{path.name}")
        for inner, to in links.items():
            entry = tarfile.TarInfo(inner)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            sdist.addfile(entry)
    return archive


def copy_project(source: Path, target: Path) -> Path:
    subprocess.run(("cp", "-a", f"{source}/.", str(target)), check=True, timeout=30)
    return target


def run_git(folder: Path, *arguments: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    own = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main")
    result = subprocess.run(
        ("git", "-C", str(folder), *own, *arguments),
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip()
