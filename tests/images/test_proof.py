"""The proof refuses images that call other hosts, and names the module that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.application_recipe import load_application_recipe
from images.engine import EngineClient
from images.project_lock import ProjectLock
from images.proof import ProofSubject, distributions
from mirror.core.progress import SILENT
from mirror.lock import PinnedDistribution
from tests.images.projects import RECIPE, BuildEnvironment, with_recipe

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


def build_refused(build_env: BuildEnvironment, project: Path, recipe: str = RECIPE) -> str:
    """Return the output of a build whose proof fails; the image gets no name."""
    (project / "recipe.toml").write_text(recipe)
    arguments = (*with_recipe(project), "--tag", "hello:refused")
    result = build_env.build(*arguments)
    assert result.returncode == 1, result.stderr
    assert "failed its proof, so it was not tagged" in result.stderr
    assert "Traceback" not in result.stderr
    assert "hello:refused" not in build_env.list_images()
    return result.stderr


def test_refuses_an_import_that_downloads(build_env: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/weights.py").write_text(DOWNLOAD)
    output = build_refused(build_env, project)
    assert "imports: it tries to reach models.example.test" in output
    assert "hello.weights (while imported)" in output
    assert "imports.py" in output, "the process is named"


def test_allows_and_reports_an_expected_host(build_env: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/weights.py").write_text(DOWNLOAD)
    recipe = RECIPE.replace("[[starts]]", 'expected_hosts = ["*.example.test"]\n[[starts]]')
    (project / "recipe.toml").write_text(recipe)
    report = build_env.build_report(*with_recipe(project))
    tried = [attempt["host"] for check in report["proof"] for attempt in check["tried"]]
    assert "models.example.test" in tried, "it is allowed and reported all the same"


def test_refuses_a_download_at_the_start(build_env: BuildEnvironment, project: Path) -> None:
    main = project / "src/hello/main.py"
    main.write_text(AT_START + main.read_text())
    recipe = RECIPE.replace("[[starts]]", 'imports = ["hello.nothing"]\n[[starts]]')
    (project / "src/hello/nothing.py").write_text("")
    output = build_refused(build_env, project, recipe)
    assert "starts: web: it tries to reach late.example.test" in output
    assert "hello.main" in output or "__main__" in output


def test_refuses_a_connection_to_an_ip_address(build_env: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/literal.py").write_text(LITERAL)
    output = build_refused(build_env, project)
    assert "it tries to reach 192.0.2.7:8443" in output
    assert "hello.literal (while imported)" in output


def test_refuses_uv_run_that_syncs(build_env: BuildEnvironment, project: Path) -> None:
    """uv is not a Python program: the monitor finds its process by the socket."""
    recipe = RECIPE + '[starts.environment]\nUV_NO_SYNC = "0"\nUV_OFFLINE = "0"\nUV_FROZEN = "0"\n'
    recipe += 'UV_DEFAULT_INDEX = "http://index.example.test/simple/"\n'
    output = build_refused(build_env, project, recipe)
    assert "web: it tries to reach index.example.test by uv run" in output


def test_refuses_modules_that_do_not_import(build_env: BuildEnvironment, project: Path) -> None:
    (project / "src/hello/broken.py").write_text("import not_there\n")
    output = build_refused(build_env, project)
    assert "imports: hello.broken does not import: ModuleNotFoundError" in output
    listed = RECIPE.replace("[[starts]]", '[import_failures]\n"hello.main" = "why"\n[[starts]]')
    output = build_refused(build_env, project, listed)
    assert "hello.main imports, or no longer exists" in output


def test_refuses_a_start_command_that_ends(build_env: BuildEnvironment, project: Path) -> None:
    output = build_refused(build_env, project, RECIPE.replace("hello.main", "hello.nowhere"))
    assert "web: ended with 1" in output
    assert "No module named hello.nowhere" in output


def test_reports_missing_and_wrong_distributions(
    build_env: BuildEnvironment, engine: EngineClient, locked_project: Path
) -> None:
    recipe = load_application_recipe(locked_project / "recipe.toml")
    report = build_env.build_report(*with_recipe(locked_project), "--no-proof")
    pins = (
        PinnedDistribution(name="not-installed", specifier="==1.0"),
        PinnedDistribution(name="idna", specifier="==0.1"),
        PinnedDistribution(name="for-windows", specifier="==1.0", marker="sys_platform == 'win32'"),
    )
    subject = ProofSubject(
        engine=engine,
        image=report["id"],
        recipe=recipe,
        lock=ProjectLock(file="uv.lock", sha256="", pins=pins, members=()),
        progress=SILENT,
    )
    faults = distributions.check(subject).faults
    assert faults[0] == "not-installed 1.0 is locked and not installed"
    assert faults[1].startswith("idna is installed as ")
    assert len(faults) == 2
