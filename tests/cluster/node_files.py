"""Render a node's configuration files for containerd, its registries, the CNI and the kubelet."""

from __future__ import annotations

import json

import yaml

from tests.cluster import versions
from tests.cluster.options import REGISTRY_PORT, SEARCH_DOMAIN, LabOptions, Site

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
NODE_NUMBERS = range(2, 20)
"""A node's number is the last octet of its address and the third octet of its pods' addresses."""


def render_resolv_conf(site: Site, options: LabOptions) -> str:
    search = f"search {SEARCH_DOMAIN}\n" if options.poisoned else ""
    return f"nameserver {site.router}\n{search}"


def render_containerd_config() -> str:
    # Without CAP_SYS_RESOURCE, runc needs restrict_oom_score_adj.
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{versions.PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
"""


def render_registry_hosts(site: Site, number: int) -> dict[str, str]:
    """Return the hosts.toml of each registry name in certs.d.

    localhost (MicroK8s' name for its registry) and the nodes' addresses all lead to this node's
    port: kube-proxy in nftables mode does not serve localhost:32000.
    """
    own = f"http://{site.node_address(number)}:{REGISTRY_PORT}"
    text = f'server = "{own}"\n[host."{own}"]\n  capabilities = ["pull", "resolve"]\n'
    names = ("localhost", "127.0.0.1", *(str(site.node_address(other)) for other in NODE_NUMBERS))
    return {f"{name}:{REGISTRY_PORT}": text for name in names}


def render_conflist(site: Site, number: int, *, dual_stack: bool) -> str:
    ranges = [[{"subnet": str(site.node_pods(number))}]]
    routes = [{"dst": "0.0.0.0/0"}]
    if dual_stack:
        ranges.append([{"subnet": str(site.ipv6_node_pods(number))}])
        # Only the cluster's own prefix: there is no route to other addresses.
        routes.append({"dst": str(site.ipv6_network)})
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": routes},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    plugins = [bridge, portmap]
    return json.dumps({"cniVersion": "1.0.0", "name": "k8s-pod-network", "plugins": plugins})


def render_kubelet_config(site: Site, node: str, restart_period: str) -> str:
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": [str(site.dns_service)],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{site.cgroup(node)}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "resolvConf": "/etc/resolv.conf",
    }
    if restart_period:  # the default is 10 s, doubled each time, up to 5 minutes
        config["featureGates"] = {"KubeletCrashLoopBackOffMax": True}
        config["crashLoopBackOff"] = {"maxContainerRestartPeriod": restart_period}
    return yaml.safe_dump(config)
