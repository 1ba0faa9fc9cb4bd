"""What the commands answer to wrong inputs: tests/unit/cases/cli/wrong_inputs.txt, literally.

A case is the command, its exit code, and all that it prints to stderr but progress. Nothing remote
is asked. {home} is the home folder, {folder} the working folder, with the files of `make_files`.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.run_command import run_command

CASES = Path(__file__).parents[1] / "cases/cli/wrong_inputs.txt"
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {CLUSTER}}]
users: [{name: u, user: {USER}}]
contexts: [{name: x, context: {cluster: NAME, user: u}}]
current-context: CURRENT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongInput:
    """A command that cannot be run as it was typed, and the answer."""

    command: str
    code: int
    answer: str


def read_cases() -> list[WrongInput]:
    cases = []
    for block in CASES.read_text().split("\n\n"):
        first, code, *answer = block.strip().splitlines()
        cases.append(
            WrongInput(command=first.removeprefix("$ "), code=int(code), answer="\n".join(answer))
        )
    return cases


def make_files(folder: Path) -> None:
    """Write a project with a lock of hashes, kubeconfigs with one fault each, damaged packages."""
    project = '[project]\nname = "hello"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
    (folder / "pyproject.toml").write_text(project)
    (folder / "requirements.txt").write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    (folder / "Procfile").write_text("web: python3 -m hello\n")
    server = 'server: "https://127.0.0.1:1"'
    login = "apiVersion: client.authentication.k8s.io/v1, command: "
    kubeconfigs = {
        "good": (server, "token: t", "c", "x"),
        "nocontext": (server, "token: t", "c", '""'),
        "nocluster": (server, "token: t", "d", "x"),
        "nocert": (f"{server}, certificate-authority: ca.crt", "token: t", "c", "x"),
        "exec": (server, f"exec: {{{login}no-such-login}}", "c", "x"),
        "exechint": (server, f"exec: {{{login}no-such-login, installHint: get it}}", "c", "x"),
        "nohost": ('server: "https://"', "token: t", "c", "x"),
        "noport": ('server: "https://x:99999"', "token: t", "c", "x"),
        "socks": (f'{server}, proxy-url: "socks5://u:p@127.0.0.1:1"', "token: t", "c", "x"),
        "badca": (f"{server}, certificate-authority-data: Z2FyYmFnZQ==", "token: t", "c", "x"),
        "badkey": (server, "client-certificate: good.yaml, client-key: good.yaml", "c", "x"),
        "badtoken": ('server: "http://127.0.0.1:1"', 'token: "a\\nb"', "c", "x"),
        "badname": (server, "token: t", "c", "[x]"),
        "execfail": (server, f'exec: {{{login}"false"}}', "c", "x"),
    }
    for name, (cluster, user, cluster_name, current) in kubeconfigs.items():
        text = KUBECONFIG.replace("{CLUSTER}", f"{{{cluster}}}").replace("{USER}", f"{{{user}}}")
        text = text.replace("NAME", cluster_name).replace("CURRENT", current)
        (folder / f"{name}.yaml").write_text(text)
    nobody = (folder / "good.yaml").read_text().replace("user: u}", "user: nobody}")
    (folder / "nouser.yaml").write_text(nobody)
    (folder / "broken.yaml").write_text("apiVersion: v1\nclusters: [\n a: b: c\n")
    (folder / "text.yaml").write_text("not a kubeconfig\n")
    (folder / "latin.yaml").write_bytes(b"caf\xe9: x\n")
    (folder / "names.yaml").write_text("contexts: [x]\n")
    for name in ("empty.yaml", "empty.whl"):
        (folder / name).touch()
    (folder / "damaged.whl").write_bytes(b"PK\x03\x04" + b"\0" * 60)
    (folder / "text.tar.gz").write_text("404 not found\n")
    (folder / "bad.lock").write_text("x = [\n")
    (folder / "bad.txt").write_text("numpy ==\n")
    (folder / "evidence.json").write_text("{}")
    (folder / "nothing").mkdir()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a user without a mirror, a cluster or an engine."""
    home = tmp_path / "home"
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/no.sock")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    working = tmp_path / "work"
    working.mkdir()
    make_files(working)
    monkeypatch.chdir(working)
    return working


@pytest.mark.parametrize("case", read_cases(), ids=lambda case: case.command)
def test_answer(case: WrongInput, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    programs: list[str] = []
    start = subprocess.Popen.__init__

    def start_program(self: Any, argv: Any, *rest: Any, **options: Any) -> None:
        programs.append(argv[0])
        start(self, argv, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    monkeypatch.setattr(subprocess.Popen, "__init__", start_program)
    result = run_command(monkeypatch, *shlex.split(case.command))
    lines = [line for line in result.err.splitlines() if not line.startswith("… ")]
    answer = "\n".join(lines).replace(str(folder), "{folder}")
    answer = answer.replace(os.environ["HOME"], "{home}")
    assert (result.code, answer) == (case.code, case.answer)
    assert asked == [], "nothing remote is asked"
    assert {*programs} <= {"false", "git"}, "the login of a kubeconfig, and git in a local folder"
    assert not (Path(os.environ["HOME"]) / "data").exists(), "nothing was written"


def test_the_cases_are_many_and_complete() -> None:
    cases = read_cases()
    assert len(cases) >= 120
    assert len({case.command for case in cases}) == len(cases)
    for case in cases:
        labels = [line[:8] for line in case.answer.splitlines()]
        assert case.code in {2, 3}
        assert labels[0] == "error: " + case.answer[7]
        assert "  why: " in case.answer
        assert "  next: " in case.answer
        assert "bug" not in case.answer
