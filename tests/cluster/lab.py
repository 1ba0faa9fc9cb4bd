"""The lab's client: start a lab, use it, and stop it."""

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

from tests import REPOSITORY
from tests.cluster.binaries import Binaries, ensure_binaries
from tests.cluster.calico.build import ensure_calico_archive
from tests.cluster.cleanup import clean_dead_labs
from tests.cluster.debian import install_debian_packages
from tests.cluster.image_store import ensure_image_store
from tests.cluster.images import ensure_images
from tests.cluster.objects import render_list
from tests.cluster.options import REGISTRY_PORT, LabOptions, Site, state_root
from tests.cluster.process import run
from tests.cluster.progress import Progress, ignore_progress
from tests.cluster.record import LabRecord, is_running, read_start_time
from tests.cluster.supervisor import LabRequest
from tests.cluster.waiting import wait_for

DOWN_SECONDS = 180
REQUEST_SECONDS = 180

# thirteen Go daemons share the cores; with one thread each, context switches drop by half
GO_ENVIRONMENT = {"GOMAXPROCS": "1"}


class LabError(RuntimeError):
    """A lab did not start, or a request to it failed."""


class Lab:
    """A running lab. Use its cluster through kubeconfig and its nodes through exec."""

    def __init__(self, record: LabRecord, supervisor: subprocess.Popen[str] | None = None) -> None:
        self._record = record
        self._supervisor = supervisor

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
        """Return the folder of all logs. They are kept until a lab of this name starts again."""
        return self.site.logs

    @property
    def supervisor_pid(self) -> int:
        return self._record.supervisor_pid

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the names of the running nodes."""
        return tuple(self._request("status")["nodes"])

    @property
    def registry(self) -> str:
        """Return the host:port to push to. In the cluster, localhost:32000 is the same registry."""
        return f"{self.site.node_address(2)}:{REGISTRY_PORT}"

    def address(self, node: str) -> IPv4Address:
        """Return the address of a node's eth0. Raises LabError if the node does not run."""
        links = json.loads(self.exec(node, "ip", "-json", "-4", "address", "show", "eth0").stdout)
        return IPv4Address(links[0]["addr_info"][0]["local"])

    def kubectl(
        self, *argv: str, stdin: str | None = None, timeout: float = 60, check: bool = True
    ) -> str:
        """Run kubectl and return its output.

        Raises CommandError if kubectl fails. With check=False, returns stdout and stderr instead.
        """
        # too short-lived for garbage collection
        go = {**GO_ENVIRONMENT, "GOGC": "off", "GODEBUG": ""}
        env = {**os.environ, **go, "KUBECONFIG": str(self.kubeconfig)}
        kubectl = (str(self._record.kubelite), "kubectl")
        result = run(*kubectl, *argv, stdin=stdin, timeout=timeout, env=env, check=check)
        return result.stdout if check else result.stdout + result.stderr

    def get(self, *argv: str) -> Any:
        """Run `kubectl get … -o json` and return the decoded object or list."""
        return json.loads(self.kubectl("get", *argv, "-o", "json"))

    def get_items(self, *argv: str) -> list[Any]:
        """Run `kubectl get … -o json` and return the objects of the list."""
        items = self.get(*argv)["items"]
        assert isinstance(items, list)
        return items

    def apply(self, *objects: Any) -> None:
        """Run `kubectl apply` with objects."""
        self.kubectl("apply", "-f", "-", stdin=render_list(objects))

    def exec(
        self,
        node: str,
        *argv: str,
        stdin: str | bytes | Path | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in all namespaces of a node. Raises CommandError unless check is False."""
        return run(*self.enter_command(node), *argv, stdin=stdin, timeout=timeout, check=check)

    def enter_command(self, node: str) -> tuple[str, ...]:
        """Return the command prefix that enters a node. Raises LabError if it does not run."""
        try:
            pid = (self.site.node_folder(node) / "pid").read_text()
        except OSError:
            raise LabError(f"lab {self.name} has no node {node}") from None
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
        return ("nsenter", "--target", pid, *spaces, "--wd=/", "--")

    def load_image(self, archive: Path, nodes: Iterable[str] | None = None) -> None:
        """Import a Docker or OCI archive into containerd of nodes (default: all that run)."""
        for node in self.nodes if nodes is None else nodes:
            self.exec(
                node, "ctr", "-n", "k8s.io", "images", "import", "-", stdin=archive, timeout=180
            )

    def remove_image(self, node: str, reference: str) -> None:
        """Remove an image from one node, given by its short or full reference."""
        images = self.exec(node, "ctr", "-n", "k8s.io", "images", "list", "-q").stdout.split()
        # containerd lists full references
        names = [name for name in images if name == reference or name.endswith(f"/{reference}")]
        if not names:
            raise LabError(f"node {node} has no image {reference}")
        self.exec(node, "ctr", "-n", "k8s.io", "images", "remove", "--sync", *names)

    def kill_node(self, node: str) -> None:
        """Kill a node as a power failure does; its disk stays."""
        self._request("kill_node", node)

    def start_node(self, node: str) -> None:
        """Restart a killed node and wait until it is Ready."""
        self._request("start_node", node)

    def add_node(self, node: str) -> None:
        """Add a node and wait until it is Ready."""
        self._request("start_node", node)

    def stop_apiserver(self) -> None:
        self._request("stop_apiserver")

    def start_apiserver(self) -> None:
        """Start the API server and wait until it is ready."""
        self._request("start_apiserver")

    def reset(self) -> None:
        """Start over with an empty cluster. Addresses and kubeconfig stay the same."""
        self._request("reset")

    def down(self) -> None:
        """Stop the lab and wait until nothing of it is left. Raises ConditionTimeout."""
        take_down(self.name)
        if self._supervisor is not None:
            self._supervisor.wait(DOWN_SECONDS)

    def _request(self, operation: str, *arguments: str) -> Any:
        path = self.site.socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(REQUEST_SECONDS)
            try:
                folder = os.open(path.parent, os.O_PATH)
            except FileNotFoundError:
                raise LabError(f"lab {self.name} is starting or stopping") from None
            try:
                connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            except (FileNotFoundError, ConnectionRefusedError):
                raise LabError(f"lab {self.name} is starting or stopping") from None
            finally:
                os.close(folder)
            with connection.makefile("rwb") as stream:
                request = {"operation": operation, "arguments": arguments}
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                line = stream.readline()
        if not line:
            raise LabError(f"lab {self.name} exited during {operation}")
        reply = json.loads(line)
        if "error" in reply:
            raise LabError(f"{operation} {' '.join(arguments)}: {reply['error']}")
        return reply["result"]


def prepare(
    progress: Progress = ignore_progress,
    *,
    calico: bool = False,
    extra_archives: Sequence[str] = (),
) -> tuple[Binaries, Path]:
    """Install, build and cache everything that a lab needs. Quick if all of it is there.

    Returns the programs and the image store. Raises LabError without root, and CommandError if an
    installation or a build fails.
    """
    if os.geteuid() != 0:
        raise LabError("a lab creates namespaces and network links: run it as root")
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
    """Start a lab and wait until its nodes, CoreDNS, storage and registry are ready.

    Installs and builds what is missing on the machine. The lab stops when this process exits,
    unless outlives_owner is set. Raises LabError with the reason if it does not start.
    """
    binaries, store = prepare(progress, calico=options.calico, extra_archives=options.archives)
    clean_dead_labs()
    request = LabRequest(
        options=options,
        kubelite=binaries.kubelite,
        store=store,
        owner=os.getpid(),
        outlives_owner=outlives_owner,
    )
    logs = state_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{options.name}.supervisor.log").open("w") as log:
        supervisor = subprocess.Popen(
            (sys.executable, "-m", "tests.cluster.supervisor", request.to_json()),
            cwd=REPOSITORY,
            env={**os.environ, **GO_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        _wait_until_ready(supervisor, progress)
    except BaseException:
        supervisor.terminate()
        supervisor.wait(DOWN_SECONDS)
        raise
    record = LabRecord.load(state_root() / options.name)
    if record is None:
        raise LabError(f"lab {options.name} exited at start: see {log.name}")
    return Lab(record, supervisor)


def _wait_until_ready(supervisor: subprocess.Popen[str], progress: Progress) -> None:
    assert supervisor.stdout is not None
    for line in supervisor.stdout:
        word, _, rest = line.strip().partition(" ")
        if word == "ready":
            return
        if word == "failed":
            raise LabError(rest.replace("\\n", "\n"))
        if word != "pid":
            progress(line.strip())
    raise LabError(f"the lab exited before it was ready: see the logs in {state_root() / 'logs'}")


def find_lab(name: str = "lab") -> Lab | None:
    """Return the running lab of this name, or None."""
    folder = state_root() / name
    record = LabRecord.load(folder)
    return Lab(record) if record is not None and is_running(folder) else None


def list_labs() -> tuple[Lab, ...]:
    """Return all running labs of this state folder."""
    names = sorted(path.parent.name for path in state_root().glob("*/lab.json"))
    return tuple(lab for name in names if (lab := find_lab(name)) is not None)


def take_down(name: str = "lab") -> bool:
    """Stop the lab of this name and clean up after dead labs; return whether it was running.

    Raises ConditionTimeout if something of it is left after DOWN_SECONDS.
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
    """Start a lab and stop it at the end of the with block."""
    lab = bring_up(options)
    try:
        yield lab
    finally:
        lab.down()
