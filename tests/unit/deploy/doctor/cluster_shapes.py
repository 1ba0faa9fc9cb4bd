"""Healthy clusters of common distributions in memory, and `mirror doctor` on them.

Each shape has what is usual there and looks unhealthy at first sight: Jobs that are done, pods that
a node drain left behind, search domains of the cloud, IPv6 answers without IPv6.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from deploy.doctor.run import judge, load_categories, observe
from deploy.evidence.collect import CollectOptions
from deploy.findings.model import DoctorReport
from deploy.lifecycle import record
from deploy.manifests.mirror_objects import render_objects
from deploy.manifests.model import ClusterSettings
from deploy.manifests.record import MirrorRecord
from mirror.core.codec import dump
from tests.kubernetes_api import CALICO_V1, DirectCluster, MemoryApi
from tests.kubernetes_api.controllers import (
    bind_claims,
    create_default_accounts,
    end_pods,
    finish_namespaces,
)
from tests.kubernetes_api.resources import ResourceType
from tests.unit.deploy.doctor.pod_network import INDEX, PodNetwork

SYSTEM = "kube-system"
MIRROR_ADDRESS = "10.152.183.77"  # of the range that the API in memory has
IPV6_INDEX = "2001:db8::50"


class ClusterShape:
    """A cluster in memory; ``networks`` maps each node to what its pods see."""

    def __init__(
        self, nodes: Iterable[str], dns_address: str, *resources: ResourceType, **node: Any
    ) -> None:
        self.api = MemoryApi(*resources)
        self.cluster = DirectCluster(self.api)
        self.dns_address = dns_address
        self.networks: dict[str, PodNetwork] = {}
        self.api.after_write += [
            *(create_default_accounts, self.end_probes, end_pods, finish_namespaces),
            bind_claims,
        ]
        for name in nodes:
            self.networks[name] = PodNetwork(server=dns_address)
            self.add_node(name, **node)

    # -- objects --------------------------------------------------------------------------------

    def add_node(
        self,
        name: str,
        kubelet: str = "v1.34.1",
        labels: dict[str, str] | None = None,
        **info: str,
    ) -> None:
        address = f"10.0.0.{len(self.api.list_objects('Node')) + 10}"
        conditions = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False"}
        self.api.seed(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels or {}},
                "status": {
                    "conditions": [{"type": t, "status": s} for t, s in conditions.items()],
                    "addresses": [{"type": "InternalIP", "address": address}],
                    "nodeInfo": {
                        "architecture": "amd64",
                        "operatingSystem": "linux",
                        "kubeletVersion": kubelet,
                        **info,
                    },
                },
            }
        )

    def add_namespace(self, name: str) -> None:
        if not self.api.has("Namespace", name):
            self.api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def add_config_map(self, name: str, namespace: str = SYSTEM, **data: str) -> None:
        metadata = {"name": name, "namespace": namespace}
        self.api.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def add_dns_service(self, name: str = "kube-dns", **selector: str) -> None:
        spec = {
            "clusterIP": self.dns_address,
            "selector": selector or {"k8s-app": "kube-dns"},
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
        }
        metadata = {"name": name, "namespace": SYSTEM}
        self.api.seed({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    def run(
        self,
        kind: str,
        name: str,
        namespace: str = SYSTEM,
        *,
        labels: dict[str, str] | None = None,
        config_map: str | None = None,
        log: str = "",
        change: Callable[[Any], None] = lambda _: None,
        count: int = 1,
        **container: Any,
    ) -> None:
        """Seed a workload and its pods; a DaemonSet has one on each node.

        ``change`` edits each pod before it is seeded.
        """
        self.add_namespace(namespace)
        labels = labels or {"app": name}
        spec: dict[str, Any] = {"containers": [{"name": "main", "image": f"{name}:1", **container}]}
        if config_map:
            spec["volumes"] = [{"name": "config", "configMap": {"name": config_map}}]
        nodes = list(self.networks) if kind == "DaemonSet" else [*self.networks][:1] * count
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        template = {"metadata": {"labels": labels}, "spec": spec}
        replicas = {"replicas": count} if kind in {"Deployment", "StatefulSet"} else {}
        if kind in {"Deployment", "DaemonSet", "StatefulSet"}:
            selected = {"selector": {"matchLabels": labels}, "template": template, **replicas}
            self.api.seed(
                {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": selected}
            )
        for number, node in enumerate(nodes):
            pod = self._build_pod(kind, metadata, spec, node, number)
            change(pod)
            self.api.seed(pod)
            self.api.logs[namespace, pod["metadata"]["name"], "main"] = log
            self.api.previous_logs[namespace, pod["metadata"]["name"], "main"] = log

    def _build_pod(
        self, kind: str, metadata: Any, spec: Any, node: str, number: int
    ) -> dict[str, Any]:
        name = metadata["name"]
        owner = {"kind": kind, "name": name}
        labels = dict(metadata["labels"])
        if kind == "Deployment":
            owner = {"kind": "ReplicaSet", "name": f"{name}-5d4f"}
            labels["pod-template-hash"] = "5d4f"
        if kind == "CronJob":
            owner = {"kind": "Job", "name": f"{name}-29391840"}
        owner |= {"apiVersion": "v1", "uid": f"{name}-uid", "controller": True}
        status = {"name": "main", "ready": True, "restartCount": 0, "image": spec["containers"][0]}
        status |= {"containerID": "containerd://1", "state": {"running": {}}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-{number}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": {**spec, "nodeName": node},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [status],
            },
        }

    def install_mirror(self, *published: str) -> None:
        """Seed what `mirror up` and `mirror env --publish` leave."""
        self.api.after_write.append(run_mirror)
        settings = ClusterSettings(image="m:1", cluster_ip=MIRROR_ADDRESS)
        for obj in render_objects(settings):
            self.cluster.apply(obj)
        record.write(
            self.cluster, "pypi-mirror", MirrorRecord(cluster_ip=MIRROR_ADDRESS, image="m:1")
        )
        for namespace in published:
            self.add_namespace(namespace)

    # -- doctor ---------------------------------------------------------------------------------

    def diagnose(self) -> DoctorReport:
        options = CollectOptions(
            namespace="pypi-mirror",
            image="m:1",
            names=(INDEX,),
            mirror=f"{MIRROR_ADDRESS}:3141"
            if self.api.has("StatefulSet", "pypi-mirror", "pypi-mirror")
            else None,
        )
        categories = load_categories()
        return judge(observe(self.cluster, categories, options), categories)

    def end_probes(self, api: MemoryApi) -> None:
        """End doctor's probe pods: each prints what pods on its node see."""
        for pod in api.list_objects("Pod"):
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            is_done = pod.get("status", {}).get("phase") == "Succeeded"
            if not name.startswith("pypi-mirror-doctor-") or is_done:
                continue
            words = pod["spec"]["containers"][0]["command"]
            asked = dict(zip(words[4::2], words[5::2], strict=True))
            network = self.networks[pod["spec"]["nodeName"]]
            view = network.observe(namespace, asked["--name"], asked.get("--mirror"))
            ended = {"name": "probe", "state": {"terminated": {"exitCode": 0}}}
            pod["status"] = {"phase": "Succeeded", "containerStatuses": [ended]}
            api.store.put(api.find_resource(pod), pod)
            api.logs[namespace, name, pod["spec"]["containers"][0]["name"]] = json.dumps(dump(view))


def run_mirror(api: MemoryApi) -> None:
    """Report the mirror's StatefulSet as Ready."""
    for workload in api.list_objects("StatefulSet"):
        if workload["metadata"]["name"] == "pypi-mirror" and not (workload.get("status") or {}).get(
            "readyReplicas"
        ):
            workload["status"] = {"readyReplicas": workload["spec"]["replicas"]}
            api.store.put(api.find_resource(workload), workload)


def fail(reason: str, restarts: int = 4, **details: Any) -> Callable[[Any], None]:
    """Return a change of a pod: its container waits for this reason."""

    def change(pod: Any) -> None:
        (status,) = pod["status"]["containerStatuses"]
        status |= {"ready": False, "restartCount": restarts}
        status["state"] = {"waiting": {"reason": reason, **details}}
        pod["status"]["conditions"][0]["status"] = "False"

    return change


def end(phase: str, reason: str = "", restarts: int = 0) -> Callable[[Any], None]:
    """Return a change of a pod: it has ended, and no longer counts."""

    def change(pod: Any) -> None:
        (status,) = pod["status"]["containerStatuses"]
        code = 0 if phase == "Succeeded" else 137
        status |= {"ready": False, "restartCount": restarts}
        status["state"] = {"terminated": {"exitCode": code, "reason": reason or "Completed"}}
        pod["status"] |= {"phase": phase, "reason": reason}
        pod["status"]["conditions"][0]["status"] = "False"
        pod["metadata"]["name"] += f"-{phase.lower()}"
        if phase == "Failed":
            pod["metadata"]["creationTimestamp"] = "2026-11-01T08:00:00Z"

    return change


# -- shapes ---------------------------------------------------------------------------------------

COREFILE = """.:53 {
    errors
    health { lameduck 5s }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
"""
CALICO_CONFLIST = json.dumps(
    {
        "name": "k8s-pod-network",
        "cniVersion": "0.3.1",
        "plugins": [
            {
                "type": "calico",
                "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "false"},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
)


def build_microk8s() -> ClusterShape:
    """Calico by manifest, add-ons, and an application that uses the mirror."""
    labels = {"microk8s.io/cluster": "true", "node.kubernetes.io/microk8s-controlplane": "x"}
    shape = ClusterShape(["ra", "babel"], "10.152.183.10", *CALICO_V1, labels=labels)
    shape.add_config_map("coredns", Corefile=COREFILE)
    shape.add_dns_service()
    labels = {"k8s-app": "kube-dns"}
    shape.run("Deployment", "coredns", labels=labels, config_map="coredns", args=["-conf", "/c"])
    shape.add_config_map("calico-config", cni_network_config=CALICO_CONFLIST)
    shape.run(
        "DaemonSet",
        "calico-node",
        labels={"k8s-app": "calico-node"},
        env=[{"name": "FELIX_IPV6SUPPORT", "value": "false"}],
        command=["start_runit"],
    )
    shape.api.seed(ip_pool("default-ipv4-ippool", "10.1.0.0/16", natOutgoing=True))
    shape.run("Deployment", "hostpath-provisioner", command=["/provisioner"])
    shape.install_mirror("chronicle")
    env_from = [{"configMapRef": {"name": "pypi-mirror-env"}}]
    shape.run("Deployment", "backend", "chronicle", command=["./start"], envFrom=env_from)
    return shape


def build_k3s() -> ClusterShape:
    """Overrides in coredns-custom, NodeHosts, Helm Jobs that are done, one after a second try."""
    shape = ClusterShape(["server-0", "agent-0"], "10.43.0.10", kubelet="v1.34.1+k3s1")
    corefile = COREFILE.replace(
        "    cache 30\n",
        "    hosts /etc/coredns/NodeHosts {\n        fallthrough\n    }\n    cache 30\n"
        "    import /etc/coredns/custom/*.override\n",
    )
    shape.add_config_map(
        "coredns",
        Corefile=f"{corefile}import /etc/coredns/custom/*.server\n",
        NodeHosts="10.0.0.10 server-0\n",
    )
    shape.add_config_map("coredns-custom", **{"lab.server": "lab.test:53 {\n  hosts\n}\n"})
    shape.add_dns_service()
    labels = {"k8s-app": "kube-dns"}
    shape.run("Deployment", "coredns", labels=labels, config_map="coredns", args=["-conf", "/c"])
    shape.run("Deployment", "local-path-provisioner", command=["local-path-provisioner"])
    shape.run("DaemonSet", "svclb-traefik", command=["entry"])
    change = end("Succeeded", restarts=1)
    shape.run("Job", "helm-install-traefik", command=["entry"], change=change)
    shape.run("Job", "helm-install-traefik-crd", command=["entry"], change=end("Succeeded"))
    return shape


def build_kubeadm() -> ClusterShape:
    """A kind or kubeadm cluster: kindnet, static pods, and an index with IPv6 addresses."""
    shape = ClusterShape(["control-plane", "worker"], "10.96.0.10")
    shape.add_config_map("coredns", Corefile=COREFILE)
    shape.add_dns_service()
    labels = {"k8s-app": "kube-dns"}
    shape.run(
        "Deployment",
        "coredns",
        labels=labels,
        config_map="coredns",
        count=2,
        args=["-conf", "/etc/coredns/Corefile"],
    )
    shape.run("DaemonSet", "kindnet", command=["/bin/kindnetd"])
    shape.run("DaemonSet", "kube-proxy", command=["/usr/local/bin/kube-proxy"])
    for network in shape.networks.values():
        network.known[INDEX] += (IPV6_INDEX,)  # and pods have no IPv6 address at all
    # its controller tried again, and the second pod is done
    failed, done = end("Failed", "Error"), end("Succeeded")
    shape.run("CronJob", "backup", "default", command=["./backup"], change=failed)
    shape.run("CronJob", "backup", "default", command=["./backup"], change=done)
    return shape


def build_helm_coredns() -> ClusterShape:
    """CoreDNS of Helm's chart, with a snippet, two server blocks and a name of its own."""
    shape = ClusterShape(["node-a", "node-b", "node-c"], "10.100.0.10")
    corefile = (
        "(shared) {\n  errors\n  forward . 10.0.0.2 10.0.0.3\n  cache 30\n}\n"
        "corp.example:53 {\n  forward . 10.0.0.9\n}\n"
        ".:53 {\n  kubernetes cluster.local in-addr.arpa ip6.arpa\n  import shared\n  reload\n}\n"
    )
    shape.add_config_map("dns-coredns", Corefile=corefile)
    selector = {"app.kubernetes.io/instance": "dns", "k8s-app": "coredns"}
    shape.add_dns_service("dns-coredns", **selector)
    shape.run(
        "Deployment",
        "dns-coredns",
        labels=selector,
        config_map="dns-coredns",
        count=2,
        args=["-conf", "/etc/coredns/Corefile"],
    )
    shape.run("DaemonSet", "kube-flannel", "kube-flannel", command=["/opt/bin/flanneld"])
    # a node was drained by force, another shut down: their pods stay until they are collected
    for reason in ("Evicted", "NodeShutdown"):
        shape.run("Deployment", "web", "shop", command=["nginx"], change=end("Failed", reason))
    shape.run("Deployment", "web", "shop", command=["nginx"])
    return shape


def build_rke2() -> ClusterShape:
    """Canal: Calico's CRDs and Felix without calico-node's DaemonSet, and RKE2's own names."""
    shape = ClusterShape(["cp-1", "w-1"], "10.43.0.10", *CALICO_V1, kubelet="v1.33.5+rke2r1")
    shape.add_config_map("rke2-coredns-rke2-coredns", Corefile=COREFILE)
    selector = {"app.kubernetes.io/name": "rke2-coredns", "k8s-app": "kube-dns"}
    shape.add_dns_service("rke2-coredns-rke2-coredns", **selector)
    shape.run(
        "Deployment",
        "rke2-coredns-rke2-coredns",
        labels=selector,
        config_map="rke2-coredns-rke2-coredns",
        args=["-conf", "/etc/coredns/Corefile"],
    )
    shape.run("DaemonSet", "rke2-canal", command=["start_runit"])
    shape.api.seed(ip_pool("default-ipv4-ippool", "10.42.0.0/16", natOutgoing=True))
    shape.api.seed(
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "FelixConfiguration",
            "metadata": {"name": "default"},
            "spec": {"ipv6Support": False},
        }
    )
    shape.run("Job", "helm-install-rke2-canal", command=["entry"], change=end("Succeeded"))
    return shape


def build_eks() -> ClusterShape:
    """VPC CNI, NodeLocal DNSCache, a Windows node, and IPv6 that works."""
    shape = ClusterShape(["ip-10-0-0-10", "ip-10-0-1-11"], "172.20.0.10", kubelet="v1.33.5-eks-1")
    shape.add_node("ip-10-0-2-12", kubelet="v1.33.5-eks-1", operatingSystem="windows")
    shape.add_config_map("coredns", Corefile=COREFILE)
    shape.add_dns_service()
    labels = {"eks.amazonaws.com/component": "coredns", "k8s-app": "kube-dns"}
    shape.run("Deployment", "coredns", labels=labels, config_map="coredns", args=["-conf", "/c"])
    shape.run("DaemonSet", "aws-node", command=["/app/aws-vpc-cni"])
    add_node_local_dns(shape)
    for network in shape.networks.values():
        network.search = ("eu-west-1.compute.internal",)
        network.known[INDEX] += (IPV6_INDEX,)
        network.ipv6, network.ipv6_route = ("2600:1f13::7",), True
    return shape


def build_gke() -> ClusterShape:
    """Cilium, kube-dns in place of CoreDNS, and in each zone a search domain of its own."""
    shape = ClusterShape(["gke-a-1", "gke-b-1"], "34.118.224.10", kubelet="v1.33.4-gke.1172000")
    shape.add_dns_service()
    shape.run("Deployment", "kube-dns", labels={"k8s-app": "kube-dns"}, args=["--domain", "x"])
    shape.add_config_map("kube-dns")
    shape.run("DaemonSet", "anetd", command=["cilium-agent"])
    add_node_local_dns(shape)
    for zone, network in zip("ab", shape.networks.values(), strict=True):
        domain = "c.project.internal"
        network.search = (f"europe-west1-{zone}.{domain}", domain, "google.internal")
    # a preemptible node went away
    shape.run("Deployment", "web", "shop", command=["nginx"], change=end("Failed", "Terminated"))
    shape.run("Deployment", "web", "shop", command=["nginx"])
    return shape


def build_openshift_like() -> ClusterShape:
    """DNS in a namespace of its own, as on OpenShift: pods resolve names all the same."""
    shape = ClusterShape(["master-0"], "172.30.0.10")
    shape.add_config_map("dns-default", "openshift-dns", Corefile=COREFILE)
    shape.run("DaemonSet", "dns-default", "openshift-dns", config_map="dns-default", args=["x"])
    return shape


def add_node_local_dns(shape: ClusterShape) -> None:
    """Let NodeLocal DNSCache answer the pods of each node."""
    shape.add_config_map("node-local-dns", Corefile=COREFILE)
    labels = {"k8s-app": "node-local-dns"}
    shape.run("DaemonSet", "node-local-dns", labels=labels, config_map="node-local-dns", args=["x"])
    for network in shape.networks.values():
        network.server = "169.254.20.10"


def ip_pool(name: str, cidr: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "IPPool",
        "metadata": {"name": name},
        "spec": {"cidr": cidr, "vxlanMode": "Always", **spec},
    }


SHAPES: dict[str, Callable[[], ClusterShape]] = {
    "microk8s": build_microk8s,
    "k3s": build_k3s,
    "kubeadm": build_kubeadm,
    "helm-coredns": build_helm_coredns,
    "rke2": build_rke2,
    "eks": build_eks,
    "gke": build_gke,
    "openshift": build_openshift_like,
}
