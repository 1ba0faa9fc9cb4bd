"""An API server alone, on loopback: for tests of objects that need no nodes. Ready in seconds."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.binaries import ensure_binaries
from tests.cluster.process import run
from tests.cluster.waiting import WaitAborted, wait_for

ADMIN, LIMITED = "admin", "limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """Kubeconfigs: of the admin, and of a user `limited`, who has the rights he is given."""

    admin: Path
    limited: Path
    kubelite: Path

    def kubectl(self, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl printed, as the admin."""
        env = {"KUBECONFIG": str(self.admin), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
        done = run(str(self.kubelite), "kubectl", *argv, stdin=stdin, env=env, check=check)
        return done.stdout


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """etcd and kube-apiserver, which end with this process however it ends."""
    kubelite = ensure_binaries().kubelite
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client, peer, port = _free_ports(3)
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
        server = ApiServer(
            admin=_kubeconfig(folder, ADMIN, "a", port),
            limited=_kubeconfig(folder, LIMITED, "l", port),
            kubelite=kubelite,
        )
        running = [stack.enter_context(_program(folder, kubelite, argv)) for argv in programs]
        wait_for("the API server", lambda: _ready(server, running), timeout=90, interval=0.2)
        yield server


def _ready(server: ApiServer, running: list[subprocess.Popen[bytes]]) -> bool:
    if any(child.poll() is not None for child in running):
        raise WaitAborted("etcd or the API server ended at once")
    if server.kubectl("get", "--raw", "/readyz", check=False) != "ok":
        return False
    return bool(server.kubectl("get", "namespace", "kube-system", "-o", "name", check=False))


@contextmanager
def _program(
    folder: Path, kubelite: Path, argv: tuple[str, ...]
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{argv[0]}.log").open("wb") as log:
        # killed by the kernel with the thread that started it, should that be killed
        words = ["setpriv", "--pdeathsig", "KILL", str(kubelite), *argv]
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield child
    finally:
        child.kill()
        child.wait(20)


def _kubeconfig(folder: Path, name: str, token: str, port: int) -> Path:
    path = folder / f"{name}.kubeconfig"
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.write_text(yaml.safe_dump(config))
    return path


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
