"""`mirror … --local` with real devpi and nginx on this machine."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from mirror.core.progress import SilentProgress
from mirror.core.wait import Deadline
from mirror.local import services
from mirror.local.mirror import LocalMirror
from mirror.local.processes import find_free_port
from tests.conftest import RunProgram
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel


@pytest.fixture
def home(tmp_path: Path, program: RunProgram) -> Iterator[MirrorHome]:
    home = MirrorHome(tmp_path, program)
    yield home
    home.run_mirror("down")
    assert not any(psutil.pid_exists(pid) for pid in home.list_pids())


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")


class NoteRecorder(SilentProgress):
    """Keeps the notes of a command."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_up_status_env_add_install_and_down(home: MirrorHome, wheel: Path, tmp_path: Path) -> None:
    status = home.up()
    assert status["state"] == "running"
    assert status["front"] == "nginx"
    assert status["url"] == f"http://127.0.0.1:{home.port}/workloads/stable/+simple/"
    pids = home.list_pids()

    assert home.up()["state"] == "running"
    assert home.list_pids() == pids, "a second up restarts nothing"

    env = json.loads(home.run_mirror("env", "--format", "json").stdout)
    assert env["UV_INDEX_URL"] == status["url"]

    first = json.loads(home.run_mirror("add", str(wheel), "-o", "json").stdout)
    second = json.loads(home.run_mirror("add", str(wheel), "-o", "json").stdout)
    assert [first[0]["outcome"], second[0]["outcome"]] == ["added", "present"]

    uv, pip = tmp_path / "uv", tmp_path / "pip"
    for command in (
        ("uv", "pip", "install", "--no-cache", "--target", str(uv), "house-lib"),
        (sys.executable, "-m", "pip", "install", "-q", "--target", str(pip), "house-lib"),
    ):
        subprocess.run(command, env={**os.environ, **env, "PIP_FIND_LINKS": ""}, check=True)
    assert (uv / "house_lib.py").read_text() == "x = 1\n"
    assert (pip / "house_lib.py").read_text() == "x = 1\n"

    assert home.run_mirror("down").returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert home.run_mirror("status").returncode == 1
    assert home.up()["state"] == "running"
    page = httpx.get(f"{env['UV_INDEX_URL']}house-lib/", trust_env=False, timeout=60)
    assert wheel.name in page.text, "down keeps what was added"


def test_purge_removes_everything(home: MirrorHome, wheel: Path) -> None:
    home.up()
    home.run_mirror("add", str(wheel))
    assert home.run_mirror("down", "--purge", "--yes").returncode == 0
    assert not (home.root / "data/pypi-mirror").exists()
    remaining = [path.name for path in home.root.rglob("*") if path.is_file()]
    assert remaining == [wheel.name, "lock"]
    home.up()
    page = httpx.get(
        f"http://127.0.0.1:{home.port}/workloads/stable/house-lib",
        headers={"Accept": "application/json"},
        trust_env=False,
        timeout=60,
    )
    assert page.status_code == 404


def test_devpi_serves_alone_without_nginx(
    home: MirrorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_SYSTEM_PATH", "")
    for name, value in (home.env | {"PATH": str(Path(sys.executable).parent)}).items():
        monkeypatch.setenv(name, value)
    progress = NoteRecorder()
    status = LocalMirror().up(
        overrides={"port": home.port}, progress=progress, deadline=Deadline.after(300)
    )
    assert status.state == "running"
    assert status.proxy == "none (devpi alone)"
    assert any("no nginx" in note for note in progress.notes)
    assert LocalMirror().down(purge=False)


def test_chooses_another_inner_port_if_one_is_taken(
    home: MirrorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in home.env.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = [int(other.getsockname()[1])]
        monkeypatch.setattr(
            services, "find_free_port", lambda: taken.pop() if taken else find_free_port()
        )
        status = LocalMirror().up(overrides={"port": home.port}, deadline=Deadline.after(300))
    assert not taken
    assert status.state == "running"
    assert LocalMirror().down(purge=False)


def test_names_the_process_that_uses_the_port(home: MirrorHome) -> None:
    with socket.create_server(("127.0.0.1", home.port)):
        result = home.run_mirror("up", "--port", str(home.port))
    assert result.returncode == 5
    assert f"port {home.port} is in use" in result.stderr
    assert f"process {os.getpid()}" in result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_used_port_changes_nothing(home: MirrorHome) -> None:
    """The running mirror goes on, and the next `up` does not try that port again."""
    home.up()
    pids = home.list_pids()
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = home.run_mirror("up", "--port", str(other.getsockname()[1]))
        assert result.returncode == 5
        assert home.list_pids() == pids
        assert home.run_json("status")[1]["state"] == "running"
    again = home.run_mirror("up")
    assert again.returncode == 0, again.stderr
    assert home.list_pids() == pids
    socks = home.run_mirror("up", "--port", str(home.port + 1), env={"https_proxy": "socks5://x:1"})
    assert socks.returncode == 2
    assert "https_proxy names a socks5 proxy" in socks.stderr
    assert home.list_pids() == pids


def test_a_stale_record_never_ends_a_foreign_process(home: MirrorHome) -> None:
    home.up()
    for pid in home.list_pids():
        os.killpg(pid, signal.SIGKILL)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        records = home.processes
        for record in records.values():
            record["pid"] = bystander.pid  # as after a reboot: the pid is used by another process
        home.processes_path.write_text(json.dumps(records))
        assert home.run_mirror("down").returncode == 0
        assert bystander.poll() is None
        assert home.up()["state"] == "running"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait(10)


def test_ends_the_workers_of_a_killed_nginx(home: MirrorHome) -> None:
    home.up()
    os.kill(int(home.processes["nginx"]["pid"]), signal.SIGKILL)
    assert home.up()["state"] == "running", "its workers kept the port"


def test_status_reports_a_dead_process_and_up_repairs_it(home: MirrorHome) -> None:
    home.up()
    os.kill(int(home.processes["devpi"]["pid"]), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while "running" in home.run_mirror("status").stdout and time.monotonic() < deadline:
        time.sleep(0.1)
    status = home.run_mirror("status")
    assert status.returncode == 1
    assert "broken" in status.stdout
    assert home.up()["state"] == "running"


def test_outlives_its_terminal(home: MirrorHome) -> None:
    """`script` starts the command in a session of its own, whose leader then exits."""
    subprocess.run(
        ["script", "-qec", f"mirror up --local --port {home.port}", "/dev/null"],
        env={**os.environ, **home.env},
        check=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    assert home.run_mirror("status").returncode == 0


def test_a_second_command_names_the_one_that_is_running(home: MirrorHome) -> None:
    lock = home.root / "state/pypi-mirror/lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        file.write("4242")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        result = home.run_mirror("up", "--port", str(home.port))
    assert result.returncode == 5
    assert "process 4242" in result.stderr


def test_refuses_anonymous_writes(home: MirrorHome) -> None:
    status = home.up()
    root = f"http://127.0.0.1:{home.port}"
    headers = {"Accept": "application/json"}
    with httpx.Client(trust_env=False, headers=headers, timeout=60) as anyone:
        user = anyone.put(f"{root}/mallory", json={"password": "x"})
        assert user.status_code == 403
        login = anyone.post(f"{root}/+login", json={"user": "root", "password": ""})
        assert login.status_code == 401
        index = anyone.put(f"{root}/root/x", json={"type": "mirror", "mirror_url": root})
        assert index.status_code in {401, 403}
        form = {":action": "file_upload", "name": "evil", "version": "1"}
        upload = anyone.post(
            f"{root}/workloads/stable/", data=form, files={"content": ("evil-1.tar.gz", b"x")}
        )
        assert upload.status_code in {401, 403}
    assert status["state"] == "running"


def test_secrets_are_in_no_argv_environment_or_log(home: MirrorHome) -> None:
    home.up()
    password = (home.root / "data/pypi-mirror/secrets/root-password").read_text()
    for pid in home.list_pids():
        assert password not in " ".join(psutil.Process(pid).cmdline())
        assert password not in str(psutil.Process(pid).environ())
    for log in (home.root / "state").rglob("*.log"):
        assert password not in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--port", "80"), "not a usable port"),
        (("up", "--upstream", "nonsense"), "not an index URL"),
        (("up", "--size", "5Gi"), "cannot be used with --local"),
        (("up", "--ca-bundle", "/nonexistent.pem"), "bad CA file"),
        (("env",), "no mirror runs"),
        (("add", "/nonexistent.whl"), "no such file"),
    ],
)
def test_reports_bad_input_as_one_error(
    home: MirrorHome, arguments: tuple[str, ...], message: str
) -> None:
    result = home.run_mirror(*arguments)
    assert result.returncode in {2, 3}
    assert message in result.stderr
    assert "next:" in result.stderr
    assert "Traceback" not in result.stderr


def test_names_a_broken_settings_file(home: MirrorHome) -> None:
    path = home.root / "config/pypi-mirror/local.json"
    path.parent.mkdir(parents=True)
    path.write_text("{broken")
    result = home.run_mirror("status")
    assert result.returncode == 2
    assert str(path) in result.stderr
