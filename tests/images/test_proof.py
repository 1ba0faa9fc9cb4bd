"""Images that reach out are refused, and the proof names who calls whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from images.application_recipe import load_application_recipe
from images.engine import EngineClient
from images.project_lock import ProjectLock
from images.proof import ProofSubject, distributions
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from mirror.lock import PinnedDistribution
from tests.images.projects import RECIPE, BuildEnvironment

pytestmark = [pytest.mark.engine, pytest.mark.index]

DOWNLOAD = """\
import urllib.request

try:
    urllib.request.urlopen("http://models.example.test/weights.bin", timeout=3)
except OSError:
    pass
"""
AT_START = """\
import threading
import urllib.request


def fetch() -> None:
    urllib.request.urlopen("http://late.example.test/model", timeout=3)


threading.Thread(target=fetch).start()
"""
LITERAL = """\
import socket

try:
    socket.create_connection(("192.0.2.7", 8443), timeout=3)
except OSError:
    pass
"""


def refused(shop: BuildEnvironment, project: Path, recipe: str = RECIPE) -> str:
    """What is said of an image that fails its proof; its name goes to nothing."""
    (project / "recipe.toml").write_text(recipe)
    words = (str(project), "--recipe", str(project / "recipe.toml"), "--tag", "hello:refused")
    done = shop.build(*words)
    assert done.returncode == 1, done.stderr
    assert "did not pass its proof and was given no name" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hello:refused" not in shop.list_images()
    return done.stderr


def test_an_import_that_downloads(shop: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/weights.py").write_text(DOWNLOAD)
    said = refused(shop, project)
    assert "imports: it tries to reach models.example.test" in said
    assert "hello.weights (while imported)" in said
    assert "imports.py" in said, "the process is named"


def test_a_host_that_the_recipe_expects(shop: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/weights.py").write_text(DOWNLOAD)
    recipe = RECIPE.replace("[[starts]]", 'expected_hosts = ["*.example.test"]\n[[starts]]')
    (project / "recipe.toml").write_text(recipe)
    told = shop.build_report(str(project), "--recipe", str(project / "recipe.toml"))
    tried = [one["host"] for check in told["proof"] for one in check["tried"]]
    assert "models.example.test" in tried, "it is allowed, and told all the same"


def test_a_model_fetched_at_the_start(shop: BuildEnvironment, project: Path) -> None:
    main = project / "src/hello/main.py"
    main.write_text(AT_START + main.read_text())
    recipe = RECIPE.replace("[[starts]]", 'imports = ["hello.nothing"]\n[[starts]]')
    (project / "src/hello/nothing.py").write_text("")
    said = refused(shop, project, recipe)
    assert "starts: web: it tries to reach late.example.test" in said
    assert "hello.main" in said or "__main__" in said


def test_an_address_that_needs_no_name(shop: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/literal.py").write_text(LITERAL)
    said = refused(shop, project)
    assert "it tries to reach 192.0.2.7:8443" in said
    assert "hello.literal (while imported)" in said


def test_uv_run_that_syncs(shop: BuildEnvironment, project: Path) -> None:
    """uv is no Python program: the watcher finds its process by the socket."""
    recipe = RECIPE + '[starts.environment]\nUV_NO_SYNC = "0"\nUV_OFFLINE = "0"\nUV_FROZEN = "0"\n'
    recipe += 'UV_DEFAULT_INDEX = "http://index.example.test/simple/"\n'
    said = refused(shop, project, recipe)
    assert "web: it tries to reach index.example.test by uv run" in said


def test_a_module_that_does_not_import(shop: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/broken.py").write_text("import not_there\n")
    said = refused(shop, project)
    assert "imports: hello.broken does not import: ModuleNotFoundError" in said
    listed = RECIPE.replace("[[starts]]", '[import_failures]\n"hello.main" = "why"\n[[starts]]')
    said = refused(shop, project, listed)
    assert "hello.main imports, or is gone" in said


def test_a_start_that_ends(shop: BuildEnvironment, project: Path) -> None:
    said = refused(shop, project, RECIPE.replace("hello.main", "hello.nowhere"))
    assert "web: ended with 1" in said
    assert "No module named hello.nowhere" in said


def test_a_missing_wheel(shop: BuildEnvironment, engine: EngineClient, locked: Path) -> None:
    recipe = load_application_recipe(locked / "recipe.toml")
    told = shop.build_report(str(locked), "--recipe", str(locked / "recipe.toml"), "--no-proof")
    pins = (
        PinnedDistribution(name="not-installed", specifier="==1.0"),
        PinnedDistribution(name="idna", specifier="==0.1"),
        PinnedDistribution(name="for-windows", specifier="==1.0", marker="sys_platform == 'win32'"),
    )
    subject = ProofSubject(
        engine=engine,
        image=told["id"],
        recipe=replace(recipe),
        lock=ProjectLock(file="uv.lock", sha256="", pins=pins, members=()),
        packages=("hello",),
        progress=SILENT,
        deadline=Deadline.after(60),
    )
    faults = distributions.check(subject).faults
    assert faults[0] == "not-installed 1.0 is locked and not installed"
    assert faults[1].startswith("idna is installed as ")
    assert len(faults) == 2
