"""`build-image PATH` with a real engine and a real mirror: the image and its content."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

import images
from images.report import FILES_LABEL, LOCK_LABEL, PROOF_LABEL, RECIPE_LABEL
from tests.cluster.binaries import ensure_registry
from tests.cluster.waiting import wait_for
from tests.images.projects import BuildEnvironment, run_git, with_recipe

pytestmark = [pytest.mark.engine, pytest.mark.index]

CANARY = "canary-5e1f0a7c"


@pytest.fixture(scope="module")
def report(
    build_env: BuildEnvironment, locked_project: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The report of a build, with secrets in the project's folder and in the environment."""
    (locked_project / ".env").write_text(f"PASSWORD={CANARY}\n")
    (locked_project / ".dockerignore").write_text("notes\n*.log\n!kept.log\n")
    for name in ("notes/plan.txt", "a.log", "kept.log"):
        (locked_project / name).parent.mkdir(exist_ok=True)
        (locked_project / name).write_text("text\n")
    sbom = tmp_path_factory.mktemp("sbom") / "sbom.json"
    arguments = (*with_recipe(locked_project), "--tag", "hello:test")
    report = build_env.build_report(
        *arguments, "--sbom", str(sbom), API_TOKEN=CANARY, UV_INDEX_URL=CANARY
    )
    return {**report, "sbom": json.loads(sbom.read_text())}


def test_passes_the_proof_and_installs_only_from_the_mirror(report: dict[str, Any]) -> None:
    assert report["reference"] == "hello:test"
    assert report["relayed"] > 0
    assert report["elsewhere"] == 0
    proof = {check["check"]: check for check in report["proof"]}
    assert list(proof) == ["distributions", "consistency", "imports", "checks", "starts"]
    assert not [fault for check in proof.values() for fault in check["faults"]]
    assert "web serves /health" in proof["starts"]["said"]
    assert proof["imports"]["said"] == "2 modules import"


def test_labels_identify_lock_proof_and_recipe(
    build_env: BuildEnvironment, report: dict[str, Any]
) -> None:
    config = build_env.inspect("hello:test")["Config"]
    assert config["Labels"][LOCK_LABEL] == report["lock_sha256"]
    assert config["Labels"][PROOF_LABEL] == "passed"
    assert config["Labels"][RECIPE_LABEL] == "hello"
    assert config["Labels"][FILES_LABEL] == report["files_sha256"]
    assert config["User"] == "10001:10001"
    assert config["Cmd"][:2] == ["uv", "run"]


def test_starts_without_network_read_only_and_unprivileged(
    build_env: BuildEnvironment, report: dict[str, Any]
) -> None:
    """The unchanged start command, with `docker run` and none of our code."""
    code = (
        "import subprocess, time, urllib.request as u\n"
        "p = subprocess.Popen(['uv','run','--extra','web','python3','-m','hello.main'])\n"
        "for _ in range(100):\n"
        "    time.sleep(0.2)\n"
        "    try: print('answer', u.urlopen('http://127.0.0.1:8000/health').read()); break\n"
        "    except OSError: pass\n"
        "p.kill()\n"
    )
    flags = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp")
    out = build_env.engine.docker("run", "--rm", *flags, "hello:test", "python3", "-c", code)
    assert "answer b'{\"ok\":true}'" in out


def test_the_sbom_has_every_distribution(report: dict[str, Any]) -> None:
    names = {entry["name"] for entry in report["distributions"]}
    assert {"idna", "starlette", "uvicorn", "hello"} <= names
    sbom = report["sbom"]
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert {component["name"] for component in sbom["components"]} == names
    idna = next(part for part in sbom["components"] if part["name"] == "idna")
    assert idna["purl"].startswith("pkg:pypi/idna@")
    assert sum(layer["bytes"] for layer in report["layers"]) <= report["size"] * 1.05


def test_has_no_secrets_and_no_ignored_files(
    build_env: BuildEnvironment, report: dict[str, Any], tmp_path: Path
) -> None:
    assert report["left_out"] == [".env"]
    archive = tmp_path / "image.tar"
    build_env.engine.docker("save", "--output", str(archive), "hello:test")
    names: set[str] = set()
    with tarfile.open(archive) as image:
        for member in image:
            if not member.isfile():
                continue
            opened = image.extractfile(member)
            assert opened is not None
            content = opened.read()
            assert CANARY.encode() not in content, member.name
            if member.name.endswith("layer.tar"):
                opened.seek(0)
                with tarfile.open(fileobj=opened) as layer:
                    names |= {entry.name for entry in layer}
    assert "app/src/hello/main.py" in names
    assert "app/kept.log" in names
    assert not names & {"app/.env", "app/notes/plan.txt", "app/a.log"}
    assert not [name for name in names if name.startswith(("root/.cache", "build/uv"))]
    assert CANARY not in json.dumps(build_env.inspect("hello:test"))
    assert CANARY not in build_env.engine.docker("history", "--no-trunc", "hello:test")
    logs = list((build_env.mirror_home.root / "state").rglob("*.log"))
    assert logs
    assert not [path for path in logs if CANARY in path.read_text(errors="replace")]


def test_two_builds_have_the_same_files(
    build_env: BuildEnvironment, locked_project: Path, report: dict[str, Any]
) -> None:
    """The second build reuses no layer of the first."""
    arguments = (*with_recipe(locked_project), "--tag", "hello:again")
    again = build_env.build_report(*arguments, "--no-proof", "--no-cache")
    assert again["relayed"] > 0
    assert again["files_sha256"] == report["files_sha256"]
    assert build_env.inspect("hello:again")["Config"]["Labels"][PROOF_LABEL] == "none"


def test_has_bytecode_of_everything(build_env: BuildEnvironment, report: dict[str, Any]) -> None:
    """Packages' bytecode is valid whatever the files' times are (PEP 552)."""
    code = (
        "import ftplib, idna, pathlib, uvicorn\n"
        "ftplib, *packages = (pathlib.Path(m.__cached__) for m in (ftplib, idna, uvicorn))\n"
        "print(ftplib.exists(), *(p.read_bytes()[4:8].hex() for p in packages))\n"
    )
    arguments = ("run", "--rm", "--network", "none", "hello:test")
    output = build_env.engine.docker(*arguments, "python3", "-c", code)
    assert output.split() == ["True", "01000000", "01000000"]


# CPython writes the set once or twice, depending on whether the process has seen "foo" before
SETS = "a = {'foo', 2, 3}\ndef f():\n    b = {'foo', 2, 3}\n"
COMPILE = """
import pathlib, subprocess, sys
def compiled(root, packages):
    for name, text in packages.items():
        (root / name).mkdir(parents=True)
        (root / name / "module.py").write_text(text)
    subprocess.run((sys.executable, "-s", "-S", "/inside/bytecode.py", root, "/final"), check=True)
    (found,) = (root / "sets").rglob("*.pyc")
    return found.read_bytes()
alone = compiled(pathlib.Path("/tmp/alone"), {"sets": sys.argv[1]})
print(alone == compiled(pathlib.Path("/tmp/both"), {"another": "import foo", "sets": sys.argv[1]}))
"""


def test_bytecode_does_not_depend_on_other_packages(
    build_env: BuildEnvironment, report: dict[str, Any]
) -> None:
    """Checked with the image's own Python."""
    inside = Path(images.__file__).parent / "inside"
    arguments = (
        "--network",
        "none",
        "--env",
        "PYTHONHASHSEED=0",
        "--volume",
        f"{inside}:/inside:ro",
    )
    argv = ("hello:test", "python3", "-c", COMPILE, SETS)
    assert build_env.engine.docker("run", "--rm", *arguments, *argv).strip() == "True"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a registry that runs for one test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f'http: {{addr: "{address}"}}\n'
    )
    env = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    program = str(ensure_registry())
    arguments = (program, "serve", str(config))
    none = subprocess.DEVNULL
    with subprocess.Popen(arguments, env=env, stdout=none, stderr=none) as child:
        try:
            wait_for("the registry", lambda: listens(address), timeout=30)
            yield address
        finally:
            child.terminate()


def listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def test_builds_a_git_revision_with_a_pylock_and_pushes_it(
    build_env: BuildEnvironment, project: Path, registry: str
) -> None:
    """The image has the named revision, not the current files of the folder."""
    arguments = ("export", "--quiet", "--frozen", "--format", "pylock.toml", "--extra", "web")
    options = ("--no-emit-project", "--output-file", str(project / "pylock.toml"))
    env = {"UV_DEFAULT_INDEX": build_env.index}
    result = build_env.program("uv", *arguments, *options, "--directory", str(project), env=env)
    assert result.returncode == 0, result.stderr
    (project / "uv.lock").unlink()
    (project / ".env").unlink(missing_ok=True)
    recipe = project / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"uv", "run", "--extra", "web", ', ""))
    run_git(project, "init", "--quiet")
    run_git(project, "add", ".")
    run_git(project, "commit", "--quiet", "--message", "x")
    run_git(project, "tag", "v1")
    commit = run_git(project, "rev-parse", "HEAD")
    (project / "src/hello/main.py").write_text("raise SystemExit('not in this revision')\n")
    tag = f"{registry}/team/hello:1"
    source = ("--source", f"git+file://{project}@v1", "--recipe", str(recipe))
    report = build_env.build_report(*source, "--tag", tag, "--push")
    assert report["lock"] == "pylock.toml"
    assert report["revision"] == commit
    assert {"starlette", "uvicorn", "idna"} <= {entry["name"] for entry in report["distributions"]}
    accept = "application/vnd.docker.distribution.manifest.v2+json"
    page = f"http://{registry}/v2/team/hello/manifests/1"
    answer = httpx.get(page, headers={"Accept": accept}, timeout=60)
    assert answer.json()["config"]["digest"] == report["id"]


def test_leaves_no_container_or_volume(build_env: BuildEnvironment, report: dict[str, Any]) -> None:
    assert not build_env.engine.docker("ps", "--all", "--quiet").strip()
    assert not build_env.engine.docker("volume", "ls", "--quiet").strip()
