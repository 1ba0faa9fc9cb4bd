"""PID 1 of a node: sets up private folders and runs containerd, the kubelet and kube-proxy.

Started in new PID, mount, UTS and IPC namespaces, in the node's network namespace:
python -m tests.cluster.node_init LAB-FOLDER NODE NUMBER
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster import node_files
from tests.cluster.cgroups import make_cgroup
from tests.cluster.image_store import clone_store
from tests.cluster.process import run
from tests.cluster.record import LabRecord
from tests.cluster.waiting import wait_for

NODE_FOLDER = Path("/run/node")
"""The node's folder on the machine is mounted at this short path."""

OVERLAID = ("/etc", "/opt", "/var")
ON_DISK = (
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
RESTART_SECONDS = 1.0


class NodeServices:
    """Starts and restarts the services of this node."""

    def __init__(self, record: LabRecord, name: str, number: int) -> None:
        self._record, self._name, self._number = record, name, number
        self._site = record.site
        self._logs = self._site.logs / name
        self._services: dict[int, tuple[str, tuple[str, ...]]] = {}

    def run(self) -> None:
        """Start the node, then restart services that exit and reap orphans forever."""
        self._mount_private_folders()
        self._write_files()
        make_cgroup(self._site.cgroup(self._name))
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        if self._record.options.no_ipv6_route:
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        self._apply_boot_settings()
        self._start("containerd", "containerd", "-c", "/etc/containerd/lab.toml")
        wait_for("containerd", lambda: run("ctr", "version", timeout=10), timeout=30)
        self._start_kubernetes()
        self._restart_services()

    def _mount_private_folders(self) -> None:
        """Give the node its own /etc, /opt, /run and /var.

        Kubelets that share /var delete each other's logs, and shared CNI state mixes up addresses.
        """
        folder = self._site.node_folder(self._name)
        # Clone before the bind mount below: hard links cannot cross mounts.
        clone_store(self._record.store, folder / "var-lib-containerd")
        # This node's mounts must not keep other nodes' network namespaces alive.
        run("umount", "-R", "-l", "/run/netns", check=False)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        NODE_FOLDER.mkdir()
        run("mount", "--bind", str(folder), str(NODE_FOLDER))
        for path in OVERLAID:
            upper, work = NODE_FOLDER / "upper" / path[1:], NODE_FOLDER / "work" / path[1:]
            upper.mkdir(parents=True, exist_ok=True)
            work.mkdir(parents=True, exist_ok=True)
            layers = f"lowerdir={path},upperdir={upper},workdir={work}"
            run("mount", "-t", "overlay", "overlay", "-o", layers, path)
        # Overlays cannot be stacked, so container disks and volumes go to the real disk.
        for path in ON_DISK:
            disk = NODE_FOLDER / path[1:].replace("/", "-")
            disk.mkdir(exist_ok=True)
            Path(path).mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", str(disk), path)
        Path("/opt/cni/bin").mkdir(parents=True, exist_ok=True)
        self._mount_plugins()
        run("mount", "-t", "proc", "proc", "/proc")

    def _mount_plugins(self) -> None:
        """Mount Debian's CNI plugins. With Calico they are writable, so it can add its own."""
        if not self._record.options.calico:
            run("mount", "--bind", "/usr/lib/cni", "/opt/cni/bin")
            return
        upper, work = NODE_FOLDER / "upper/cni-bin", NODE_FOLDER / "work/cni-bin"
        upper.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        layers = f"lowerdir=/usr/lib/cni,upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, "/opt/cni/bin")

    def _write_files(self) -> None:
        site, name, six = self._site, self._name, self._record.options.no_ipv6_route
        socket.sethostname(name)
        address = site.node_address(self._number)
        _write("/etc/hostname", f"{name}\n")
        _write("/etc/hosts", f"127.0.0.1 localhost\n{address} {name}\n")
        _write("/etc/resolv.conf", node_files.render_resolv_conf(site, self._record.options))
        _write("/etc/containerd/lab.toml", node_files.render_containerd_config())
        period = self._record.options.restart_period
        _write("/etc/kubelet.yaml", node_files.render_kubelet_config(site, name, period))
        for host, text in node_files.render_registry_hosts(site, self._number).items():
            _write(f"/etc/containerd/certs.d/{host}/hosts.toml", text)
        network = Path("/etc/cni/net.d/10-lab.conflist")
        network.parent.mkdir(parents=True, exist_ok=True)
        if not network.exists() and not self._record.options.calico:
            # Like a real node, a restarted node keeps manual changes.
            _write(str(network), node_files.render_conflist(site, self._number, dual_stack=six))

    def _apply_boot_settings(self) -> None:
        """Apply the node's sysctl files as a boot does, and log its IPv6 addresses."""
        run("sysctl", "--system", "--pattern", r"^net\.ipv6\.", check=False)
        addresses = run("ip", "-6", "address", check=False).stdout
        (self._logs / "boot.log").write_text(addresses)

    def _start_kubernetes(self) -> None:
        record, site = self._record, self._site
        kubelite, access = str(record.kubelite), ("--kubeconfig", str(NODE_FOLDER / "kubeconfig"))
        shutil.copy(site.kubeconfig, NODE_FOLDER / "kubeconfig")
        address, pods = str(site.node_address(self._number)), str(site.pods)
        if record.options.no_ipv6_route and not record.options.calico:
            # with Calico as in MicroK8s: without an IPv6 node-ip the kubelet reports IPv4 only
            address += f",{site.ipv6_node_address(self._number)}"
            pods += f",{site.ipv6_network}"
        hostname = ("--hostname-override", self._name)
        config = ("--config", "/etc/kubelet.yaml", "--node-ip", address)
        self._start("kubelet", kubelite, "kubelet", *access, *hostname, *config)
        rules = ("--proxy-mode", "nftables", "--cluster-cidr", pods)
        limits = ("--conntrack-max-per-core", "0")
        self._start("kube-proxy", kubelite, "kube-proxy", *access, *hostname, *rules, *limits)

    def _start(self, service: str, *argv: str) -> None:
        with (self._logs / f"{service}.log").open("ab") as log:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._services[child.pid] = (service, argv)

    def _restart_services(self) -> None:
        while True:
            pid, _ = os.waitpid(-1, 0)
            service = self._services.pop(pid, None)
            if service is not None:
                time.sleep(RESTART_SECONDS)
                self._start(service[0], *service[1])


def _write(path: str, text: str) -> None:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_text(text)


def main() -> None:
    folder, name, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    # /proc is still the machine's, so this is the PID that other processes use for the node.
    (folder / "nodes" / name / "pid").write_text(str(Path("/proc/self").readlink()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    record = LabRecord.load(folder)
    if record is None:
        raise SystemExit(f"no lab in {folder}")
    NodeServices(record, name, number).run()


if __name__ == "__main__":
    main()
