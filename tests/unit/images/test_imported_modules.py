"""Which modules an application needs, and what becomes of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from images.failure import Cause, RaisedError
from images.inside.modules import Project, is_test, read_entry
from images.proof import Outcome
from images.proof.imports import (
    ImportedModule,
    ImportPlan,
    describe_group,
    judge_module,
    parse_events,
)
from tests.images.projects import write_files

EXPECTED = ("llm.example", "vectors")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "main.py": "import uvicorn\nfrom app import api\nuvicorn.run('server:app')\n",
        "server.py": "import settings\n",
        "settings.py": "",
        "unused.py": "",
        "app/api.py": "from . import db\ndef later():\n    import app.lazy\n",
        "app/db.py": "",
        "app/lazy.py": "",
        "app/other.py": "",
        "pkg/__init__.py": "",
        "pkg/__main__.py": "import pkg.cli\n",
        "pkg/cli.py": "",
        "tests/__init__.py": "",
        "src/manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.settings')\n",
    }
    return write_files(tmp_path, files)


@pytest.mark.parametrize(
    ("argv", "modules", "scripts"),
    [
        (("python3", "main.py"), [], ["main.py"]),
        (("uv", "run", "--extra", "web", "python3", "-m", "pkg"), ["pkg"], []),
        (("uvicorn", "app.api:app", "--host", "0.0.0.0"), ["app.api"], []),
        (("gunicorn", "--chdir", "src", "app.api:create()"), ["app.api"], []),
        (("celery", "-A", "app.db", "worker"), ["app.db"], []),
        (("sh", "-c", "python3 -m pkg && exec uvicorn app.api:app"), ["pkg", "app.api"], []),
        (("nothing-installed",), [], []),
    ],
)
def test_reads_what_a_start_command_runs(
    tree: Path, argv: tuple[str, ...], modules: list[str], scripts: list[str]
) -> None:
    entry = read_entry(argv, tree)
    assert [name for name in entry.modules if name != "gunicorn"] == modules
    assert [path.name for path in entry.scripts] == scripts


def test_reaches_what_a_start_imports_also_in_functions(tree: Path) -> None:
    project = Project([tree])
    entry = read_entry(("python3", "main.py"), tree)
    reached = project.reach(entry.modules, entry.scripts)
    assert set(reached) == {"app", "app.api", "app.db", "app.lazy", "server", "settings"}
    assert set(project.reach(["pkg"], [])) == {"pkg", "pkg.cli"}


def test_lists_packages_without_tests_and_folders_of_scripts(tree: Path) -> None:
    assert Project([tree]).list_packages() == ["pkg"]
    write_files(tree, {"pkg/inner/__init__.py": ""})
    assert Project([tree / "pkg", tree]).list_packages() == ["pkg"], "not inner alone"
    assert Project([tree]).find_django_settings() == "site.settings"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("a.tests", "a.tests.b", "a.test_b", "a.conftest", "a.b_test")),
        *((name, False) for name in ("a.testing", "a.latest", "a.contest", "attestation")),
    ],
)
def test_tells_tests_by_their_names(name: str, expected: bool) -> None:
    assert is_test(name) is expected


def error(kind: str, text: str = "", name: str = "") -> RaisedError:
    return RaisedError(type=kind, text=text, bases=(kind,), name=name)


CONNECTION = (error("RuntimeError", "no memory"), error("APIConnectionError", "Connection error."))


@pytest.mark.parametrize(
    ("chain", "hosts", "outcome"),
    [
        ((), (), Outcome.IMPORTED),
        (CONNECTION, ("llm.example",), Outcome.STOPPED),
        pytest.param(CONNECTION, (), Outcome.FAILED, id="asked for nothing"),
        pytest.param(
            CONNECTION, ("llm.example", "models.example"), Outcome.FAILED, id="and for a download"
        ),
        pytest.param(
            (error("ModuleNotFoundError", "No module named 'x'", "x"),),
            ("llm.example",),
            Outcome.FAILED,
            id="a missing module after a call",
        ),
        pytest.param(
            (error("FileNotFoundError", "No such file: '/a.b'"),),
            ("llm.example",),
            Outcome.FAILED,
            id="a missing file after a call",
        ),
        pytest.param(
            (error("RuntimeError", "startup failed"),),
            ("llm.example",),
            Outcome.FAILED,
            id="generic",
        ),
        ((error("ModuleNotFoundError", "…", "yaml"),), (), Outcome.LEFT_OUT),
        ((error("SystemExit", "2"),), (), Outcome.LEFT_OUT),
        ((error("SystemExit", "1"),), (), Outcome.FAILED),
        ((error("SyntaxError", "invalid syntax"),), (), Outcome.LEFT_OUT),
        ((error("ImportStillRunning", "still running"),), ("vectors",), Outcome.WAITING),
        ((error("ImportStillRunning", "still running"),), (), Outcome.FAILED),
    ],
)
def test_a_module_has_an_outcome(
    chain: tuple[RaisedError, ...], hosts: tuple[str, ...], outcome: Outcome
) -> None:
    module = ImportedModule(name="app.x", chain=chain, hosts=hosts)
    judged = judge_module(
        module,
        ImportPlan(reached=("app", "app.main")),
        allowed=EXPECTED,
        optional={"pyyaml": "--extra yaml"},
    )
    assert judged.subject.outcome is outcome
    assert (judged.failure is not None) == (outcome is Outcome.FAILED)


def test_what_a_start_names_or_reaches_is_needed() -> None:
    plan = ImportPlan(reached=("app", "app.x"), starts=("app.x",))
    for kind, name in (("ModuleNotFoundError", "yaml"), ("SyntaxError", "")):
        module = ImportedModule(name="app.x", chain=(error(kind, "…", name),))
        judged = judge_module(module, plan, allowed=(), optional={"pyyaml": "--extra yaml"})
        assert judged.subject.outcome is Outcome.FAILED


def test_modules_of_one_cause_share_a_line() -> None:
    chain = (error("ImproperlyConfigured", "no settings"),)
    modules = [ImportedModule(name=f"app.m{number}", chain=chain) for number in range(441)]
    group = [judge_module(m, ImportPlan(), allowed=(), optional={}) for m in modules]
    line = describe_group(group)
    assert line.startswith("441 modules do not import (app.m0, app.m1, app.m2, …): Improperly")
    assert group[0].failure
    assert group[0].failure.cause is Cause.SETTINGS


def test_a_module_whose_import_ends_the_interpreter_has_failed() -> None:
    events = [
        {"module": "a", "state": "begins"},
        {"module": "a", "state": "ends", "chain": [], "hosts": [], "file": ""},
        {"module": "b", "state": "begins"},
    ]
    modules, _ = parse_events("noise\n" + "\n".join(map(json.dumps, events)))
    outcomes = [judge_module(m, ImportPlan(), allowed=(), optional={}) for m in modules]
    assert [o.subject.outcome for o in outcomes] == [Outcome.IMPORTED, Outcome.FAILED]
    assert "the interpreter ended" in outcomes[1].subject.detail
