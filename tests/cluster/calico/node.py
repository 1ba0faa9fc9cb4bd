"""A stand-in for calico-node that does what Calico does at start, but no routing. Stdlib only.

``node.py install`` is the init container. It writes the plugins, their kubeconfig, and the conflist
rendered from the ConfigMap's template. ``node.py run`` is the container. It detects the IPv6
address (and exits if there is none with IP6=autodetect), and creates missing pools, the
ClusterInformation and the nodename file.
Source: node/pkg/lifecycle/startup and cni-plugin/pkg/install of Calico 3.28.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import secrets
import shutil
import ssl
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NET_D = Path("/host/etc/cni/net.d")
BIN = Path("/host/opt/cni/bin")
VAR_LIB = Path("/var/lib/calico")
POOLS = "/apis/crd.projectcalico.org/v1/ippools"
INFORMATION = "/apis/crd.projectcalico.org/v1/clusterinformations"
ADDRESS_ANNOTATION = (
    "projectcalico.org/IPv6Address"  # Calico stores the address in this Node annotation
)


def call_api(method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
    """Call the API server and return the decoded response; None for 404 and 409."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"https://{host}:{port}{path}", data, method=method)
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    request.add_header("Content-Type", kind)
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # Python 3.13 rejects CA certificates without a key usage; clusters have such certificates.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with urllib.request.urlopen(request, timeout=20, context=tls) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code in (404, 409):
            return None
        raise SystemExit(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None


def install() -> None:
    """Install the binaries, the kubeconfig and, last, the conflist."""
    for name in ("calico", "calico-ipam"):
        partial = BIN / f".{name}"
        shutil.copy("/calico", partial)
        partial.rename(BIN / name)
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    authority = base64.b64encode((ACCOUNT / "ca.crt").read_bytes()).decode()
    server = {"server": f"https://{host}:{port}", "certificate-authority-data": authority}
    access = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": server}],
        "users": [{"name": "calico", "user": {"token": (ACCOUNT / "token").read_text()}}],
        "contexts": [{"name": "c", "context": {"cluster": "local", "user": "calico"}}],
        "current-context": "c",
    }
    (NET_D / "calico-kubeconfig").write_text(json.dumps(access))
    text = os.environ["CNI_NETWORK_CONFIG"]
    for word, value in (
        ("__KUBERNETES_NODE_NAME__", os.environ["NODENAME"]),
        ("__KUBECONFIG_FILEPATH__", "/etc/cni/net.d/calico-kubeconfig"),
        ("__CNI_MTU__", os.environ["CNI_MTU"]),
    ):
        text = text.replace(word, value)
    (NET_D / "10-calico.conflist").write_text(text)


def detect_ipv6_address() -> None:
    """Store the node's IPv6 address. Exits if there is neither an address nor a stored one."""
    if os.environ.get("IP6") != "autodetect":
        return
    path = f"/api/v1/nodes/{os.environ['NODENAME']}"
    stored = call_api("GET", path)["metadata"].get("annotations", {}).get(ADDRESS_ANNOTATION)
    address = find_global_address()
    if address:
        patch = {"metadata": {"annotations": {ADDRESS_ANNOTATION: address}}}
        call_api("PATCH", path, patch, "application/merge-patch+json")
    elif stored:
        print(f"Autodetection of IPv6 address failed, keeping existing value: {stored}", flush=True)
    else:
        raise SystemExit("Failed to autodetect an IPv6 address")


def find_global_address() -> str | None:
    """Return the first IPv6 address of eth0 that is not link-local, with its prefix length."""
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else ():
        digits, _, prefix, scope, _, link = line.split()
        if link == "eth0" and int(scope, 16) == 0:
            return f"{ipaddress.IPv6Address(bytes.fromhex(digits))}/{int(prefix, 16)}"
    return None


def create_default_pools() -> None:
    """Create a default pool for each address family that has none. A disabled pool counts."""
    four, six = (os.environ.get(f"CALICO_IPV{n}POOL_CIDR", "") for n in (4, 6))
    if os.environ.get("NO_DEFAULT_POOLS", "").lower() == "true":
        if four or six:
            raise SystemExit(
                "Invalid configuration with NO_DEFAULT_POOLS defined and CALICO_IPV4POOL_CIDR "
                "or CALICO_IPV6POOL_CIDR defined."
            )
        return
    listed = [item["spec"]["cidr"] for item in call_api("GET", POOLS)["items"]]
    versions = {ipaddress.ip_network(cidr, strict=False).version for cidr in listed}
    if 4 not in versions:
        create_pool("default-ipv4-ippool", four or "192.168.0.0/16", 26, nat=True)
    if 6 not in versions and Path("/proc/sys/net/ipv6").exists():
        ula = ipaddress.IPv6Address(b"\xfd" + secrets.token_bytes(5) + bytes(10))
        try:
            cidr = str(ipaddress.IPv6Network(six or f"{ula}/48"))
        except ValueError:
            text = f"Invalid CIDR specified in CALICO_IPV6POOL_CIDR '{six}'"
            raise SystemExit(text) from None
        create_pool("default-ipv6-ippool", cidr, 122, nat=False)


def create_pool(name: str, cidr: str, block_size: int, *, nat: bool) -> None:
    spec = {
        "allowedUses": ["Workload", "Tunnel"],
        "assignmentMode": "Automatic",
        "blockSize": block_size,
        "cidr": cidr,
        "ipipMode": "Never",
        "natOutgoing": nat,
        "nodeSelector": "all()",
        "vxlanMode": "Never",
    }
    head = {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name}}
    call_api("POST", POOLS, {**head, "spec": spec})
    print(f"Created default pool {name} ({cidr})", flush=True)


def run() -> None:
    """Do what calico-node does at start, then wait to be stopped."""
    detect_ipv6_address()
    create_default_pools()
    information = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "ClusterInformation",
        "metadata": {"name": "default"},
        "spec": {"clusterGUID": "0" * 32, "calicoVersion": "lab", "datastoreReady": True},
    }
    call_api("POST", INFORMATION, information)
    (VAR_LIB / "nodename").write_text(os.environ["NODENAME"])
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    {"install": install, "run": run}[sys.argv[1]]()
