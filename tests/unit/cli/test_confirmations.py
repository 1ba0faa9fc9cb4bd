"""Answers to a command that asks before it writes: yes, no, Ctrl-C, and a closed terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.fix_registry import build_engine
from deploy.lifecycle.publish import publish_environment
from tests import REPOSITORY
from tests.kubernetes_api import on
from tests.unit.cli.memory_lab import apply_dns_fix
from tests.unit.cli.whole_cluster import WholeClusterLab, run_whole_cluster

ASKING = [
    "attach deployment/backend -n shop",
    "detach -n shop",
    "down --purge",
    "fix dns",
    "rollback",
    "uninstall",
]
DECLINED = {"no": "n\n", "anything else, then no": "perhaps\nn\n", "end of input": ""}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        lab.install()
        publish_environment(lab.cluster, "pypi-mirror", ["shop"])
        yield lab


def prepare(lab: WholeClusterLab, words: str) -> None:
    """Make something to undo, for the commands that undo it."""
    if words.startswith("detach"):
        lab.list_writes_of("attach", "deployment/backend", "-n", "shop", "--yes")
    if words.startswith("rollback"):
        apply_dns_fix(build_engine(lab.cluster))


@pytest.mark.parametrize("answer", DECLINED)
@pytest.mark.parametrize("words", ASKING)
def test_declining_writes_nothing_and_exits_with_130(
    lab: WholeClusterLab, words: str, answer: str
) -> None:
    prepare(lab, words)
    before = lab.api.dump()
    result = lab.run(*words.split(), typed=DECLINED[answer])
    assert result.code == 130, result.err
    assert "[y/N]" in result.err
    said = "interrupted; run the same command again" if "end" in answer else "not confirmed"
    assert said in result.err
    assert lab.api.dump() == before


@pytest.mark.parametrize("words", ASKING)
def test_without_a_terminal_nothing_is_written(lab: WholeClusterLab, words: str) -> None:
    prepare(lab, words)
    before = lab.api.dump()
    result = lab.run(*words.split())
    assert result.code == 2, result.err
    assert "nobody can confirm it" in result.err
    next_step = result.get_line("next")
    assert next_step.endswith(" --yes"), "the command to paste"
    assert lab.api.dump() == before


@pytest.mark.parametrize("words", [words for words in ASKING if not words.startswith("fix")])
def test_yes_writes(lab: WholeClusterLab, words: str) -> None:
    prepare(lab, words)
    assert lab.list_writes_of(*words.split(), typed="y\n")


# -- a real terminal ------------------------------------------------------------------------------


class TerminalRun:
    """`mirror` in a process of its own, whose controlling terminal is a pseudo-terminal."""

    def __init__(self, *words: str, kubeconfig: Path) -> None:
        self.master, slave = pty.openpty()
        script = "from cli.mirror import main; main()"
        self.process = subprocess.Popen(
            # a session of its own, and the first terminal that it opens becomes its own
            [
                sys.executable,
                "-c",
                f"import os; os.setsid(); os.open({os.ttyname(slave)!r}, os.O_RDWR); {script}",
                *words,
                "--kubeconfig",
                str(kubeconfig),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.output = ""

    def read_until(self, text: str) -> None:
        """Read what the terminal shows until a text is there, or until the end."""
        while text not in self.output:
            try:
                data = os.read(self.master, 4096)
            except OSError:  # the last program on it has ended
                return
            if not data:
                return
            self.output += data.decode(errors="replace")

    def type(self, keys: str) -> None:
        """Type at a prompt once the process sleeps.

        Python misses a Ctrl-C between the output of a prompt and the wait for keys, until the next
        key.
        """
        end = time.monotonic() + 60
        while psutil.Process(self.process.pid).status() != psutil.STATUS_SLEEPING:
            assert time.monotonic() < end, "it does not wait for keys"
            time.sleep(0.01)
        os.write(self.master, keys.encode())

    def wait(self) -> int:
        """Read to the end and return the exit code."""
        reader = threading.Thread(target=self.read_until, args=("\0",))
        reader.start()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            reader.join(10)


@pytest.fixture
def terminal_run(lab: WholeClusterLab) -> Iterator[TerminalRun]:
    run = TerminalRun("attach", "deployment/backend", "-n", "shop", kubeconfig=lab.kubeconfig)
    yield run
    run.process.kill()
    run.process.wait(10)
    os.close(run.master)


@pytest.mark.parametrize(
    ("keys", "code"), [("y\n", 0), ("n\n", 130), ("\x03", 130), ("\x04", 130)],
    ids=["yes", "no", "ctrl-c", "ctrl-d"],
)  # fmt: skip
def test_keys_on_a_terminal(
    lab: WholeClusterLab, terminal_run: TerminalRun, keys: str, code: int
) -> None:
    terminal_run.read_until("[y/N]: ")
    assert "write this? [y/N]: " in terminal_run.output
    before = lab.api.dump()
    terminal_run.type(keys)
    assert terminal_run.wait() == code, terminal_run.output
    assert "Traceback" not in terminal_run.output
    if code:
        said = "not confirmed" if keys == "n\n" else "interrupted; run the same command again"
        assert said in terminal_run.output
        assert lab.api.dump() == before
    else:
        containers = lab.api.read("Deployment", "backend", "shop")["spec"]["template"]["spec"]
        assert containers["containers"][0]["envFrom"]


def test_ctrl_c_while_it_works_ends_with_130(lab: WholeClusterLab) -> None:
    """The API does not answer; the user gives up."""
    asked, answer = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        asked.set()
        answer.wait(60)

    lab.api.failures.run(on("GET", "*"), wait)
    run = TerminalRun("status", kubeconfig=lab.kubeconfig)
    assert asked.wait(60)
    os.write(run.master, b"\x03")
    code = run.wait()
    answer.set()
    os.close(run.master)
    assert code == 130, run.output
    assert "Traceback" not in run.output
