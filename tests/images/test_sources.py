"""A project with every kind of source: git, URL, path, workspace, and a C extension.

Its lock points to an index that does not exist.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.debian import debian_mirror
from tests.images.projects import (
    SETUPTOOLS_BUILD,
    BuildEnvironment,
    make_sdist,
    run_git,
    with_recipe,
    write_files,
)
from tests.wheels import make_wheel

pytestmark = [pytest.mark.engine, pytest.mark.index]

ELSEWHERE = "http://index.example.test/simple/"
CANARY = "canary-97b2e0d4"
MODULE = "def add(a: int, b: int) -> int:\n    return a + b\n"
EXTENSION = """\
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *add(PyObject *self, PyObject *args) {
    long a, b;
    if (!PyArg_ParseTuple(args, "ll", &a, &b)) return NULL;
    return PyLong_FromLong(a + b);
}
static PyMethodDef methods[] = {{"add", add, METH_VARARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fastadd", NULL, -1, methods};
PyMODINIT_FUNC PyInit_fastadd(void) { return PyModule_Create(&module); }
"""
SETUP = """\
from setuptools import Extension, setup

setup(ext_modules=[Extension("fastadd", ["fastadd.c"])])
"""
MAIN = """\
import beside
import fastadd
import fromgit
import fromurl
import member

print("sum", sum(module.add(1, 1) for module in (beside, fastadd, fromgit, fromurl, member)))
"""
RECIPE = """\
kind = "application"
name = "sink"
build_packages = ["gcc", "libc6-dev", "python3-dev"]
[[starts]]
name = "main"
argv = ["uv", "run", "python3", "-m", "sink.main"]
seconds = 20
"""


def pyproject(name: str, *needs: str, tables: str = "") -> str:
    return (
        f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = {json.dumps(needs)}\n{tables}{SETUPTOOLS_BUILD}"
    )


def module(folder: Path, name: str) -> Path:
    """Write a project with one module."""
    only = f'[tool.setuptools]\npy-modules = ["{name}"]\n'
    return write_files(folder, {"pyproject.toml": pyproject(name) + only, f"{name}.py": MODULE})


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def project(
    build_env: BuildEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The project; its origins can be reached until the last test of this file."""
    root = tmp_path_factory.mktemp("sink")
    repository = module(root / "fromgit", "fromgit")
    run_git(repository, "init", "--quiet")
    run_git(repository, "add", ".")
    run_git(repository, "commit", "--quiet", "--message", "x")
    module(root / "beside", "beside")
    files = write_files(
        root / "fastadd", {"pyproject.toml": pyproject("fastadd"), "setup.py": SETUP}
    )
    (files / "fastadd.c").write_text(EXTENSION)
    sdist = make_sdist(root, "fastadd", "1.0", files)
    result = build_env.mirror_home.run_mirror("add", str(sdist))
    assert result.returncode == 0, result.stderr
    (root / "web").mkdir()
    wheel = make_wheel(root / "web", "fromurl", "1.0", MODULE)
    with served(root / "web") as url:
        sources = (
            "[tool.uv.sources]\n"
            f'fromgit = {{ git = "file://{repository}" }}\n'
            f'fromurl = {{ url = "{url}/{wheel.name}" }}\n'
            'beside = { path = "../beside" }\n'
            "member = { workspace = true }\n"
            '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
        )
        needs = ("fastadd", "fromgit", "fromurl", "beside", "member")
        folder = root / "project"
        module(folder / "packages/member", "member")
        where = '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
        texts = {"pyproject.toml": pyproject("sink", *needs, tables=sources) + where}
        texts |= {"src/sink/__init__.py": "", "src/sink/main.py": MAIN, "recipe.toml": RECIPE}
        write_files(folder, texts)
        build_env.lock(folder)
        lock = folder / "uv.lock"
        text, count = re.subn(r'registry = "[^"]+"', f'registry = "{ELSEWHERE}"', lock.read_text())
        lock.write_text(re.sub(r'http://[^"]*/\+f/', f"{ELSEWHERE}f/", text))
        assert count
        assert build_env.index not in lock.read_text()
        yield folder


@pytest.fixture(scope="module")
def report(build_env: BuildEnvironment, project: Path) -> dict[str, Any]:
    arguments = (*with_recipe(project), "--tag", "sink:1")
    return build_env.build_report(*arguments, "--apt-mirror", debian_mirror())


def test_the_image_has_every_distribution_and_runs(
    build_env: BuildEnvironment, report: dict[str, Any]
) -> None:
    names = {entry["name"]: entry["version"] for entry in report["distributions"]}
    assert {"fastadd", "fromgit", "fromurl", "beside", "member", "sink"} <= set(names)
    assert not [fault for check in report["proof"] for fault in check["faults"]]
    assert "sum 10" in build_env.engine.docker("run", "--rm", "--network", "none", "sink:1")


def test_the_build_calls_nothing_but_the_mirror(report: dict[str, Any]) -> None:
    assert report["relayed"] > 0
    assert report["elsewhere"] == 0


def test_vendors_git_url_and_path_sources(
    build_env: BuildEnvironment, report: dict[str, Any]
) -> None:
    vendored = {entry["name"]: entry for entry in report["vendored"]}
    assert set(vendored) == {"fromgit", "fromurl", "beside"}
    assert vendored["fromgit"]["origin"].startswith("git+file://")
    hashes = {entry["name"]: entry["hashes"] for entry in report["distributions"]}
    for name, entry in vendored.items():
        assert hashes[name] == [f"sha256:{entry['sha256']}"]
        page = httpx.get(
            f"{build_env.index}{name}/", headers={"Accept": "text/html"}, timeout=60
        ).text
        assert entry["filename"] in page
        assert entry["sha256"] in page


def test_compiles_with_a_pinned_backend_and_leaves_no_compiler(
    build_env: BuildEnvironment, report: dict[str, Any]
) -> None:
    (built,) = report["built_from_sdist"]
    assert built.startswith("fastadd 1.0 (setuptools")
    pins = (Path(__file__).parents[2] / "images/recipes/build-backends.txt").read_text()
    assert report["built_with"]
    for backend in report["built_with"]:
        assert "{}=={} ".format(*backend.split()) in pins
    run = ("run", "--rm", "--network", "none", "sink:1", "sh", "-c")
    assert "none" in build_env.engine.docker(*run, "command -v gcc || echo none")


def test_a_second_build_has_the_same_files_and_no_password(
    build_env: BuildEnvironment, project: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    """Built again without a cache; one source is given by a URL with a password."""
    archive, report_file = tmp_path / "sink.tar", tmp_path / "report.json"
    url = re.search(
        r'fromurl = \{ url = "http://([^"]+)"', (project / "pyproject.toml").read_text()
    )
    assert url
    result = build_env.build(
        *(
            *with_recipe(project),
            "--tag",
            "sink:2",
            "--no-cache",
        ),
        *("--vendor", f"fromurl=http://user:{CANARY}@{url[1]}", "--no-proof"),
        *("--output", str(archive), "--report", str(report_file), "-o", "json"),
    )
    assert result.returncode == 0, result.stderr
    again = json.loads(report_file.read_text())
    assert again["files_sha256"] == report["files_sha256"]
    assert json.loads(result.stdout) == again
    logs = "".join(
        path.read_text() for path in (build_env.mirror_home.root / "state").rglob("*.log")
    )
    history = build_env.engine.docker("history", "--no-trunc", "sink:2")
    for text in (
        result.stdout,
        result.stderr,
        logs,
        history,
        json.dumps(build_env.inspect("sink:2")),
    ):
        assert text
        assert CANARY not in text
    assert CANARY.encode() not in archive.read_bytes()
    build_env.engine.docker("rmi", "sink:2")
    build_env.engine.load(archive)
    assert build_env.inspect("sink:2")["Id"] == again["id"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
