"""The lab's control plane: etcd, API server, controller manager and scheduler."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.options import API_PORT, LabOptions, Site
from tests.cluster.pki import make_pki
from tests.cluster.process import run
from tests.cluster.waiting import WaitAborted, wait_for

ETCD = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"
STOP_SECONDS = 20.0


class ControlPlane:
    """Runs the four programs as children of the lab's first process."""

    def __init__(self, site: Site, options: LabOptions, kubelite: Path) -> None:
        self._site = site
        self._options = options
        self._kubelite = str(kubelite)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all four programs. Returns when the API server is ready."""
        site = self._site
        self._pki = make_pki(site)
        if not site.kubeconfig.exists():
            self._write_access()
        peers = ("--listen-peer-urls", ETCD_PEER, "--initial-advertise-peer-urls", ETCD_PEER)
        clients = ("--listen-client-urls", ETCD, "--advertise-client-urls", ETCD)
        cluster = ("--initial-cluster", f"default={ETCD_PEER}")
        data = ("--data-dir", str(site.control / "etcd"), "--unsafe-no-fsync")
        self._run("etcd", *data, *clients, *peers, *cluster)
        self.start_apiserver()
        access = ("--kubeconfig", str(site.kubeconfig), "--leader-elect=false")
        self._run(
            "kube-controller-manager",
            *access,
            *("--service-account-private-key-file", str(self._pki / "sa.key")),
            *("--root-ca-file", str(self._pki / "ca.crt")),
            *("--cluster-cidr", self._join_families(str(site.pods), str(site.ipv6_network))),
            *("--node-monitor-grace-period", f"{self._options.node_grace}s"),
            "--use-service-account-credentials",
            # The CNI configuration has fixed subnets; allocated ones would differ.
            "--allocate-node-cidrs=false",
        )
        self._run("kube-scheduler", *access)

    def start_apiserver(self) -> None:
        """Start the API server and wait until it is ready.

        Raises ConditionTimeout or WaitAborted.
        """
        site, pki = self._site, self._pki
        self._run(
            "kube-apiserver",
            *("--etcd-servers", ETCD),
            *(
                "--service-cluster-ip-range",
                self._join_families(str(site.services), str(site.ipv6_services)),
            ),
            *("--secure-port", str(API_PORT), "--bind-address", "0.0.0.0"),
            *("--advertise-address", str(site.router)),
            *("--tls-cert-file", str(pki / "api.crt")),
            *("--tls-private-key-file", str(pki / "api.key")),
            *("--client-ca-file", str(pki / "ca.crt")),
            # Otherwise `kubectl logs` and `exec` look up the node's name in DNS.
            *("--kubelet-preferred-address-types", "InternalIP"),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-signing-key-file", str(pki / "sa.key")),
            *("--service-account-key-file", str(pki / "sa.pub")),
            *("--token-auth-file", str(site.control / "tokens.csv")),
            *("--authorization-mode", "Node,RBAC", "--allow-privileged"),
            *("--enable-admission-plugins", "NodeRestriction"),
            *self._options.api_flags,
        )
        wait_for("the API server", self._ready, timeout=90, interval=0.2)

    def stop_apiserver(self) -> None:
        self._stop("kube-apiserver")

    def stop(self) -> None:
        """Stop all four programs."""
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            self._stop(name)

    def wipe(self) -> None:
        """Delete every object. The control plane must be stopped."""
        shutil.rmtree(self._site.control / "etcd", ignore_errors=True)

    def kubectl(self, *argv: str, timeout: float = 60, stdin: str | None = None) -> str:
        env = {**os.environ, "KUBECONFIG": str(self._site.kubeconfig)}
        return run(self._kubelite, "kubectl", *argv, timeout=timeout, stdin=stdin, env=env).stdout

    def _ready(self) -> bool:
        exited = [name for name, child in self._running.items() if child.poll() is not None]
        if exited:
            raise WaitAborted(f"{', '.join(exited)} exited at start: see {self._site.logs}")
        return bool(self.kubectl("get", "--raw", "/readyz", timeout=10))

    def _join_families(self, ipv4: str, ipv6: str) -> str:
        return f"{ipv4},{ipv6}" if self._options.no_ipv6_route else ipv4

    def _run(self, component: str, *flags: str) -> None:
        with (self._site.logs / f"{component}.log").open("ab") as log:
            self._running[component] = subprocess.Popen(
                (self._kubelite, component, *flags),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self, component: str) -> None:
        """Kill a program. On SIGTERM an API server would wait half a minute for its watchers."""
        child = self._running.pop(component, None)
        if child is None:
            return
        child.kill()
        child.wait(STOP_SECONDS)

    def _write_access(self) -> None:
        """Write the admin's token and kubeconfig."""
        site, token = self._site, secrets.token_hex(16)
        (site.control / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        write_kubeconfig(
            site.kubeconfig,
            name=site.name,
            server=f"https://{site.router}:{API_PORT}",
            user="admin",
            token=token,
            authority=self._pki / "ca.crt",
        )
