"""What the proof concludes from starts and modules that do not simply serve or fail.

Most tests run a check on one image of a small web application; the recipe's ``proof_files`` replace
its modules.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.application_recipe import ApplicationRecipe, load_application_recipe
from images.engine import EngineClient
from images.project_lock import ProjectLock
from images.proof import Outcome, ProofResult, ProofSubject, SourceFacts, imports, starts
from images.recipe_changes import change_recipe
from images.report import MOUNTS_LABEL, OUTCOMES_LABEL, PROOF_LABEL
from mirror.core.progress import SILENT
from tests.images.projects import (
    RECIPE,
    WEB_MODULE,
    BuildEnvironment,
    with_recipe,
    write_files,
)

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


@pytest.fixture(scope="module")
def image(build_env: BuildEnvironment, locked_project: Path) -> str:
    """The id of the application's image."""
    return str(build_env.build_report(*with_recipe(locked_project), "--no-proof")["id"])


class Prover:
    """Runs checks on the image with a recipe's text, and files in place of its own."""

    def __init__(self, engine: EngineClient, image: str, folder: Path) -> None:
        self._engine, self._image, self._folder = engine, image, folder

    def load(self, recipe: str, **files: str) -> ApplicationRecipe:
        path = self._folder / "recipe.toml"
        path.write_text(recipe)
        return replace(load_application_recipe(path), proof_files=files)

    def subject(self, recipe: ApplicationRecipe, **facts: Any) -> ProofSubject:
        return ProofSubject(
            engine=self._engine,
            image=self._image,
            recipe=recipe,
            lock=ProjectLock(file="uv.lock", sha256="", pins=(), members=()),
            source=SourceFacts(folders=(".",), **facts),
            progress=SILENT,
        )


@pytest.fixture
def prover(engine: EngineClient, image: str, tmp_path: Path) -> Prover:
    return Prover(engine, image, tmp_path)


def import_first(module: str) -> dict[str, str]:
    """Let the application import a module before all others."""
    return {"src/hello/main.py": f"import {module}\n" + WEB_MODULE}


def outcomes(result: ProofResult) -> dict[str, str]:
    return {outcome.name: str(outcome.outcome) for outcome in result.outcomes}


def report_outcomes(report: dict[str, Any], check: str) -> dict[str, str]:
    (result,) = (result for result in report["proof"] if result["check"] == check)
    return {outcome["name"]: outcome["outcome"] for outcome in result["outcomes"]}


def test_an_application_that_stops_at_its_services_passes_and_the_report_says_where(
    build_env: BuildEnvironment, project: Path
) -> None:
    write_files(project, {**MEMORY_FILES, **import_first("hello.memory")})
    (project / "recipe.toml").write_text(MEMORY_RECIPE)
    arguments = (*with_recipe(project), "--tag", "hello:memory")
    report = build_env.build_report(*arguments)
    assert report_outcomes(report, "starts") == {"web": "stopped at a service"}
    modules = report_outcomes(report, "imports")
    assert modules["hello.memory"] == modules["hello.main"] == "stopped at a service"
    assert modules["hello"] == "imported"
    assert report["proof_verdict"] == "passed"
    assert report["mounts"] == {"/app/memory.yaml": "memory.yaml.template"}
    labels = build_env.inspect("hello:memory")["Config"]["Labels"]
    assert labels[PROOF_LABEL] == "passed"
    assert labels[OUTCOMES_LABEL].endswith("web: stopped at a service")
    assert labels[MOUNTS_LABEL] == "/app/memory.yaml"

    again = build_env.build_report(*arguments)
    assert [result["check"] for result in again["proof"] if not result["reused"]] == []
    (project / "src/hello/extra.py").write_text("CHANGED = True\n")
    changed = build_env.build_report(*arguments)
    reused = {result["check"]: result["reused"] for result in changed["proof"]}
    assert reused["distributions"]
    assert reused["consistency"]
    assert not reused["imports"]
    assert not reused["starts"]
    assert "hello.extra" in report_outcomes(changed, "imports")


def test_a_failed_proof_prints_the_command_that_goes_on(
    build_env: BuildEnvironment, project: Path
) -> None:
    write_files(project, {**MEMORY_FILES, **import_first("hello.memory")})
    (project / "recipe.toml").write_text(MEMORY_RECIPE.replace("LLM_API_KEY =", "OTHER ="))
    result = build_env.build(*with_recipe(project), "--tag", "hello:refused")
    assert result.returncode == 1
    change = "--set 'proof_environment.LLM_API_KEY=\"only-in-the-proof\"'"
    assert result.stderr.rstrip().splitlines()[-1].strip().startswith("build-image ")
    assert result.stderr.rstrip().endswith(change)


@pytest.mark.parametrize(
    ("replaced", "recipe", "cause", "change"),
    [
        pytest.param(
            ("yaml_lite", "not_there"),
            MEMORY_RECIPE,
            "ModuleNotFoundError: No module named 'not_there'",
            "",
            id="module",
        ),
        pytest.param(
            ("memory.yaml", "other.yaml"),
            MEMORY_RECIPE,
            "No such file or directory: 'other.yaml'",
            'proof_templates."other.yaml"="other.yaml.template"',
            id="file",
        ),
        pytest.param(
            ("", ""),
            MEMORY_RECIPE.replace("LLM_API_KEY =", "OTHER ="),
            "KeyError: 'LLM_API_KEY'",
            'proof_environment.LLM_API_KEY="only-in-the-proof"',
            id="setting",
        ),
        pytest.param(
            ("", ""),
            MEMORY_RECIPE.replace('expected_hosts = ["api.llm.example"]', ""),
            "it tries to reach api.llm.example",
            'expected_hosts=["api.llm.example"]',
            id="host",
        ),
    ],
)
def test_it_fails_for_want_of_anything_else(
    prover: Prover, replaced: tuple[str, str], recipe: str, cause: str, change: str
) -> None:
    files = {
        "src/hello/memory.py": MEMORY.replace(*replaced) if replaced[0] else MEMORY,
        "src/yaml_lite.py": YAML_LITE,
        "memory.yaml": "",
        **import_first("hello.memory"),
    }
    templates = {"other.yaml": "other.yaml.template"}
    subject = prover.subject(prover.load(recipe, **files), templates=templates)
    result = starts.check(subject)
    assert outcomes(result) == {"web": "failed"}
    assert cause in "\n".join(result.faults)
    changes = [line for advice in result.advice for line in advice.changes]
    assert changes == ([change] if change else [])


def test_a_download_hidden_behind_a_generic_error_fails(prover: Prover) -> None:
    files = {"src/hello/hides.py": HIDES, **import_first("hello.hides")}
    text = RECIPE.replace("[[starts]]", 'expected_hosts = ["api.llm.example"]\n[[starts]]')
    recipe = prover.load(text, **files)
    for check in (starts.check, imports.check):
        faults = "\n".join(check(prover.subject(recipe)).faults)
        assert "it tries to reach models.example.test" in faults
        assert "in hello.hides" in faults
    # even if its host were expected, nothing would show that a service is why it ends
    recipe = change_recipe(recipe, ('expected_hosts=["models.example.test"]',))
    result = starts.check(prover.subject(recipe))
    assert outcomes(result) == {"web": "failed"}
    assert "RuntimeError: startup failed" in result.faults[0]
    modules = outcomes(imports.check(prover.subject(recipe)))
    assert modules["hello.hides"] == modules["hello.main"] == "failed"


def test_a_program_may_ask_the_kernel_for_its_own_address(prover: Prover) -> None:
    """A connected UDP socket sends nothing: servers learn their address from one."""
    own_address = (
        "import socket\n\nwith socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:\n"
        '    probe.connect(("192.0.2.1", 58162))\n'
    )
    files = {"src/hello/address.py": own_address, **import_first("hello.address")}
    result = starts.check(prover.subject(prover.load(RECIPE, **files)))
    assert outcomes(result) == {"web": "served"}
    sends = own_address + '    probe.send(b"x")\n'
    files = {"src/hello/address.py": sends, **import_first("hello.address")}
    result = starts.check(prover.subject(prover.load(RECIPE, **files)))
    assert "it tries to reach 192.0.2.1" in "\n".join(result.faults)


def test_a_start_whose_program_is_not_there_fails_with_a_change(prover: Prover) -> None:
    recipe = change_recipe(prover.load(RECIPE), ('starts.web.argv=["/opt/venv/bin/uvicorn", "x"]',))
    result = starts.check(prover.subject(recipe))
    assert outcomes(result) == {"web": "failed"}
    assert result.faults == ("web: cannot be started: /opt/venv/bin/uvicorn is not in the image",)
    assert result.advice[0].changes == ('starts.web.argv=["uvicorn", "x"]',)


SLEEPS = "import time\n\ntime.sleep(600)\n"
ENDS = 'print("set HELLO_API_KEY to start the server")\n'
RETRIES = """\
import socket
import time

while True:
    try:
        socket.create_connection(("queue", 5672), timeout=3)
    except OSError as error:
        print("queue:", error, flush=True)
    time.sleep(1)
"""
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
            LISTENS_AND_ENDS, start_with("main", "port = 8000"), "and then ended", id="leaves"
        ),
        pytest.param(OWN_NAME, start_with("main", "port = 9000"), "neither ended", id="other-port"),
        pytest.param(
            OWN_NAME,
            start_with("main", "port = 8000", 'health = "/nowhere"'),
            "reached /nowhere",
            id="unhealthy",
        ),
    ],
)
def test_a_start_with_a_port_must_listen_and_stay(
    prover: Prover, script: str, recipe: str, cause: str
) -> None:
    result = starts.check(prover.subject(prover.load(recipe, **{"start.py": script})))
    assert list(outcomes(result).values()) == ["failed"]
    assert cause in result.faults[0]
    expected = {
        SLEEPS: f"starts.{result.outcomes[0].name}.seconds=60",
        ENDS: 'proof_environment.HELLO_API_KEY="only-in-the-proof"',
        OWN_NAME: 'starts.main.health=""' if "health" in recipe else "starts.main.port=8000",
    }
    assert script == LISTENS_AND_ENDS or result.advice[0].changes == (expected[script],)


@pytest.mark.parametrize(
    ("script", "keys", "outcome", "warning"),
    [
        pytest.param(OWN_NAME, ("port = 8000",), Outcome.SERVED, "", id="own-name"),
        pytest.param(OWN_NAME, (), Outcome.SERVED, "", id="an-undeclared-port"),
        pytest.param(
            OWN_NAME.replace("port=8000", "port=8000, bind='127.0.0.1'"),
            *(("port = 8000",), Outcome.SERVED, "127.0.0.1:8000 only"),
            id="loopback",
        ),
        pytest.param(SLEEPS, (), Outcome.RUNNING, "without listening", id="runs"),
        pytest.param("", (), Outcome.ENDED, "serves nothing", id="ends"),
    ],
)
def test_only_what_serves_or_waits_is_proved(
    prover: Prover, script: str, keys: tuple[str, ...], outcome: Outcome, warning: str
) -> None:
    recipe = prover.load(start_with("main", *keys), **{"start.py": script})
    result = starts.check(prover.subject(recipe))
    assert result.faults == ()
    assert outcomes(result) == {"main": outcome}
    assert (warning in "".join(result.warnings)) if warning else not result.warnings
    assert result.attempts == (), "its own name is local"


def test_waits_for_a_declared_service(prover: Prover) -> None:
    script = RETRIES
    recipe = start_with("main", "port = 8000", 'services = ["queue"]').replace("= 6", "= 40")
    result = starts.check(prover.subject(prover.load(recipe, **{"start.py": script})))
    assert outcomes(result) == {"main": "waiting"}
    assert result.outcomes[0].asked_for == ("queue",)


def test_a_service_on_localhost_is_a_setting_that_is_missing(prover: Prover) -> None:
    """No pod has its database beside it; the failure is no service that the recipe expects."""
    script = "import socket\n\nsocket.create_connection(('127.0.0.1', 6379), timeout=3)\n"
    recipe = start_with("main", "port = 8000", 'services = ["queue"]')
    result = starts.check(prover.subject(prover.load(recipe, **{"start.py": script})))
    assert outcomes(result) == {"main": "failed"}
    assert "ConnectionRefusedError" in result.faults[0]
    assert "called no host but its own" in result.advice[0].text


def test_asking_for_a_service_does_not_excuse_what_follows(prover: Prover) -> None:
    """It ends for want of a module, seconds after it has asked for its service."""
    script = RETRIES.replace("while True", "for _ in range(3)") + "import not_there\n"
    recipe = start_with("main", "port = 8000", 'services = ["queue"]').replace("= 6", "= 40")
    result = starts.check(prover.subject(prover.load(recipe, **{"start.py": script})))
    assert outcomes(result) == {"main": "failed"}
    assert "No module named 'not_there'" in result.faults[0]


def test_names_the_module_behind_an_asyncio_lookup(prover: Prover) -> None:
    files = {"src/hello/client.py": CLIENT, "start.py": NESTED}
    result = starts.check(prover.subject(prover.load(start_with("main"), **files)))
    (fault,) = result.faults
    assert "late.example.test" in fault
    assert "in hello.client" in fault


def test_names_the_module_that_uses_an_http_library(prover: Prover) -> None:
    library = "import socket\n\n\ndef get(host):\n    socket.getaddrinfo(host, 443)\n"
    caller = (
        'import httpcore\n\ntry:\n    httpcore.get("telemetry.example.test")\nexcept OSError:\n'
    )
    files = {"src/httpcore/__init__.py": library, "src/hello/caller.py": caller + "    pass\n"}
    recipe = prover.load(RECIPE, **files)
    (fault,) = imports.check(prover.subject(recipe)).faults
    assert "telemetry.example.test" in fault
    assert "in hello.caller (while imported)" in fault


DJANGO = """\
import importlib
import os


def setup():
    importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])
"""


def test_knows_the_settings_of_django_and_groups_what_fails_without_them(prover: Prover) -> None:
    files = {
        "manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n",
        "src/django/__init__.py": DJANGO,  # stands in for the real one
        "shop/__init__.py": "",
        "shop/settings.py": "import os\n\nSECRET = os.environ['SHOP_SECRET']\n",
        "shop/models.py": "import shop.settings\n",
        "shop/views.py": "import shop.models\n",
    }
    recipe = prover.load(start_with("main"), **files)
    result = imports.check(prover.subject(recipe))
    (fault,) = result.faults
    assert fault == "django.setup() fails, and so do 3 modules: KeyError: 'SHOP_SECRET'"
    assert result.advice[0].changes == ('proof_environment.SHOP_SECRET="only-in-the-proof"',)
    given = change_recipe(recipe, result.advice[0].changes)
    result = imports.check(prover.subject(given))
    assert result.faults == ()
    assert outcomes(result)["shop.views"] == "imported"


def test_imports_what_the_application_starts_with_from_where_it_starts(prover: Prover) -> None:
    """A namespace package in the working folder; tests, scripts and templates are told apart."""
    files = {
        "start.py": "import service.api\n",
        "service/api.py": "from service import parts\n",
        "service/parts.py": "import starlette\n",
        "service/unused.py": "",
        "src/hello/tests/__init__.py": "",
        "src/hello/tests/test_x.py": "import pytest\n",
        "src/hello/starter/__init__.py": "",
        "src/hello/starter/old.py": "print 'x'\n",
        "src/hello/script.py": "import argparse\nargparse.ArgumentParser().parse_args(['--x'])\n",
        "src/hello/fast.py": "import iniconfig\n",
    }
    recipe = prover.load(start_with("main"), **files)
    result = imports.check(prover.subject(recipe))
    (fault,) = result.faults
    assert fault.startswith("hello.fast does not import: ModuleNotFoundError")
    result = imports.check(prover.subject(recipe, optional={"iniconfig": "--extra fast"}))
    assert result.faults == ()
    modules = outcomes(result)
    assert modules["service.api"] == modules["service.parts"] == "imported"
    assert modules["hello.script"] == modules["hello.starter.old"] == "left out"
    assert modules["hello.fast"] == "left out"
    assert not {"service.unused", "hello.tests", "hello.tests.test_x"} & set(modules)
