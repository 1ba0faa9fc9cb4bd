"""What `mirror up --local` shows to other users of the machine, and what it leaves behind."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.conftest import RunProgram
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel

CANARY = "canary-root-password-4f1b"

STOPPED = """\
0700 config/pypi-mirror/
0644 config/pypi-mirror/local.json
0700 data/pypi-mirror/
0700 data/pypi-mirror/devpi/
0755 data/pypi-mirror/devpi/+files/
0755 data/pypi-mirror/devpi/+files/workloads/
0755 data/pypi-mirror/devpi/+files/workloads/stable/
0755 data/pypi-mirror/devpi/+files/workloads/stable/+f/
0755 data/pypi-mirror/devpi/+files/workloads/stable/+f/HASH/
0755 data/pypi-mirror/devpi/+files/workloads/stable/+f/HASH/HASH/
0644 data/pypi-mirror/devpi/+files/workloads/stable/+f/HASH/HASH/house_lib-1.0-py3-none-any.whl
0644 data/pypi-mirror/devpi/.event_serial
0600 data/pypi-mirror/devpi/.nodeinfo
0644 data/pypi-mirror/devpi/.served-by
0644 data/pypi-mirror/devpi/.serverversion
0644 data/pypi-mirror/devpi/.sqlite
0755 data/pypi-mirror/private/
0644 data/pypi-mirror/private/house-lib
0755 data/pypi-mirror/public/
0755 data/pypi-mirror/public/files/
0755 data/pypi-mirror/public/fresh/
0755 data/pypi-mirror/public/links/
0755 data/pypi-mirror/public/packages/
0755 data/pypi-mirror/public/pages/
0755 data/pypi-mirror/public/partial/
0755 data/pypi-mirror/public/shown/
0644 data/pypi-mirror/public/upstream
0700 data/pypi-mirror/secrets/
0600 data/pypi-mirror/secrets/root-password
0600 data/pypi-mirror/secrets/secretfile
0700 state/pypi-mirror/
0644 state/pypi-mirror/devpi.log
0644 state/pypi-mirror/lock
0755 state/pypi-mirror/nginx/
0700 state/pypi-mirror/nginx/client_body/
0700 state/pypi-mirror/nginx/fastcgi/
0644 state/pypi-mirror/nginx/nginx.conf
0700 state/pypi-mirror/nginx/proxy/
0644 state/pypi-mirror/nginx/requests.log
0700 state/pypi-mirror/nginx/scgi/
0700 state/pypi-mirror/nginx/uwsgi/
0644 state/pypi-mirror/nginx.log
0644 state/pypi-mirror/public.log
0700 state/pypi-mirror/run/
0600 state/pypi-mirror/run/secretfile
""".splitlines()
# while it runs; devpi's database may have a journal
RUNNING = sorted(
    [
        *STOPPED,
        "0644 state/pypi-mirror/nginx/nginx.pid",
        "0644 state/pypi-mirror/processes.json",
    ]
)
PURGED = ["0700 state/pypi-mirror/", "0644 state/pypi-mirror/lock"]
# our command lines; nginx renames its own processes
COMMANDS = {
    "devpi": (
        "PYTHON -m mirror.private_names --marks DATA/private --serverdir DATA/devpi"
        " --secretfile STATE/run/secretfile --host 127.0.0.1 --port PORT --threads 4"
        " --request-timeout 60 --max-request-body-size 4294967296 --restrict-modify root"
        " --enable-core-metadata --argon2-memory-cost 8192 --argon2-time-cost 1"
        " --argon2-parallelism 1"
    ),
    "public": (
        "PYTHON -m mirror.cache --root DATA/public --port PORT --requests STATE/nginx/requests.log"
    ),
    "nginx": "nginx: master process NGINX -p STATE/nginx -c STATE/nginx/nginx.conf -e stderr",
}
# variables that a process has in addition to those of the command that started it
VARIABLES = {
    "devpi": {},
    "public": {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "1048576",
        "MALLOC_TRIM_THRESHOLD_": "8388608",
    },
}


@dataclass(frozen=True)
class RunningMirror:
    home: MirrorHome
    processes: dict[str, list[psutil.Process]]  # with their children
    secrets: tuple[str, ...]


@pytest.fixture(scope="module")
def mirror(
    tmp_path_factory: pytest.TempPathFactory, program: RunProgram
) -> Iterator[RunningMirror]:
    root = tmp_path_factory.mktemp("machine")
    home = MirrorHome(root, program)
    secrets = root / "data/pypi-mirror/secrets"
    secrets.mkdir(parents=True, mode=0o755)  # as an earlier version may have left it
    (secrets / "root-password").write_text(CANARY)
    (secrets / "root-password").chmod(0o600)
    umask = os.umask(0o022)
    try:
        home.up()
        wheel = make_wheel(tmp_path_factory.mktemp("wheel"), "house-lib", "1.0", "x = 1\n")
        added = home.run_mirror("add", str(wheel))
        assert added.returncode == 0, added.stderr
        assert set(home.processes) == {"devpi", "public", "nginx"}
        processes = {}
        for name, record in home.processes.items():
            leader = psutil.Process(int(record["pid"]))
            processes[name] = [leader, *leader.children(recursive=True)]
        secretfile = (secrets / "secretfile").read_text().strip()
        yield RunningMirror(home, processes, (CANARY, secretfile))
    finally:
        home.run_mirror("down", "--purge", "--yes")
        os.umask(umask)


def list_files(root: Path) -> list[str]:
    """Mode and path of everything below the folders of the mirror; folders end with a slash."""
    lines = []
    for parent in ("config", "data", "state"):
        for path in sorted((root / parent).rglob("*")):
            status = path.lstat()
            assert status.st_uid == os.getuid(), path
            if path.name.startswith(".sqlite-"):  # a journal of devpi's database
                continue
            kind = stat.filemode(status.st_mode)[0]
            assert kind in "d-", f"neither file nor folder: {path}"
            name = str(path.relative_to(root)) + ("/" if kind == "d" else "")
            name = re.sub(r"/\+f/[0-9a-f]{3}/", "/+f/HASH/", name)
            name = re.sub(r"/HASH/[0-9a-f]{13}/", "/HASH/HASH/", name)
            lines.append(f"{stat.S_IMODE(status.st_mode):04o} {name}")
    return lines


def read_proc(process: psutil.Process, name: str) -> list[str]:
    """The words of /proc/PID/cmdline or environ, as other programs read them."""
    return Path(f"/proc/{process.pid}/{name}").read_bytes().decode().rstrip("\0").split("\0")


def test_every_file_and_folder_has_its_mode(mirror: RunningMirror) -> None:
    assert sorted(list_files(mirror.home.root)) == RUNNING


def test_no_file_that_others_can_read_holds_a_secret(mirror: RunningMirror) -> None:
    holders = []
    for path in sorted(mirror.home.root.rglob("*")):
        if path.is_file() and any(s.encode() in path.read_bytes() for s in mirror.secrets):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            holders.append(str(path.relative_to(mirror.home.root)))
    assert holders == [
        "data/pypi-mirror/secrets/root-password",
        "data/pypi-mirror/secrets/secretfile",
        "state/pypi-mirror/run/secretfile",
    ]


def test_listens_on_the_loopback_address_only(mirror: RunningMirror) -> None:
    listening: dict[str, set[str]] = {}
    for name, processes in mirror.processes.items():
        connections = [each for process in processes for each in process.net_connections("all")]
        listening[name] = {
            each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN
        }
        ports = {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
        assert len(ports) == 1, (name, ports)
        if name == "nginx":
            assert ports == {mirror.home.port}
        # nameless pairs between processes of one program; nobody else can connect to them
        assert {each.laddr for each in connections if each.family.name == "AF_UNIX"} <= {""}
        assert not [each for each in connections if each.type.name == "SOCK_DGRAM"]
    assert listening == {name: {"127.0.0.1"} for name in ("devpi", "public", "nginx")}


@pytest.mark.parametrize("name", ["devpi", "public", "nginx"])
def test_starts_programs_with_these_arguments(mirror: RunningMirror, name: str) -> None:
    root = mirror.home.root
    text = (
        " ".join(read_proc(mirror.processes[name][0], "cmdline"))
        .rstrip()
        .replace(f"{root}/data/pypi-mirror", "DATA")
    )
    text = text.replace(f"{root}/state/pypi-mirror", "STATE")
    text = re.sub(r"--port \d+", "--port PORT", text)
    text = re.sub(r"^\S+/python3?(\.\d+)? ", "PYTHON ", text)
    text = re.sub(r"process \S+/nginx ", "process NGINX ", text)
    assert text == COMMANDS[name]


@pytest.mark.parametrize("name", ["devpi", "public"])
def test_adds_only_these_variables(mirror: RunningMirror, name: str) -> None:
    variables = dict(line.split("=", 1) for line in read_proc(mirror.processes[name][0], "environ"))
    del variables["PYTEST_CURRENT_TEST"]  # of the test that started the mirror
    given = {**os.environ, **mirror.home.env}
    added = {key: value for key, value in variables.items() if given.get(key) != value}
    assert added == VARIABLES[name]


@pytest.mark.parametrize("name", ["devpi", "public", "nginx"])
def test_arguments_and_variables_hold_no_secret(mirror: RunningMirror, name: str) -> None:
    for process in mirror.processes[name]:
        for source in ("cmdline", "environ"):
            text = "\0".join(read_proc(process, source))
            assert not [secret for secret in mirror.secrets if secret in text], (name, source)


@pytest.mark.parametrize("name", ["devpi", "public", "nginx"])
def test_keeps_no_file_open_outside_its_folders(mirror: RunningMirror, name: str) -> None:
    data, state = (mirror.home.root / each / "pypi-mirror" for each in ("data", "state"))
    folders = {"devpi": data / "devpi", "public": data / "public", "nginx": data / "public"}
    for process in mirror.processes[name]:
        opened = {Path(each.path) for each in process.open_files()}
        assert state / f"{name}.log" in opened
        others = opened - {state / f"{name}.log", state / "nginx/requests.log"}
        assert not [path for path in others if not path.is_relative_to(folders[name])]
        assert Path(f"/proc/{process.pid}/fd/0").readlink() == Path("/dev/null")


# the last two stop the mirror that the tests above share


def test_down_keeps_packages_secrets_and_logs(mirror: RunningMirror) -> None:
    assert mirror.home.run_mirror("down").returncode == 0
    assert not [each for group in mirror.processes.values() for each in group if each.is_running()]
    assert sorted(list_files(mirror.home.root)) == sorted(STOPPED)


def test_purge_leaves_only_an_empty_lock(mirror: RunningMirror) -> None:
    warm = mirror.home.root / "state/pypi-mirror/warm"
    warm.mkdir()
    (warm / "0123.order").write_text("house-lib")
    assert mirror.home.run_mirror("down", "--purge", "--yes").returncode == 0
    assert list_files(mirror.home.root) == PURGED
    assert (mirror.home.root / "state/pypi-mirror/lock").read_text() == ""
