"""A lab from the outside: bring it up, use it, take it down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tests.cluster.binaries import Binaries, ensure_binaries
from tests.cluster.calico.build import ensure_calico_archive
from tests.cluster.cleanup import clean_dead_labs
from tests.cluster.debian import install_debian_packages
from tests.cluster.image_store import ensure_image_store
from tests.cluster.images import ensure_images
from tests.cluster.nodes import REPOSITORY
from tests.cluster.options import REGISTRY_PORT, LabOptions, Site, state_root
from tests.cluster.process import run
from tests.cluster.progress import Progress, ignore_progress
from tests.cluster.record import LabRecord, is_running, read_start_time
from tests.cluster.supervisor import LabRequest
from tests.cluster.waiting import wait_for

DOWN_SECONDS = 180
REQUEST_SECONDS = 180

# thirteen daemons in Go share the machine's cores: with one thread each they switch half as often
GO_ENVIRONMENT = {"GOMAXPROCS": "1"}


class LabError(RuntimeError):
    """A lab did not come up or could not do what it was asked."""


class Lab:
    """A lab that runs. The cluster is used with kubeconfig, the nodes with exec."""

    def __init__(self, record: LabRecord, keeper: subprocess.Popen[str] | None = None) -> None:
        self._record = record
        self._keeper = keeper

    @property
    def name(self) -> str:
        return self._record.options.name

    @property
    def options(self) -> LabOptions:
        return self._record.options

    @property
    def site(self) -> Site:
        """The lab's addresses and paths."""
        return self._record.site

    @property
    def kubeconfig(self) -> Path:
        return self.site.kubeconfig

    @property
    def logs_dir(self) -> Path:
        """The logs of every program; they stay after down, until the next up of this name."""
        return self.site.logs

    @property
    def supervisor_pid(self) -> int:
        return self._record.supervisor_pid

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes that run."""
        return tuple(self._ask("status")["nodes"])

    @property
    def registry(self) -> str:
        """host:port at which this machine pushes; in the cluster it is localhost:32000 too."""
        return f"{self.site.node_address(2)}:{REGISTRY_PORT}"

    def address(self, node: str) -> IPv4Address:
        """The address of a node's eth0. Raises CommandFailed for a node that does not run."""
        shown = self.exec(node, "ip", "-json", "-4", "address", "show", "eth0").stdout
        return IPv4Address(json.loads(shown)[0]["addr_info"][0]["local"])

    def kubectl(
        self, *argv: str, stdin: str | None = None, timeout: float = 60, check: bool = True
    ) -> str:
        """What kubectl printed. Raises CommandFailed unless check is off."""
        go = {
            **GO_ENVIRONMENT,
            "GOGC": "off",
            "GODEBUG": "",
        }  # it ends before it has much to collect
        env = {**os.environ, **go, "KUBECONFIG": str(self.kubeconfig)}
        kubelite = str(self._record.kubelite)
        done = run(kubelite, "kubectl", *argv, stdin=stdin, timeout=timeout, env=env, check=check)
        return done.stdout if check else done.stdout + done.stderr

    def exec(
        self,
        node: str,
        *argv: str,
        stdin: str | bytes | Path | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in all namespaces of a node. Raises CommandFailed unless check is off."""
        return run(*self.enter_command(node), *argv, stdin=stdin, timeout=timeout, check=check)

    def enter_command(self, node: str) -> tuple[str, ...]:
        """The command prefix that leads into a node. Raises LabFailed where it does not run."""
        try:
            pid = (self.site.node_folder(node) / "pid").read_text()
        except OSError:
            raise LabError(f"lab {self.name} has no node {node}") from None
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
        return ("nsenter", "--target", pid, *spaces, "--wd=/", "--")

    def load_image(self, archive: Path, nodes: Iterable[str] | None = None) -> None:
        """Import a Docker or OCI archive into containerd of the nodes (all that run)."""
        for node in self.nodes if nodes is None else nodes:
            self.exec(
                node, "ctr", "-n", "k8s.io", "images", "import", "-", stdin=archive, timeout=180
            )

    def remove_image(self, node: str, reference: str) -> None:
        """Take an image away from one node; reference as the kubelet would write it."""
        listed = self.exec(node, "ctr", "-n", "k8s.io", "images", "list", "-q").stdout.split()
        # containerd knows a short name by its full one.
        full = [name for name in listed if name == reference or name.endswith(f"/{reference}")]
        if not full:
            raise LabError(f"node {node} has no image {reference}")
        self.exec(node, "ctr", "-n", "k8s.io", "images", "remove", "--sync", *full)

    def kill_node(self, node: str) -> None:
        """End a node at once, as a power failure does; its disk stays."""
        self._ask("kill_node", node)

    def start_node(self, node: str) -> None:
        """Start a killed node again; returns when it is Ready."""
        self._ask("start_node", node)

    def add_node(self, node: str) -> None:
        """Add one more node; returns when it is Ready."""
        self._ask("start_node", node)

    def stop_apiserver(self) -> None:
        self._ask("stop_apiserver")

    def start_apiserver(self) -> None:
        """Returns when the API server is ready again."""
        self._ask("start_apiserver")

    def reset(self) -> None:
        """Back to the cluster as it was after up: same addresses and access, nothing else."""
        self._ask("reset")

    def down(self) -> None:
        """End the lab and wait until nothing of it is left. Raises NotInTime."""
        take_down(self.name)
        if self._keeper is not None:
            self._keeper.wait(DOWN_SECONDS)

    def _ask(self, what: str, *arguments: str) -> Any:
        path = self.site.socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(REQUEST_SECONDS)
            try:
                folder = os.open(path.parent, os.O_PATH)
            except FileNotFoundError:
                raise LabError(f"lab {self.name} is starting or ending") from None
            try:
                connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            except (FileNotFoundError, ConnectionRefusedError):
                raise LabError(f"lab {self.name} is starting or ending") from None
            finally:
                os.close(folder)
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps({"ask": what, "with": arguments}).encode() + b"\n")
                stream.flush()
                answer = stream.readline()
        if not answer:
            raise LabError(f"lab {self.name} ended while it was asked to {what}")
        reply = json.loads(answer)
        if "error" in reply:
            raise LabError(f"{what} {' '.join(arguments)}: {reply['error']}")
        return reply["result"]


def prepare(
    progress: Progress = ignore_progress,
    *,
    calico: bool = False,
    extra_archives: Sequence[str] = (),
) -> tuple[Binaries, Path]:
    """Install, build and cache what a lab is made of; quick when it is all there.

    Returns the programs and the image store. Raises LabFailed without root, and CommandFailed
    when an installation or a build fails.
    """
    if os.geteuid() != 0:
        raise LabError("a lab makes namespaces and network links: run it as root")
    install_debian_packages()
    binaries = ensure_binaries(progress)
    archives = ensure_images(binaries, progress)
    if calico:
        archives += (ensure_calico_archive(progress),)
    return binaries, ensure_image_store((*archives, *map(Path, extra_archives)), progress)


def bring_up(
    options: LabOptions,
    *,
    outlives_owner: bool = False,
    progress: Progress = ignore_progress,
) -> Lab:
    """Start a lab and return when its nodes, CoreDNS, storage and registry are ready.

    Whatever is missing on the machine is installed and built first. The lab ends with this
    process, however that ends, unless stays is set. Raises LabFailed with the reason.
    """
    binaries, store = prepare(progress, calico=options.calico, extra_archives=options.archives)
    clean_dead_labs()
    order = LabRequest(
        options=options,
        kubelite=binaries.kubelite,
        store=store,
        owner=os.getpid(),
        outlives_owner=outlives_owner,
    )
    logs = state_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{options.name}.keeper.log").open("w") as log:
        keeper = subprocess.Popen(
            (sys.executable, "-m", "tests.cluster.supervisor", order.to_json()),
            cwd=REPOSITORY,
            env={**os.environ, **GO_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        _follow(keeper, progress)
    except BaseException:
        keeper.terminate()
        keeper.wait(DOWN_SECONDS)
        raise
    record = LabRecord.load(state_root() / options.name)
    if record is None:
        raise LabError(f"lab {options.name} ended at once: see {log.name}")
    return Lab(record, keeper)


def _follow(keeper: subprocess.Popen[str], progress: Progress) -> None:
    assert keeper.stdout is not None
    for line in keeper.stdout:
        word, _, rest = line.strip().partition(" ")
        if word == "ready":
            return
        if word == "failed":
            raise LabError(rest.replace("\\n", "\n"))
        if word != "pid":
            progress(line.strip())
    raise LabError(f"the lab's keeper ended before it was ready; logs: {state_root() / 'logs'}")


def find_lab(name: str = "lab") -> Lab | None:
    """The running lab of this name, or None."""
    folder = state_root() / name
    record = LabRecord.load(folder)
    return Lab(record) if record is not None and is_running(folder) else None


def list_labs() -> tuple[Lab, ...]:
    """All labs that run under this state folder."""
    names = sorted(path.parent.name for path in state_root().glob("*/lab.json"))
    return tuple(lab for name in names if (lab := find_lab(name)) is not None)


def take_down(name: str = "lab") -> bool:
    """End the lab of this name and clean up after dead ones; whether it was up.

    Raises NotInTime when something of it is still there after a minute.
    """
    folder = state_root() / name
    record = LabRecord.load(folder)
    was_up = is_running(folder)
    if (
        record is not None
        and read_start_time(record.supervisor_pid) == record.supervisor_start_time
    ):
        os.kill(record.supervisor_pid, signal.SIGTERM)
    wait_for(f"lab {name} to end", lambda: not is_running(folder), timeout=DOWN_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    clean_dead_labs()
    return was_up


@contextmanager
def running_lab(options: LabOptions) -> Iterator[Lab]:
    """A lab for the length of a with block."""
    up = bring_up(options)
    try:
        yield up
    finally:
        up.down()
