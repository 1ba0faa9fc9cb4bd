"""Projects of other shapes than a single package with a uv.lock, built and proved by real parts.

Each has its start command in a Dockerfile or a Procfile, as the projects that people have.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from tests.images.projects import (
    PLAIN_PYPROJECT,
    BuildEnvironment,
    make_sdist,
    run_git,
    write_files,
)

pytestmark = [pytest.mark.engine, pytest.mark.index]

SERVER = """\
import http.server, os, sys

port = int(sys.argv[sys.argv.index("--port") + 1])
print("in", os.getcwd(), flush=True)
http.server.ThreadingHTTPServer(("", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
MEMBER = (
    '[project]\nname = "{name}"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n'
    'readme = "README.md"\n{more}[build-system]\nrequires = ["hatchling"]\n'
    'build-backend = "hatchling.build"\n'
)
VERSIONED = (
    '[project]\nname = "shop-api"\ndynamic = ["version"]\nrequires-python = ">=3.11"\n'
    'readme = "README.md"\ndependencies = ["shop-core", "idna"]\n'
    '[build-system]\nrequires = ["hatchling", "hatch-vcs"]\nbuild-backend = "hatchling.build"\n'
    '[tool.hatch.version]\nsource = "vcs"\nraw-options = { root = "../.." }\n'
)


def run_in(build_env: BuildEnvironment, image: str, program: str) -> str:
    """Return what a Python program prints in an image without a network."""
    argv = ("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-c", program)
    return build_env.engine.docker(*argv).strip()


def read_pin(build_env: BuildEnvironment, folder: Path, name: str) -> tuple[str, str, str]:
    """Lock a project that needs one package; return its version, and name and hash of its wheel."""
    need = f'dependencies = ["{name}"]\n'
    write_files(folder, {"pyproject.toml": PLAIN_PYPROJECT + need})
    build_env.lock(folder)
    packages = tomllib.loads((folder / "uv.lock").read_text())["package"]
    (package,) = (package for package in packages if package["name"] == name)
    wheel = package["wheels"][0]
    return package["version"], wheel["url"].rpartition("/")[2], wheel["hash"]


def test_a_member_of_a_workspace_has_its_version_from_git(
    build_env: BuildEnvironment, tmp_path: Path
) -> None:
    """Its .dockerignore hides what the build reads, and it starts in its own folder."""
    project = "python3 -c 'print(1)'"
    write_files(
        tmp_path,
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["apps/*", "libs/*"]\n'
            "[tool.uv.sources]\nshop-core = { workspace = true }\n",
            ".dockerignore": "**/*.md\n.git\n",
            "apps/api/pyproject.toml": VERSIONED,
            "apps/api/README.md": "the api",
            "apps/api/src/shop_api/__init__.py": "import shop_core\n",
            "apps/api/serve.py": SERVER,
            "apps/api/Dockerfile": "FROM python:3.11-slim\nWORKDIR /srv/shop/apps/api\n"
            f"COPY . /srv/shop\nENV PORT=8123\nRUN {project}\nEXPOSE 8123\n"
            'CMD test -n "$PORT" && exec python serve.py --port $PORT\n',
            "apps/worker/pyproject.toml": MEMBER.format(name="worker", more=""),
            "apps/worker/README.md": "",
            "apps/worker/src/worker/__init__.py": "",
            "libs/core/pyproject.toml": MEMBER.format(name="shop-core", more=""),
            "libs/core/README.md": "",
            "libs/core/src/shop_core/__init__.py": "",
        },
    )
    run_git(tmp_path, "init", "--quiet")
    run_git(tmp_path, "add", ".")
    run_git(tmp_path, "commit", "--quiet", "--message", "x")
    run_git(tmp_path, "tag", "v1.8.0")
    build_env.lock(tmp_path)
    member = tmp_path / "apps/api"
    explained = build_env.program("build-image", str(member), "--explain", timeout=60)
    assert "apps/api/Dockerfile:5: python3 -c 'print(1)'" in explained.stdout
    report = build_env.build_report(str(member), "--tag", "shop:1")
    names = {entry["name"]: entry["version"] for entry in report["distributions"]}
    assert (names["shop-api"], names["shop-core"]) == ("1.8.0", "0.1.0")
    assert "worker" not in names
    assert not [fault for check in report["proof"] for fault in check["faults"]]
    listing = "import os; print(sorted(os.listdir('/srv/shop')), os.getcwd(), os.listdir('../'))"
    assert run_in(build_env, "shop:1", listing) == (
        "['.dockerignore', '.venv', 'apps', 'libs', 'pyproject.toml', 'uv.lock'] "
        "/srv/shop/apps/api ['api']"
    )


def test_requirements_a_procfile_and_steps_of_the_project(
    build_env: BuildEnvironment, tmp_path: Path
) -> None:
    """No pyproject.toml; names of files that no encoding fits; two builds have the same files."""
    version, _, digest = read_pin(build_env, tmp_path / "lock", "idna")
    folder = write_files(
        tmp_path / "site",
        {
            "requirements/production.txt": "-r base.txt\n",
            "requirements/base.txt": f"idna=={version} --hash={digest}\n",
            "Procfile": "web: python serve.py --port $PORT\nrelease: python manage.py migrate\n",
            "serve.py": SERVER,
            "manage.py": "import os, pathlib, sys\n"
            "made = pathlib.Path('static'); made.mkdir(exist_ok=True)\n"
            "(made / 'made').write_text(os.environ['KEY'] + sys.argv[1])\n",
            "Dockerfile": "FROM python:3.11-slim\nCOPY . /app\nWORKDIR /app\n"
            "RUN KEY=x python manage.py collectstatic --noinput\n",
        },
    )
    for name in (b"gr\xfcn", b"two\nlines", b'with "quotes" and $dollar', b"a" * 180):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_text("x")
    (folder / "broken-link").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    report = build_env.build_report(str(folder), "--tag", "site:1")
    assert not [fault for check in report["proof"] for fault in check["faults"]]
    made = "import pathlib; p = pathlib.Path('static/made'); print(p.read_text(), p.owner())"
    assert run_in(build_env, "site:1", made) == "xcollectstatic app"
    again = build_env.build_report(str(folder), "--tag", "site:2", "--no-proof", "--no-cache")
    assert again["files_sha256"] == report["files_sha256"]


def test_locks_of_other_tools(build_env: BuildEnvironment, tmp_path: Path) -> None:
    """A lock of Poetry, then a pylock.toml of PDM; what their other groups need is left out."""
    idna, six = (read_pin(build_env, tmp_path / name, name) for name in ("idna", "six"))
    poetry = "".join(
        f'[[package]]\nname = "{name}"\nversion = "{pin[0]}"\ngroups = ["{group}"]\n'
        f'files = [{{ file = "{pin[1]}", hash = "{pin[2]}" }}]\n'
        for name, pin, group in (("idna", idna, "main"), ("six", six, "dev"))
    )
    pylock = (
        'lock-version = "1.0"\ncreated-by = "pdm"\ndependency-groups = ["default", "lint"]\n'
        'default-groups = ["default"]\n'
    ) + "".join(
        f'[[packages]]\nname = "{name}"\nversion = "{pin[0]}"\n'
        f'marker = "\'{group}\' in dependency_groups"\nwheels = [{{ name = "{pin[1]}", '
        f'url = "{build_env.index}{pin[1]}", '
        f'hashes = {{ sha256 = "{pin[2].removeprefix("sha256:")}" }} }}]\n'
        for name, pin, group in (("idna", idna, "default"), ("six", six, "lint"))
    )
    folder = write_files(
        tmp_path / "project",
        {
            "pyproject.toml": '[tool.poetry]\nname = "own"\nversion = "1"\n'
            '[tool.poetry.dependencies]\npython = "^3.11"\nidna = "*"\n',
            "Procfile": "web: python serve.py --port 8000\n",
            "serve.py": SERVER,
            "poetry.lock": poetry + '[metadata]\nlock-version = "2.1"\n',
        },
    )
    for number, extra in ((1, {}), (2, {"pylock.toml": pylock})):
        write_files(folder, extra)
        report = build_env.build_report(str(folder), "--tag", f"own:{number}")
        assert [entry["name"] for entry in report["distributions"]] == ["idna"]
        assert report["lock"] == ("pylock.toml" if extra else "poetry.lock")
        assert not [fault for check in report["proof"] for fault in check["faults"]]


def test_builds_with_the_backend_that_the_project_asks_for(
    build_env: BuildEnvironment, tmp_path: Path
) -> None:
    """An sdist needs an older setuptools than the pinned one; the project says so."""
    needs_old = "import setuptools\n\nassert setuptools.__version__.startswith('79.'), 'too new'\n"
    files = write_files(
        tmp_path / "old-style",
        {
            "setup.py": needs_old + 'setuptools.setup(name="old-style", version="1.0")\n',
            "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n'
            'build-backend = "setuptools.build_meta"\n',
        },
    )
    sdist = make_sdist(tmp_path, "old-style", "1.0", files)
    result = build_env.mirror_home.run_mirror("add", str(sdist))
    assert result.returncode == 0, result.stderr
    folder = write_files(
        tmp_path / "project",
        {
            "pyproject.toml": PLAIN_PYPROJECT + 'dependencies = ["old-style"]\n'
            '[tool.uv]\nbuild-constraint-dependencies = ["setuptools<80"]\n',
            "Procfile": "web: python serve.py --port 8000\n",
            "serve.py": SERVER,
        },
    )
    build_env.lock(folder)
    report = build_env.build_report(str(folder), "--tag", "old:1")
    assert [line.partition(" (")[0] for line in report["built_from_sdist"]] == ["old-style 1.0"]
    (setuptools,) = (name for name in report["built_with"] if name.startswith("setuptools "))
    assert setuptools.startswith("setuptools 79.")


def test_says_first_that_the_python_of_the_base_does_not_fit(
    build_env: BuildEnvironment, tmp_path: Path
) -> None:
    """The name of the image does not tell its version: the image is asked, before all else."""
    build_env.engine.docker("tag", "python:3.13-slim-trixie", "own/base:1")
    write_files(
        tmp_path,
        {
            "pyproject.toml": PLAIN_PYPROJECT.replace(">=3.11", ">=3.11,<3.13"),
            "Procfile": "web: python serve.py --port 8000\n",
        },
    )
    build_env.lock(tmp_path)
    result = build_env.program(
        "build-image", str(tmp_path), "--base", "own/base:1", env=build_env.env(), timeout=300
    )
    assert result.returncode == 2, result.stderr
    assert "the base image own/base:1 has Python 3.13" in result.stderr
    assert "pyproject.toml:4: requires-python >=3.11,<3.13" in result.stderr
    assert "--base python:3.12-slim-bookworm" in result.stderr
