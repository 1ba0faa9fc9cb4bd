"""`mirror … --local`: real devpi and nginx on this machine."""

from __future__ import annotations

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

from tests.conftest import RunProgram
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel


@pytest.fixture
def place(tmp_path: Path, program: RunProgram) -> Iterator[MirrorHome]:
    made = MirrorHome(tmp_path, program)
    yield made
    made.run_mirror("down")
    assert not any(psutil.pid_exists(pid) for pid in made.list_pids())


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")


def test_up_status_env_add_install_down(place: MirrorHome, wheel: Path, tmp_path: Path) -> None:
    told = place.up()
    assert told["state"] == "running"
    assert told["front"] == "nginx"
    assert told["url"] == f"http://127.0.0.1:{place.port}/workloads/stable/+simple/"
    pids = place.list_pids()

    assert place.up()["state"] == "running"
    assert place.list_pids() == pids, "a second up restarts nothing"

    env = json.loads(place.run_mirror("env", "--format", "json").stdout)
    assert env["UV_INDEX_URL"] == told["url"]

    first = json.loads(place.run_mirror("add", str(wheel), "-o", "json").stdout)
    again = json.loads(place.run_mirror("add", str(wheel), "-o", "json").stdout)
    assert [first[0]["outcome"], again[0]["outcome"]] == ["added", "present"]

    target = tmp_path / "target"
    for installer in (
        ("uv", "pip", "install", "--no-cache", "--target", str(target / "uv"), "house-lib"),
        (
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--target",
            str(target / "pip"),
            "house-lib",
        ),
    ):
        subprocess.run(installer, env={**os.environ, **env, "PIP_FIND_LINKS": ""}, check=True)
    assert (target / "uv/house_lib.py").read_text() == "x = 1\n"
    assert (target / "pip/house_lib.py").read_text() == "x = 1\n"

    assert place.run_mirror("down").returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert place.run_mirror("status").returncode == 1
    assert place.up()["state"] == "running"
    page = httpx.get(f"{env['UV_INDEX_URL']}house-lib/", trust_env=False, timeout=60)
    assert wheel.name in page.text, "down keeps what was added"


def test_purge_removes_everything(place: MirrorHome, wheel: Path) -> None:
    place.up()
    place.run_mirror("add", str(wheel))
    assert place.run_mirror("down", "--purge").returncode == 0
    assert not (place.root / "data/pypi-mirror").exists()
    left = [path.name for path in place.root.rglob("*") if path.is_file()]
    assert left == [wheel.name, "lock"]
    place.up()
    page = httpx.get(
        f"http://127.0.0.1:{place.port}/workloads/stable/house-lib",
        headers={"Accept": "application/json"},
        trust_env=False,
        timeout=60,
    )
    assert page.status_code == 404


def test_without_nginx_devpi_serves_alone(
    place: MirrorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mirror.local import mirror, services

    monkeypatch.setattr(services, "_SYSTEM_PATH", "")
    for name, value in (place.env | {"PATH": str(Path(sys.executable).parent)}).items():
        monkeypatch.setenv(name, value)
    from mirror.core.wait import Deadline

    notes: list[str] = []

    class Heard:
        def step(self, text: str) -> None: ...
        def count(self, done: int, total: int, text: str = "") -> None: ...
        def note(self, text: str) -> None:
            notes.append(text)

    status = mirror.LocalMirror().up(
        overrides={"port": place.port}, progress=Heard(), deadline=Deadline.after(300)
    )
    assert status.state == "running"
    assert status.front == "none (devpi alone)"
    assert any("no nginx" in note for note in notes)
    assert mirror.LocalMirror().down(purge=False)


def test_an_inner_port_that_was_lost_is_replaced(
    place: MirrorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mirror.core.wait import Deadline
    from mirror.local import mirror, services
    from mirror.local.processes import find_free_port

    for name, value in place.env.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as other:
        lost = [int(other.getsockname()[1])]
        monkeypatch.setattr(
            services, "find_free_port", lambda: lost.pop() if lost else find_free_port()
        )
        status = mirror.LocalMirror().up(
            overrides={"port": place.port}, deadline=Deadline.after(300)
        )
    assert not lost
    assert status.state == "running"
    assert mirror.LocalMirror().down(purge=False)


def test_a_port_in_use_is_named_with_its_owner(place: MirrorHome) -> None:
    with socket.create_server(("127.0.0.1", place.port)):
        done = place.run_mirror("up", "--port", str(place.port))
    assert done.returncode == 5
    assert f"port {place.port} is in use" in done.stderr
    assert f"process {os.getpid()}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stale_record_never_ends_somebody_elses_process(place: MirrorHome) -> None:
    place.up()
    for pid in place.list_pids():
        os.killpg(pid, signal.SIGKILL)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        path = place.root / "state/pypi-mirror/processes.json"
        record = place.processes
        for one in record.values():
            one["pid"] = bystander.pid  # as after a reboot: the pid lives, as something else
        path.write_text(json.dumps(record))
        assert place.run_mirror("down").returncode == 0
        assert bystander.poll() is None
        assert place.up()["state"] == "running"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait(10)


def test_what_a_killed_nginx_leaves_is_ended(place: MirrorHome) -> None:
    place.up()
    os.kill(int(place.processes["nginx"]["pid"]), signal.SIGKILL)
    assert place.up()["state"] == "running", "its workers held the port"


def test_one_process_dead_is_seen_and_mended(place: MirrorHome) -> None:
    place.up()
    os.kill(int(place.processes["devpi"]["pid"]), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while "running" in place.run_mirror("status").stdout and time.monotonic() < deadline:
        time.sleep(0.1)
    broken = place.run_mirror("status")
    assert broken.returncode == 1
    assert "broken" in broken.stdout
    assert place.up()["state"] == "running"


def test_it_outlives_its_terminal(place: MirrorHome, program: RunProgram) -> None:
    """Started in a session of its own whose leader then ends: the hang-up reaches nobody."""
    script = f"mirror up --local --port {place.port}"
    subprocess.run(
        ["script", "-qec", script, "/dev/null"],
        env={**os.environ, **place.env},
        check=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    assert place.run_mirror("status").returncode == 0


def test_two_at_once_one_names_the_holder(place: MirrorHome) -> None:
    import fcntl

    lock = place.root / "state/pypi-mirror/lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        held.write("4242")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        done = place.run_mirror("up", "--port", str(place.port))
    assert done.returncode == 5
    assert "process 4242" in done.stderr


def test_anonymous_writers_are_refused(place: MirrorHome, wheel: Path) -> None:
    told = place.up()
    root = f"http://127.0.0.1:{place.port}"
    headers = {"Accept": "application/json"}
    with httpx.Client(trust_env=False, headers=headers, timeout=60) as anyone:
        made = anyone.put(f"{root}/mallory", json={"password": "x"})
        assert made.status_code == 403
        empty = anyone.post(f"{root}/+login", json={"user": "root", "password": ""})
        assert empty.status_code == 401
        inside = anyone.put(f"{root}/root/x", json={"type": "mirror", "mirror_url": root})
        assert inside.status_code in {401, 403}
        form = {":action": "file_upload", "name": "evil", "version": "1"}
        sent = anyone.post(
            f"{root}/workloads/stable/", data=form, files={"content": ("evil-1.tar.gz", b"x")}
        )
        assert sent.status_code in {401, 403}
    assert told["state"] == "running"


def test_no_secret_in_argv_or_logs(place: MirrorHome) -> None:
    place.up()
    password = (place.root / "data/pypi-mirror/secrets/root-password").read_text()
    for pid in place.list_pids():
        words = " ".join(psutil.Process(pid).cmdline())
        assert password not in words
        assert password not in str(psutil.Process(pid).environ())
    for log in (place.root / "state").rglob("*.log"):
        assert password not in log.read_text()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("up", "--port", "80"), "not a usable port"),
        (("up", "--upstream", "nonsense"), "not an index URL"),
        (("up", "--size", "5Gi"), "not with --local"),
        (("up", "--ca-bundle", "/nonexistent.pem"), "bad CA file"),
        (("env",), "no mirror runs"),
        (("add", "/nonexistent.whl"), "no such file"),
    ],
)
def test_bad_input_is_one_clear_error(place: MirrorHome, words: tuple[str, ...], part: str) -> None:
    done = place.run_mirror(*words)
    assert done.returncode in {2, 3}
    assert part in done.stderr
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr


def test_broken_settings_are_named(place: MirrorHome) -> None:
    path = place.root / "config/pypi-mirror/local.json"
    path.parent.mkdir(parents=True)
    path.write_text("{broken")
    done = place.run_mirror("status")
    assert done.returncode == 2
    assert str(path) in done.stderr
