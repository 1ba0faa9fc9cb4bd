"""The control plane: etcd, API server, controller manager and scheduler in the lab's namespace."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.cluster.options import API_PORT, LabOptions, Site
from tests.cluster.pki import make_pki
from tests.cluster.process import run
from tests.cluster.waiting import WaitAborted, wait_for

ETCD = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"
STOP_SECONDS = 20.0


class ControlPlane:
    """The four programs, as children of the lab's first process."""

    def __init__(self, site: Site, options: LabOptions, kubelite: Path) -> None:
        self._site = site
        self._options = options
        self._kubelite = str(kubelite)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all four; returns when the API server says it is ready."""
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
            *("--cluster-cidr", self._both(str(site.pods), str(site.ipv6_network))),
            *("--node-monitor-grace-period", f"{self._options.node_grace}s"),
            "--use-service-account-credentials",
            # The CNI's subnets are given by hand; allocated ones would differ from them.
            "--allocate-node-cidrs=false",
        )
        self._run("kube-scheduler", *access)

    def start_apiserver(self) -> None:
        """Start the API server; returns when it is ready, or raises NotInTime or Hopeless."""
        site, pki = self._site, self._pki
        self._run(
            "kube-apiserver",
            *("--etcd-servers", ETCD),
            *(
                "--service-cluster-ip-range",
                self._both(str(site.services), str(site.ipv6_services)),
            ),
            *("--secure-port", str(API_PORT), "--bind-address", "0.0.0.0"),
            *("--advertise-address", str(site.router)),
            *("--tls-cert-file", str(pki / "api.crt")),
            *("--tls-private-key-file", str(pki / "api.key")),
            *("--client-ca-file", str(pki / "ca.crt")),
            # Otherwise logs and exec look up the node's name in DNS.
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
        """End all four."""
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            self._stop(name)

    def wipe(self) -> None:
        """Forget every object; only while stopped."""
        shutil.rmtree(self._site.control / "etcd", ignore_errors=True)

    def kubectl(self, *argv: str, timeout: float = 60, stdin: str | None = None) -> str:
        env = {**os.environ, "KUBECONFIG": str(self._site.kubeconfig)}
        return run(self._kubelite, "kubectl", *argv, timeout=timeout, stdin=stdin, env=env).stdout

    def _ready(self) -> bool:
        died = [name for name, child in self._running.items() if child.poll() is not None]
        if died:
            raise WaitAborted(f"{', '.join(died)} ended at once: see {self._site.logs}")
        return bool(self.kubectl("get", "--raw", "/readyz", timeout=10))

    def _both(self, four: str, six: str) -> str:
        return f"{four},{six}" if self._options.no_ipv6_route else four

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
        """At once: a polite API server waits half a minute for those who watch it."""
        child = self._running.pop(component, None)
        if child is None:
            return
        child.kill()
        child.wait(STOP_SECONDS)

    def _write_access(self) -> None:
        """The admin's token and a kubeconfig that is complete in itself, so it can be copied."""
        site, token = self._site, secrets.token_hex(16)
        (site.control / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        authority = base64.b64encode((self._pki / "ca.crt").read_bytes()).decode()
        server = f"https://{site.router}:{API_PORT}"
        cluster = {"server": server, "certificate-authority-data": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": site.name, "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": site.name, "context": {"cluster": site.name, "user": "admin"}}],
            "current-context": site.name,
        }
        site.kubeconfig.touch(mode=0o600)
        site.kubeconfig.write_text(yaml.safe_dump(config))
