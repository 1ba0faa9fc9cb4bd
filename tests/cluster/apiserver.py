"""An API server without nodes, on loopback, for tests that only need objects. Ready in seconds."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import ensure_binaries
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.process import run
from tests.cluster.waiting import WaitAborted, wait_for

ADMIN, LIMITED = "admin", "limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """Kubeconfigs of an admin, and of a user `limited` who has only granted rights."""

    admin: Path
    limited: Path
    kubelite: Path

    def kubectl(self, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the admin and return its output."""
        env = {"KUBECONFIG": str(self.admin), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
        return run(str(self.kubelite), "kubectl", *argv, stdin=stdin, env=env, check=check).stdout


@contextmanager
def run_api_server() -> Iterator[ApiServer]:
    """Run etcd and kube-apiserver until the block ends. They die with this process."""
    kubelite = ensure_binaries().kubelite
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client, peer, port = _find_free_ports(3)
        etcd = f"http://127.0.0.1:{client}"
        peers = f"http://127.0.0.1:{peer}"
        programs = [
            (
                *("etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync"),
                *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"default={peers}"),
            ),
            (
                *("kube-apiserver", "--etcd-servers", etcd, "--secure-port", str(port)),
                *("--bind-address", "127.0.0.1", "--cert-dir", str(folder / "certs")),
                *("--service-cluster-ip-range", "10.152.183.0/24"),
                *("--service-account-issuer", "https://kubernetes.default.svc"),
                *("--service-account-signing-key-file", str(folder / "sa.key")),
                *("--service-account-key-file", str(folder / "sa.key")),
                *("--token-auth-file", str(folder / "tokens.csv")),
                *("--authorization-mode", "RBAC"),
            ),
        ]
        run("openssl", "genrsa", "-out", str(folder / "sa.key"), "2048")
        (folder / "tokens.csv").write_text("a,admin,admin,system:masters\nl,limited,limited\n")
        url = f"https://127.0.0.1:{port}"
        admin, limited = (
            write_kubeconfig(
                folder / f"{user}.kubeconfig", name=user, server=url, user=user, token=token
            )
            for user, token in ((ADMIN, "a"), (LIMITED, "l"))
        )
        server = ApiServer(admin=admin, limited=limited, kubelite=kubelite)
        running = [stack.enter_context(_run_program(folder, kubelite, argv)) for argv in programs]
        wait_for("the API server", lambda: _is_ready(server, running), timeout=90, interval=0.2)
        yield server


def _is_ready(server: ApiServer, running: list[subprocess.Popen[bytes]]) -> bool:
    if any(child.poll() is not None for child in running):
        raise WaitAborted("etcd or the API server exited at start")
    if server.kubectl("get", "--raw", "/readyz", check=False) != "ok":
        return False
    return bool(server.kubectl("get", "namespace", "kube-system", "-o", "name", check=False))


@contextmanager
def _run_program(
    folder: Path, kubelite: Path, argv: tuple[str, ...]
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{argv[0]}.log").open("wb") as log:
        # the kernel kills it if the thread that started it dies
        command = ["setpriv", "--pdeathsig", "KILL", str(kubelite), *argv]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield child
    finally:
        child.kill()
        child.wait(20)


def _find_free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
