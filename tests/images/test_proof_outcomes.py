"""What the proof concludes from starts and modules that do not simply serve or fail.

All projects have the lock of one small web application: their builds share all layers but the last.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from images.report import MOUNTS_LABEL, OUTCOMES_LABEL, PROOF_LABEL
from tests.images.projects import RECIPE, BuildEnvironment, with_recipe, write_files

pytestmark = [pytest.mark.engine, pytest.mark.index]

# calls its LLM provider and its vector store while it is imported, and ends when they are not there
MEMORY = """\
import os
import urllib.request
from pathlib import Path

import yaml_lite


class MemoryFailure(Exception):
    pass


def ask(host: str) -> None:
    urllib.request.urlopen(f"http://{host}/v1/models", timeout=3)


SETTINGS = yaml_lite.read(Path("memory.yaml"))
KEY = os.environ["LLM_API_KEY"]
try:
    ask("api.llm.example")
    ask("vectors")
except OSError as error:
    raise MemoryFailure("the memory cannot be created") from error
"""
YAML_LITE = "def read(path):\n    return path.read_text()\n"
MEMORY_FILES = {
    "src/hello/memory.py": MEMORY,
    "src/yaml_lite.py": YAML_LITE,
    "memory.yaml.template": "provider: llm\n",
    ".dockerignore": "*.template\n",
}
MEMORY_RECIPE = (
    RECIPE.replace("[[starts]]", 'expected_hosts = ["api.llm.example"]\n[[starts]]')
    + 'services = ["vectors"]\n'
    + '[proof_environment]\nLLM_API_KEY = "x"\n'
    + '[proof_templates]\n"memory.yaml" = "memory.yaml.template"\n'
)
# hides the failure of a download
HIDES = """\
import urllib.request


def fetch() -> bytes:
    try:
        return urllib.request.urlopen("http://models.example.test/w.bin", timeout=3).read()
    except Exception:
        return b""


def call_service() -> None:
    try:
        urllib.request.urlopen("http://api.llm.example/v1/models", timeout=3)
    except OSError:
        print("llm: connection refused, going on without it")


call_service()
WEIGHTS = fetch()
if not WEIGHTS:
    raise RuntimeError("startup failed")
"""


def use(project: Path, module: str, recipe: str, **files: str) -> tuple[str, ...]:
    """Let the application import a module first; return the arguments of its build."""
    main = project / "src/hello/main.py"
    main.write_text(f"import {module}\n" + main.read_text())
    write_files(project, {"recipe.toml": recipe, **files})
    return with_recipe(project)


def outcomes(report: dict[str, Any], check: str) -> dict[str, str]:
    (result,) = (result for result in report["proof"] if result["check"] == check)
    return {outcome["name"]: outcome["outcome"] for outcome in result["outcomes"]}


def refuse(build_env: BuildEnvironment, *arguments: str) -> str:
    """Return the error of a build whose proof fails."""
    result = build_env.build(*arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "failed its proof, so it was not tagged" in result.stderr
    return result.stderr


def test_an_application_that_stops_at_its_services_passes_and_the_report_says_where(
    build_env: BuildEnvironment, project: Path
) -> None:
    arguments = use(project, "hello.memory", MEMORY_RECIPE, **MEMORY_FILES)
    report = build_env.build_report(*arguments, "--tag", "hello:memory")
    assert outcomes(report, "starts") == {"web": "stopped at a service"}
    modules = outcomes(report, "imports")
    assert modules["hello.memory"] == modules["hello.main"] == "stopped at a service"
    assert modules["hello"] == modules["yaml_lite"] == "imported"
    assert report["proof_verdict"] == "passed"
    assert report["mounts"] == {"/app/memory.yaml": "memory.yaml.template"}
    labels = build_env.inspect("hello:memory")["Config"]["Labels"]
    assert labels[PROOF_LABEL] == "passed"
    assert labels[OUTCOMES_LABEL].endswith("web: stopped at a service")
    assert labels[MOUNTS_LABEL] == "/app/memory.yaml"

    again = build_env.build_report(*arguments, "--tag", "hello:memory")
    assert [result["check"] for result in again["proof"] if not result["reused"]] == []
    (project / "src/hello/extra.py").write_text("CHANGED = True\n")
    changed = build_env.build_report(*arguments, "--tag", "hello:memory")
    reused = {result["check"]: result["reused"] for result in changed["proof"]}
    assert reused["distributions"] and reused["consistency"]
    assert not reused["imports"] and not reused["starts"]
    assert "hello.extra" in outcomes(changed, "imports")


@pytest.mark.parametrize(
    ("files", "old", "new", "cause", "change"),
    [
        pytest.param(
            {"src/hello/memory.py": MEMORY.replace("yaml_lite", "not_there")},
            *("", "", "ModuleNotFoundError: No module named 'not_there'", "import_failures"),
            id="module",
        ),
        pytest.param(
            {},
            *('"memory.yaml" =', '"other.yaml" ='),
            "No such file or directory: 'memory.yaml'",
            'proof_templates."memory.yaml"="memory.yaml.template"',
            id="file",
        ),
        pytest.param(
            {},
            *("LLM_API_KEY =", "OTHER ="),
            "KeyError: 'LLM_API_KEY'",
            'proof_environment.LLM_API_KEY="only-in-the-proof"',
            id="setting",
        ),
        pytest.param(
            {},
            *('expected_hosts = ["api.llm.example"]', ""),
            "it tries to reach api.llm.example",
            'expected_hosts=["api.llm.example"]',
            id="host",
        ),
    ],
)
def test_it_fails_for_want_of_anything_else_and_says_how_to_go_on(
    build_env: BuildEnvironment,
    project: Path,
    files: dict[str, str],
    old: str,
    new: str,
    cause: str,
    change: str,
) -> None:
    recipe = MEMORY_RECIPE.replace(old, new) if old else MEMORY_RECIPE
    arguments = use(project, "hello.memory", recipe, **(MEMORY_FILES | files))
    output = refuse(build_env, *arguments)
    assert cause in output
    command = output[output.rindex("next: ") :]
    assert "build-image" in command
    assert change in command


def test_a_download_hidden_behind_a_generic_error_fails(
    build_env: BuildEnvironment, project: Path
) -> None:
    recipe = RECIPE.replace("[[starts]]", 'expected_hosts = ["api.llm.example"]\n[[starts]]')
    arguments = use(project, "hello.hides", recipe, **{"src/hello/hides.py": HIDES})
    output = refuse(build_env, *arguments)
    assert "it tries to reach models.example.test" in output
    assert "in hello.hides" in output
    # even if its host were expected, nothing would show that a service is why it ends
    recipe = recipe.replace('["api', '["models.example.test", "api')
    output = refuse(build_env, *use(project, "hello.hides", recipe))
    assert "RuntimeError: startup failed" in output


SLEEPS = "import time\n\ntime.sleep(600)\n"
ENDS = 'print("set HELLO_API_KEY to start the server")\n'
LISTENS_AND_ENDS = """\
import socket, time

server = socket.create_server(("0.0.0.0", 8000))
time.sleep(1.5)
"""
OWN_NAME = """\
import http.server
import socket

print(socket.gethostbyname(socket.gethostname()), socket.getfqdn())
http.server.test(http.server.SimpleHTTPRequestHandler, port=8000)
"""
NESTED = """\
import http.client, threading, urllib.request

import hello.client


def work() -> None:
    hello.client.fetch()


thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
CLIENT = """\
import asyncio


async def connect() -> None:
    try:
        await asyncio.open_connection("late.example.test", 443)
    except OSError:
        pass


def fetch() -> None:
    asyncio.run(connect())
"""


def start_with(name: str, *keys: str) -> str:
    """Return a recipe that starts a script."""
    lines = ('kind = "application"', 'name = "hello"', 'extras = ["web"]', "[[starts]]")
    argv = json.dumps(["python3", "start.py"])
    return "\n".join((*lines, f'name = "{name}"', f"argv = {argv}", "seconds = 6", *keys, ""))


@pytest.mark.parametrize(
    ("script", "recipe", "cause"),
    [
        pytest.param(SLEEPS, start_with("main", "port = 8000"), "neither ended", id="silent"),
        pytest.param(SLEEPS, start_with("web"), "neither ended nor reached a port", id="procfile"),
        pytest.param(ENDS, start_with("main", "port = 8000"), "serves nothing", id="ends-with-0"),
        pytest.param(
            LISTENS_AND_ENDS,
            start_with("main", "port = 8000"),
            "and then ended",
            id="does-not-stay",
        ),
        pytest.param(
            OWN_NAME,
            start_with("main", "port = 9000"),
            "it listens on port 8000",
            id="another-port",
        ),
    ],
)
def test_a_start_with_a_port_must_listen_and_stay(
    build_env: BuildEnvironment, project: Path, script: str, recipe: str, cause: str
) -> None:
    write_files(project, {"start.py": script, "recipe.toml": recipe})
    output = refuse(build_env, *with_recipe(project))
    assert cause in output
    if script == ENDS:
        assert 'proof_environment.HELLO_API_KEY="only-in-the-proof"' in output


@pytest.mark.parametrize(
    ("script", "keys", "outcome", "verdict"),
    [
        pytest.param(OWN_NAME, ("port = 8000",), "served", "passed", id="own-name"),
        pytest.param(OWN_NAME, (), "served", "passed", id="an-undeclared-port"),
        pytest.param(SLEEPS, (), "running", "incomplete", id="runs"),
        pytest.param("", (), "ended", "incomplete", id="ends"),
    ],
)
def test_only_what_serves_or_waits_is_proved(
    build_env: BuildEnvironment,
    project: Path,
    script: str,
    keys: tuple[str, ...],
    outcome: str,
    verdict: str,
) -> None:
    write_files(project, {"start.py": script, "recipe.toml": start_with("main", *keys)})
    report = build_env.build_report(*with_recipe(project), "--tag", "hello:start")
    assert outcomes(report, "starts") == {"main": outcome}
    assert report["proof_verdict"] == verdict
    assert build_env.inspect("hello:start")["Config"]["Labels"][PROOF_LABEL] == verdict
    assert [a for check in report["proof"] for a in check["tried"]] == [], "its own name is local"


def test_names_the_module_behind_an_asyncio_lookup(
    build_env: BuildEnvironment, project: Path
) -> None:
    files = {"src/hello/client.py": CLIENT, "start.py": NESTED}
    write_files(project, {**files, "recipe.toml": start_with("main")})
    output = refuse(build_env, *with_recipe(project))
    assert "late.example.test" in output
    assert "in hello.client" in output


def test_imports_what_a_project_without_a_package_starts_with(
    build_env: BuildEnvironment, project: Path
) -> None:
    """Its modules are in the working folder, as a namespace package, beside tests and templates."""
    files = {
        "start.py": "import service.api\n" + OWN_NAME,
        "service/api.py": "from service import parts\n",
        "service/parts.py": "import starlette\n",
        "src/hello/tests/test_x.py": "import pytest\n",
        "src/hello/templates/starter/__init__.py": "",
        "src/hello/templates/starter/old.py": "print 'x'\n",
        "src/hello/script.py": "import argparse\nargparse.ArgumentParser().parse_args(['--x'])\n",
        "src/hello/fast.py": "import iniconfig\n",
    }
    write_files(project, {**files, "recipe.toml": start_with("main", "port = 8000")})
    output = refuse(build_env, *with_recipe(project))
    assert "imports: hello.fast does not import" in output, "nothing says that it is optional"
    (project / "src/hello/fast.py").unlink()
    report = build_env.build_report(*with_recipe(project))
    modules = outcomes(report, "imports")
    assert modules["service.api"] == modules["service.parts"] == "imported"
    assert modules["hello.script"] == modules["hello.templates.starter.old"] == "left out"
    assert "hello.tests" not in modules
