"""One project with every kind of source: what no index has, what has to be compiled, a workspace.

Its lock points to an index that is not there.
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

print("sum", sum(one.add(1, 1) for one in (beside, fastadd, fromgit, fromurl, member)))
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


def pyproject(name: str, *needs: str, more: str = "") -> str:
    return (
        f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = {json.dumps(needs)}\n{more}{SETUPTOOLS_BUILD}"
    )


def module(folder: Path, name: str) -> Path:
    """A project with one module."""
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
def sink(shop: BuildEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project, as long as its origins can be reached."""
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
    done = shop.place.run_mirror("add", str(sdist))
    assert done.returncode == 0, done.stderr
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
        texts = {"pyproject.toml": pyproject("sink", *needs, more=sources) + where}
        texts |= {"src/sink/__init__.py": "", "src/sink/main.py": MAIN, "recipe.toml": RECIPE}
        write_files(folder, texts)
        shop.lock(folder)
        lock = folder / "uv.lock"
        text, count = re.subn(r'registry = "[^"]+"', f'registry = "{ELSEWHERE}"', lock.read_text())
        lock.write_text(re.sub(r'http://[^"]*/\+f/', f"{ELSEWHERE}f/", text))
        assert count
        assert shop.index not in lock.read_text()
        yield folder


@pytest.fixture(scope="module")
def told(shop: BuildEnvironment, sink: Path) -> dict[str, Any]:
    words = (str(sink), "--recipe", str(sink / "recipe.toml"), "--tag", "sink:1")
    return shop.build_report(*words, "--apt-mirror", debian_mirror())


def test_all_of_it_is_in_the_image_and_runs(shop: BuildEnvironment, told: dict[str, Any]) -> None:
    names = {one["name"]: one["version"] for one in told["distributions"]}
    assert {"fastadd", "fromgit", "fromurl", "beside", "member", "sink"} <= set(names)
    assert not [fault for one in told["proof"] for fault in one["faults"]]
    assert "sum 10" in shop.engine.docker("run", "--rm", "--network", "none", "sink:1")


def test_the_lock_points_off_the_mirror_and_nothing_else_is_called(told: dict[str, Any]) -> None:
    assert told["relayed"] > 0
    assert told["elsewhere"] == 0


def test_git_url_and_path_are_wheels_in_the_private_index(
    shop: BuildEnvironment, told: dict[str, Any]
) -> None:
    vendored = {one["name"]: one for one in told["vendored"]}
    assert set(vendored) == {"fromgit", "fromurl", "beside"}
    assert vendored["fromgit"]["origin"].startswith("git+file://")
    hashes = {one["name"]: one["hashes"] for one in told["distributions"]}
    for name, one in vendored.items():
        assert hashes[name] == [f"sha256:{one['sha256']}"]
        page = httpx.get(f"{shop.index}{name}/", headers={"Accept": "text/html"}, timeout=60).text
        assert one["filename"] in page
        assert one["sha256"] in page


def test_the_extension_is_compiled_by_a_pinned_backend_and_no_compiler_is_left(
    shop: BuildEnvironment, told: dict[str, Any]
) -> None:
    (built,) = told["built_from_sdist"]
    assert built.startswith("fastadd 1.0 (setuptools")
    pins = (Path(__file__).parents[2] / "images/recipes/build-backends.txt").read_text()
    assert told["built_with"]
    for one in told["built_with"]:
        assert "{}=={} ".format(*one.split()) in pins
    run = ("run", "--rm", "--network", "none", "sink:1", "sh", "-c")
    assert "none" in shop.engine.docker(*run, "command -v gcc || echo none")


def test_a_second_build_holds_the_same_files_and_no_password(
    shop: BuildEnvironment, sink: Path, told: dict[str, Any], tmp_path: Path
) -> None:
    """Compiled again, from nothing; one source is given by a URL with a password."""
    archive, report = tmp_path / "sink.tar", tmp_path / "report.json"
    url = re.search(r'fromurl = \{ url = "http://([^"]+)"', (sink / "pyproject.toml").read_text())
    assert url
    done = shop.build(
        *(str(sink), "--recipe", str(sink / "recipe.toml"), "--tag", "sink:2", "--no-cache"),
        *("--vendor", f"fromurl=http://user:{CANARY}@{url[1]}", "--no-proof"),
        *("--output", str(archive), "--report", str(report), "-o", "json"),
    )
    assert done.returncode == 0, done.stderr
    again = json.loads(report.read_text())
    assert again["files_sha256"] == told["files_sha256"]
    assert json.loads(done.stdout) == again
    logs = "".join(one.read_text() for one in (shop.place.root / "state").rglob("*.log"))
    history = shop.engine.docker("history", "--no-trunc", "sink:2")
    for text in (done.stdout, done.stderr, logs, history, json.dumps(shop.inspect("sink:2"))):
        assert text
        assert CANARY not in text
    assert CANARY.encode() not in archive.read_bytes()
    shop.engine.docker("rmi", "sink:2")
    shop.engine.load(archive)
    assert shop.inspect("sink:2")["Id"] == again["id"]
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
