"""`build-image PATH` on a real engine, from a real mirror: what the image is and what is in it."""

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
from tests.images.projects import BuildEnvironment, run_git

pytestmark = [pytest.mark.engine, pytest.mark.index]

CANARY = "canary-5e1f0a7c"


@pytest.fixture(scope="module")
def told(
    shop: BuildEnvironment, locked: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The report of a build with secrets beside the project and in the environment."""
    (locked / ".env").write_text(f"PASSWORD={CANARY}\n")
    (locked / ".dockerignore").write_text("notes\n*.log\n!kept.log\n")
    for name in ("notes/plan.txt", "a.log", "kept.log"):
        (locked / name).parent.mkdir(exist_ok=True)
        (locked / name).write_text("text\n")
    sbom = tmp_path_factory.mktemp("sbom") / "sbom.json"
    words = (str(locked), "--recipe", str(locked / "recipe.toml"), "--tag", "hello:test")
    report = shop.build_report(*words, "--sbom", str(sbom), API_TOKEN=CANARY, UV_INDEX_URL=CANARY)
    return {**report, "sbom": json.loads(sbom.read_text())}


def test_it_is_proved_and_all_came_from_the_mirror(told: dict[str, Any]) -> None:
    assert told["reference"] == "hello:test"
    assert told["relayed"] > 0
    assert told["elsewhere"] == 0
    proof = {one["check"]: one for one in told["proof"]}
    assert list(proof) == ["distributions", "consistency", "imports", "checks", "starts"]
    assert not [fault for one in proof.values() for fault in one["faults"]]
    assert "web serves /health" in proof["starts"]["said"]
    assert proof["imports"]["said"] == "2 modules import"


def test_its_labels_say_what_it_is(shop: BuildEnvironment, told: dict[str, Any]) -> None:
    config = shop.inspect("hello:test")["Config"]
    assert config["Labels"][LOCK_LABEL] == told["lock_sha256"]
    assert config["Labels"][PROOF_LABEL] == "passed"
    assert config["Labels"][RECIPE_LABEL] == "hello"
    assert config["Labels"][FILES_LABEL] == told["files_sha256"]
    assert config["User"] == "10001:10001"
    assert config["Cmd"][:2] == ["uv", "run"]


def test_it_starts_with_no_network_read_only_and_without_rights(
    shop: BuildEnvironment, told: dict[str, Any]
) -> None:
    """`docker run` alone, none of our code: the unchanged start command."""
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
    out = shop.engine.docker("run", "--rm", *flags, "hello:test", "python3", "-c", code)
    assert "answer b'{\"ok\":true}'" in out


def test_the_bill_of_materials_has_every_distribution(told: dict[str, Any]) -> None:
    names = {one["name"] for one in told["distributions"]}
    assert {"idna", "starlette", "uvicorn", "hello"} <= names
    sbom = told["sbom"]
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert {one["name"] for one in sbom["components"]} == names
    idna = next(one for one in sbom["components"] if one["name"] == "idna")
    assert idna["purl"].startswith("pkg:pypi/idna@")
    assert sum(one["bytes"] for one in told["layers"]) <= told["size"] * 1.05


def test_no_secret_and_nothing_ignored_is_in_it(
    shop: BuildEnvironment, told: dict[str, Any], tmp_path: Path
) -> None:
    assert told["left_out"] == [".env"]
    archive = tmp_path / "image.tar"
    shop.engine.docker("save", "--output", str(archive), "hello:test")
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
                    names |= {one.name for one in layer}
    assert "app/src/hello/main.py" in names
    assert "app/kept.log" in names
    assert not names & {"app/.env", "app/notes/plan.txt", "app/a.log"}
    assert not [name for name in names if name.startswith(("root/.cache", "build/uv"))]
    assert CANARY not in json.dumps(shop.inspect("hello:test"))
    assert CANARY not in shop.engine.docker("history", "--no-trunc", "hello:test")
    logs = list((shop.place.root / "state").rglob("*.log"))
    assert logs
    assert not [path for path in logs if CANARY in path.read_text(errors="replace")]


def test_two_builds_of_the_same_hold_the_same_files(
    shop: BuildEnvironment, locked: Path, told: dict[str, Any]
) -> None:
    """From nothing: no layer of the first build is taken again."""
    words = (str(locked), "--recipe", str(locked / "recipe.toml"), "--tag", "hello:again")
    again = shop.build_report(*words, "--no-proof", "--no-cache")
    assert again["relayed"] > 0
    assert again["files_sha256"] == told["files_sha256"]
    assert shop.inspect("hello:again")["Config"]["Labels"][PROOF_LABEL] == "none"


def test_nobody_has_to_compile(shop: BuildEnvironment, told: dict[str, Any]) -> None:
    """Bytecode of packages counts whatever the times are (PEP 552)."""
    code = (
        "import ftplib, idna, pathlib, uvicorn\n"
        "ftplib, *packages = (pathlib.Path(m.__cached__) for m in (ftplib, idna, uvicorn))\n"
        "print(ftplib.exists(), *(p.read_bytes()[4:8].hex() for p in packages))\n"
    )
    words = ("run", "--rm", "--network", "none", "hello:test")
    said = shop.engine.docker(*words, "python3", "-c", code)
    assert said.split() == ["True", "01000000", "01000000"]


# what the process has met of `foo` decides whether CPython writes the set once or twice
SETS = "a = {'foo', 2, 3}\ndef f():\n    b = {'foo', 2, 3}\n"
COMPILE = """
import pathlib, subprocess, sys
def compiled(root, packages):
    for name, text in packages.items():
        (root / name).mkdir(parents=True)
        (root / name / "module.py").write_text(text)
    subprocess.run((sys.executable, "-s", "-S", "/inside/bytecode.py", root, "/later"), check=True)
    (found,) = (root / "sets").rglob("*.pyc")
    return found.read_bytes()
alone = compiled(pathlib.Path("/tmp/alone"), {"sets": sys.argv[1]})
print(alone == compiled(pathlib.Path("/tmp/both"), {"another": "import foo", "sets": sys.argv[1]}))
"""


def test_a_packages_bytecode_is_the_same_whatever_else_is_compiled(
    shop: BuildEnvironment, told: dict[str, Any]
) -> None:
    """With the Python of the image."""
    inside = Path(images.__file__).parent / "inside"
    words = ("--network", "none", "--env", "PYTHONHASHSEED=0", "--volume", f"{inside}:/inside:ro")
    argv = ("hello:test", "python3", "-c", COMPILE, SETS)
    assert shop.engine.docker("run", "--rm", *words, *argv).strip() == "True"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry's address: the lab's own program, for one test."""
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
    words = (program, "serve", str(config))
    none = subprocess.DEVNULL
    with subprocess.Popen(words, env=env, stdout=none, stderr=none) as child:
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


def test_a_git_repository_with_a_pylock_is_pushed(
    shop: BuildEnvironment, project: Path, registry: str
) -> None:
    """At the revision that was named, whatever the folder holds by now."""
    words = ("export", "--quiet", "--frozen", "--format", "pylock.toml", "--extra", "web")
    more = ("--no-emit-project", "--output-file", str(project / "pylock.toml"))
    env = {"UV_DEFAULT_INDEX": shop.index}
    done = shop.program("uv", *words, *more, "--directory", str(project), env=env)
    assert done.returncode == 0, done.stderr
    (project / "uv.lock").unlink()
    (project / ".env").unlink(missing_ok=True)
    recipe = project / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"uv", "run", "--extra", "web", ', ""))
    run_git(project, "init", "--quiet")
    run_git(project, "add", ".")
    run_git(project, "commit", "--quiet", "--message", "x")
    run_git(project, "tag", "v1")
    commit = run_git(project, "rev-parse", "HEAD")
    (project / "src/hello/main.py").write_text("raise SystemExit('not of this revision')\n")
    tag = f"{registry}/team/hello:1"
    source = ("--source", f"git+file://{project}@v1", "--recipe", str(recipe))
    told = shop.build_report(*source, "--tag", tag, "--push")
    assert told["lock"] == "pylock.toml"
    assert told["revision"] == commit
    assert {"starlette", "uvicorn", "idna"} <= {one["name"] for one in told["distributions"]}
    accept = "application/vnd.docker.distribution.manifest.v2+json"
    page = f"http://{registry}/v2/team/hello/manifests/1"
    answer = httpx.get(page, headers={"Accept": accept}, timeout=60)
    assert answer.json()["config"]["digest"] == told["id"]


def test_nothing_of_ours_is_left_running(shop: BuildEnvironment, told: dict[str, Any]) -> None:
    assert not shop.engine.docker("ps", "--all", "--quiet").strip()
    assert not shop.engine.docker("volume", "ls", "--quiet").strip()
