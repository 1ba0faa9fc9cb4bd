"""Faults planted into healthy clusters: doctor names each, and the right remedy first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.doctor.run import load_categories
from deploy.findings.model import Severity
from mirror.probe.model import ConnectionAttempt, DnsAnswer, MirrorView
from tests.unit.deploy.doctor.cluster_shapes import (
    CALICO_CONFLIST,
    COREFILE,
    IPV6_INDEX,
    MIRROR_ADDRESS,
    SHAPES,
    SYSTEM,
    ClusterShape,
    end,
    fail,
    ip_pool,
)
from tests.unit.deploy.doctor.pod_network import EMPTY, INDEX, INDEX_ADDRESS

UV_ERROR = (
    "error sending request for url (https://index.example/simple/fastapi/)\n"
    "failed to lookup address information: Name has no usable address"
)
PIP_ERROR = (
    "WARNING: Retrying after connection broken by 'NewConnectionError: Network is unreachable'\n"
    "ERROR: No matching distribution found for fastapi"
)
USE_MIRROR = [{"configMapRef": {"name": "pypi-mirror-env"}}]
PIP = ["sh", "-c", "pip install fastapi && ./start"]


@dataclass(frozen=True)
class PlantedCause:
    """``plant`` breaks a cluster of this shape; ``check`` finds it, and says ``cause``.

    ``command`` is that of the first remedy. ``next_command`` is what doctor ends with.
    """

    shape: str
    plant: Callable[[ClusterShape], object]
    check: str
    cause: str
    command: str
    next_command: str
    severity: Severity = Severity.ERROR


def plant_in_networks(*nodes: str, **values: Any) -> Callable[[ClusterShape], None]:
    """Set attributes of the networks of these nodes, or of all."""

    def plant(shape: ClusterShape) -> None:
        for node in nodes or shape.networks:
            for name, value in values.items():
                setattr(shape.networks[node], name, value)

    return plant


def scale_coredns_down(shape: ClusterShape) -> None:
    shape.api.remove("Pod", "coredns-0", SYSTEM)
    shape.api.edit("Deployment", "coredns", SYSTEM, lambda obj: obj["spec"].update(replicas=0))


def break_coredns_pods(shape: ClusterShape) -> None:
    for pod in shape.api.list_objects("Pod", SYSTEM):
        if pod["metadata"]["name"].startswith("dns-coredns"):
            fail("CrashLoopBackOff")(pod)
            shape.api.seed(pod)


def set_corefile(name: str, text: str) -> Callable[[ClusterShape], None]:
    return lambda shape: shape.add_config_map(name, Corefile=text)


def set_conflist(shape: ClusterShape, **ipam: str) -> None:
    conflist = json.loads(CALICO_CONFLIST)
    conflist["plugins"][0]["ipam"] |= ipam
    shape.add_config_map("calico-config", cni_network_config=json.dumps(conflist))


def give_pods_useless_ipv6(shape: ClusterShape) -> None:
    set_conflist(shape, assign_ipv6="true")
    shape.api.seed(ip_pool("default-ipv6-ippool", "fd00:1::/64"))
    for network in shape.networks.values():
        network.ipv6 = ("fd00:1::5",)
        network.known[INDEX] = (INDEX_ADDRESS, IPV6_INDEX)


def ask_for_a_disabled_pool(shape: ClusterShape) -> None:
    set_conflist(shape, assign_ipv6="true")
    shape.api.seed(ip_pool("default-ipv6-ippool", "fd00:1::/64", disabled=True))


def break_calico_node(shape: ClusterShape) -> None:
    pod = shape.api.read("Pod", "calico-node-1", SYSTEM)
    fail("CrashLoopBackOff")(pod)
    shape.api.seed(pod)


def deny_egress(shape: ClusterShape) -> None:
    shape.install_mirror()
    shape.run("Deployment", "web", "shop", command=["./start"], envFrom=USE_MIRROR)
    spec = {"podSelector": {}, "policyTypes": ["Egress", "Ingress"]}
    metadata = {"name": "default-deny", "namespace": "shop"}
    shape.api.seed(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            "spec": spec,
        }
    )


def run_failing(
    kind: str, log: str, *command: str, env: dict[str, str] | None = None, **container: Any
) -> Callable[[ClusterShape], None]:
    """Return what runs a workload whose pods fail with a log."""

    def plant(shape: ClusterShape) -> None:
        variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
        container["env"] = variables
        change = end("Failed", "Error") if kind == "Job" else fail("CrashLoopBackOff")
        words = list(command)
        shape.run(kind, "worker", "shop", command=words, log=log, change=change, **container)

    return plant


def ask_proxy(shape: ClusterShape) -> None:
    shape.install_mirror()
    env = {"http_proxy": "http://proxy.corp.example:3128", "no_proxy": ".svc"}
    log = "ERROR: Could not find a version that satisfies the requirement fastapi"
    run_failing("Deployment", log, *PIP, env=env, envFrom=USE_MIRROR)(shape)


def move_service(shape: ClusterShape) -> None:
    shape.install_mirror()
    service = shape.api.read("Service", "pypi-mirror", "pypi-mirror")
    service["spec"] |= {"clusterIP": "10.152.183.99", "clusterIPs": ["10.152.183.99"]}
    shape.api.seed(service)


def break_mirror(message: str, **claim: Any) -> Callable[[ClusterShape], None]:
    """Return what keeps the mirror's pod from starting, as an event or its claim say."""

    def plant(shape: ClusterShape) -> None:
        shape.install_mirror()
        shape.api.after_write.clear()
        shape.api.after_write.append(shape.end_probes)  # no controller repairs it
        workload = shape.api.read("StatefulSet", "pypi-mirror", "pypi-mirror")
        workload["status"] = {"readyReplicas": 0, "replicas": 1}
        shape.api.seed(workload)
        stored = shape.api.read("PersistentVolumeClaim", "pypi-mirror-data", "pypi-mirror")
        stored["status"] = claim or {"phase": "Bound"}
        shape.api.seed(stored)
        shape.api.seed(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": "e", "namespace": "pypi-mirror"},
                "type": "Warning",
                "reason": "FailedCreate",
                "message": message,
                "involvedObject": {
                    "kind": "StatefulSet",
                    "name": "pypi-mirror",
                    "namespace": "pypi-mirror",
                },
            }
        )

    return plant


def cut_off_mirror(shape: ClusterShape) -> None:
    shape.install_mirror()
    shape.networks["worker"].blocked = {MIRROR_ADDRESS: "timeout"}


def lose_upstream(shape: ClusterShape) -> None:
    shape.install_mirror()
    attempt = ConnectionAttempt(address=MIRROR_ADDRESS, outcome="connects")
    view = MirrorView(connection=attempt, http=200, upstream="away")
    for network in shape.networks.values():
        network.mirror = view


def stop_node(shape: ClusterShape) -> None:
    node = shape.api.read("Node", "babel")
    ready = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
    node["status"]["conditions"] = [ready]
    shape.api.seed(node)


def unpublish(shape: ClusterShape) -> None:
    shape.run(
        "Deployment",
        "worker",
        "shop",
        command=["./start"],
        envFrom=USE_MIRROR,
        change=fail("CreateContainerConfigError", restarts=0),
    )


GET_PODS = "kubectl -n kube-system get pods -o wide"
CAUSES: dict[str, PlantedCause] = {
    "forwards only the zone of a company": PlantedCause(
        "kubeadm",
        set_corefile(
            "coredns",
            "# import /etc/coredns/custom/*.override\n"
            "corp.example:53 {\n  forward . 10.0.0.9\n}\n.:53 {\n  kubernetes cluster.local\n}\n",
        ),
        "dns.forward",
        "the Corefile in ConfigMap kube-system/coredns forwards no queries",
        "kubectl -n kube-system edit configmap coredns",
        "kubectl -n kube-system edit configmap coredns",
    ),
    "a Corefile without the root zone under Helm's name": PlantedCause(
        "helm-coredns",
        set_corefile("dns-coredns", "cluster.local:53 {\n  forward . 10.0.0.2\n}\n"),
        "dns.forward",
        "the Corefile in ConfigMap kube-system/dns-coredns forwards no queries",
        "kubectl -n kube-system edit configmap dns-coredns",
        "kubectl -n kube-system edit configmap dns-coredns",
    ),
    "a Corefile that is not closed": PlantedCause(
        "rke2",
        set_corefile("rke2-coredns-rke2-coredns", COREFILE.rstrip().removesuffix("}")),
        "dns.corefile",
        "CoreDNS cannot load the Corefile in ConfigMap kube-system/rke2-coredns-rke2-coredns",
        "kubectl -n kube-system edit configmap rke2-coredns-rke2-coredns",
        "kubectl -n kube-system edit configmap rke2-coredns-rke2-coredns",
        Severity.WARNING,
    ),
    "CoreDNS crashes": PlantedCause(
        "helm-coredns",
        break_coredns_pods,
        "dns.service",
        "no pod behind the DNS Service kube-system/dns-coredns is Ready",
        "kubectl -n kube-system describe pods -l app.kubernetes.io/instance=dns,k8s-app=coredns",
        "kubectl -n kube-system describe pods -l app.kubernetes.io/instance=dns,k8s-app=coredns",
    ),
    "CoreDNS scaled down": PlantedCause(
        "k3s",
        scale_coredns_down,
        "dns.service",
        "no pod behind the DNS Service kube-system/kube-dns is Ready",
        "kubectl -n kube-system scale deployments -l k8s-app=kube-dns --replicas=2",
        "kubectl -n kube-system scale deployments -l k8s-app=kube-dns --replicas=2",
    ),
    "a kubelet with the address of another cluster's DNS": PlantedCause(
        "kubeadm",
        plant_in_networks("worker", server="10.43.0.10", answers={"": DnsAnswer(code="TIMEOUT")}),
        "dns.answers",
        "DNS does not answer pods on worker",
        "kubectl get --raw /api/v1/nodes/worker/proxy/configz",
        "kubectl get --raw /api/v1/nodes/worker/proxy/configz",
    ),
    "NodeLocal DNSCache is down on a node": PlantedCause(
        "eks",
        plant_in_networks("ip-10-0-1-11", answers={"": DnsAnswer(code="TIMEOUT")}),
        "dns.answers",
        "DNS does not answer pods on ip-10-0-1-11",
        "kubectl -n kube-system get pods -l k8s-app=node-local-dns -o wide",
        "kubectl -n kube-system get pods -l k8s-app=node-local-dns -o wide",
    ),
    "kube-proxy is broken on a node": PlantedCause(
        "helm-coredns",
        plant_in_networks("node-c", answers={"": DnsAnswer(code="TIMEOUT")}),
        "dns.answers",
        "DNS does not answer pods on node-c",
        GET_PODS,
        GET_PODS,
    ),
    "a provider answers every name with nothing": PlantedCause(
        "k3s",
        plant_in_networks(
            "agent-0",
            search=("isp.example",),
            answers={"isp.example": EMPTY},
        ),
        "dns.search-domains",
        "search domain isp.example is poisoned",
        "mirror attach deployment/NAME -n NAMESPACE --ndots --no-index",
        "mirror up",
    ),
    "a wildcard record in the company's zone": PlantedCause(
        "gke",
        plant_in_networks(
            search=("lab.example",),
            answers={"lab.example": DnsAnswer(code="NOERROR", addresses=("192.0.2.1",))},
        ),
        "dns.search-domains",
        "search domain lab.example answers every name under it with 192.0.2.1",
        "mirror attach deployment/NAME -n NAMESPACE --ndots --no-index",
        "mirror up",
    ),
    "a search domain whose server is broken": PlantedCause(
        "rke2",
        plant_in_networks(
            search=("old.example",),
            answers={"old.example": DnsAnswer(code="SERVFAIL")},
        ),
        "dns.search-domains",
        "search domain old.example answers SERVFAIL to names that do not exist",
        "mirror attach deployment/NAME -n NAMESPACE --ndots --no-index",
        "mirror up",
    ),
    "systemd-resolved without a domain": PlantedCause(
        "kubeadm",
        plant_in_networks("worker", searches_root=True),
        "dns.search-root",
        "the search list of pods on worker contains the root domain",
        "mirror attach deployment/NAME -n NAMESPACE --ndots --no-index",
        "mirror doctor --explain dns.search-root",
        Severity.WARNING,
    ),
    "somebody's own template denies AAAA": PlantedCause(
        "microk8s",
        plant_in_networks(aaaa=DnsAnswer(code="NXDOMAIN")),
        "dns.programs",
        "uv 0.13.9 cannot resolve index.example on babel, ra, glibc can",
        "mirror up && mirror env --publish NAMESPACE",
        "mirror fix dns",
        Severity.WARNING,
    ),
    "the company's index has no name outside the VPN": PlantedCause(
        "eks",
        plant_in_networks(known={}),
        "dns.names",
        "index.example has no IPv4 address on ip-10-0-0-10, ip-10-0-1-11",
        "",
        "kubectl -n kube-system get configmap coredns -o yaml",
    ),
    "a firewall closes the way out": PlantedCause(
        "gke",
        plant_in_networks(blocked={INDEX_ADDRESS: "timeout"}),
        "dns.egress",
        "pods cannot connect to index.example:443 over IPv4 on gke-a-1, gke-b-1",
        "mirror up && mirror env --publish NAMESPACE",
        "mirror up",
        Severity.WARNING,
    ),
    "IPv6 addresses of Calico that lead nowhere": PlantedCause(
        "microk8s",
        give_pods_useless_ipv6,
        "ippools.ipv6-pool",
        "pods get IPv6 addresses from pool default-ipv6-ippool, and no IPv6 leads out",
        "mirror attach deployment/NAME -n NAMESPACE",
        "mirror fix dns",
        Severity.WARNING,
    ),
    "a disabled pool that the CNI asks for": PlantedCause(
        "microk8s",
        ask_for_a_disabled_pool,
        "ippools.assign-ipv6",
        "no new pod can start: the CNI asks for IPv6 addresses",
        "kubectl patch ippools.crd.projectcalico.org default-ipv6-ippool --type=merge "
        """-p '{"spec":{"disabled":false}}'""",
        "kubectl patch ippools.crd.projectcalico.org default-ipv6-ippool --type=merge "
        """-p '{"spec":{"disabled":false}}'""",
    ),
    "calico-node crashes on a node": PlantedCause(
        "microk8s",
        break_calico_node,
        "cni.pods",
        "calico-node is not ready on babel",
        "kubectl -n kube-system logs daemonset/calico-node -c calico-node --tail=50",
        "kubectl -n kube-system logs daemonset/calico-node -c calico-node --tail=50",
    ),
    "a node is gone": PlantedCause(
        "microk8s",
        stop_node,
        "nodes.ready",
        "babel is not Ready",
        "microk8s status && sudo snap restart microk8s",
        "microk8s status && sudo snap restart microk8s",
    ),
    "default-deny in the namespace": PlantedCause(
        "rke2",
        deny_egress,
        "workloads.policies",
        "NetworkPolicy default-deny of namespace shop keeps deployment/web from the mirror",
        "echo ",
        "echo ",
    ),
    "uv finds no address": PlantedCause(
        "k3s",
        run_failing("StatefulSet", UV_ERROR, "uv", "run", "app.py"),
        "workloads.failing",
        "shop/statefulset/worker fails because its downloads fail",
        "mirror attach statefulset/worker -n shop --ndots --no-index",
        "mirror attach statefulset/worker -n shop --ndots --no-index",
    ),
    "pip finds no route": PlantedCause(
        "eks",
        run_failing("Deployment", PIP_ERROR, *PIP),
        "workloads.failing",
        "shop/deployment/worker fails because its downloads fail",
        "mirror attach deployment/worker -n shop",
        "mirror attach deployment/worker -n shop",
    ),
    "a proxy is asked for the mirror": PlantedCause(
        "kubeadm",
        ask_proxy,
        "workloads.proxy",
        "shop/deployment/worker asks the proxy in http_proxy for the mirror",
        f"kubectl -n shop set env deployment/worker no_proxy=.svc,{MIRROR_ADDRESS}",
        f"kubectl -n shop set env deployment/worker no_proxy=.svc,{MIRROR_ADDRESS}",
    ),
    "the ConfigMap was never published": PlantedCause(
        "microk8s",
        unpublish,
        "workloads.config",
        "shop/deployment/worker does not start: it takes the ConfigMap pypi-mirror-env",
        "mirror env --publish shop",
        "mirror env --publish shop",
    ),
    "the mirror's Service was made anew": PlantedCause(
        "gke",
        move_service,
        "mirror.address",
        f"workloads were given {MIRROR_ADDRESS}, and the mirror's Service has 10.152.183.99",
        "mirror up",
        "mirror up",
    ),
    "a quota keeps the mirror's pod out": PlantedCause(
        "k3s",
        break_mirror('pods "pypi-mirror-0" is forbidden: exceeded quota: small, limited: cpu=1'),
        "mirror.running",
        "the mirror's pod is not Ready",
        "kubectl -n pypi-mirror describe resourcequotas",
        "kubectl -n pypi-mirror describe resourcequotas",
    ),
    "no storage for the mirror": PlantedCause(
        "microk8s",
        break_mirror("no volume", phase="Pending"),
        "mirror.volume",
        "the mirror's volume claim is Pending: there is no volume for its packages",
        "microk8s enable hostpath-storage",
        "microk8s enable hostpath-storage",
    ),
    "one node does not reach the mirror": PlantedCause(
        "kubeadm",
        cut_off_mirror,
        "mirror.reached",
        f"pods do not reach the mirror at {MIRROR_ADDRESS}:3141 on worker",
        "kubectl -n pypi-mirror get endpoints,networkpolicies && " + GET_PODS,
        "kubectl -n pypi-mirror get endpoints,networkpolicies && " + GET_PODS,
    ),
    "the mirror has no way out": PlantedCause(
        "eks",
        lose_upstream,
        "mirror.upstream",
        "the mirror does not reach the index that it mirrors",
        "mirror status && kubectl -n pypi-mirror logs pypi-mirror-0 --all-containers --tail=50",
        "mirror status && kubectl -n pypi-mirror logs pypi-mirror-0 --all-containers --tail=50",
        Severity.WARNING,
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_names_the_cause_and_the_right_remedy(name: str) -> None:
    planted = CAUSES[name]
    shape = SHAPES[planted.shape]()
    planted.plant(shape)
    report = shape.diagnose()
    summary = [(finding.check, finding.cause) for finding in report.findings]
    found = [finding for finding in report.findings if finding.check == planted.check]
    assert found, summary
    assert found[0].cause.startswith(planted.cause), summary
    assert found[0].severity is planted.severity
    assert found[0].certainty == CERTAINTIES[planted.check]
    assert found[0].remedies[0].command.startswith(planted.command)
    assert bool(found[0].remedies[0].command) == bool(planted.command)
    assert report.findings[0].severity is planted.severity, "nothing worse hides it"
    assert report.next_command.startswith(planted.next_command)
    assert bool(report.next_command) == bool(planted.next_command), report.next_command


CERTAINTIES = {
    "cni.pods": "read",
    "dns.answers": "seen",
    "dns.corefile": "read",
    "dns.egress": "seen",
    "dns.forward": "read",
    "dns.names": "seen",
    "dns.programs": "seen",
    "dns.search-domains": "seen",
    "dns.search-root": "seen",
    "dns.service": "read",
    "ippools.assign-ipv6": "inferred",
    "ippools.ipv6-pool": "seen",
    "mirror.address": "read",
    "mirror.reached": "seen",
    "mirror.running": "read",
    "mirror.upstream": "seen",
    "mirror.volume": "read",
    "nodes.ready": "read",
    "workloads.config": "seen",
    "workloads.failing": "seen",
    "workloads.policies": "inferred",
    "workloads.proxy": "seen",
}


def test_says_how_sure_it_is() -> None:
    assert {planted.check for planted in CAUSES.values()} == CERTAINTIES.keys()
    checks = {check.id: check for category in load_categories() for check in category.checks}
    for check, certainty in CERTAINTIES.items():
        if check != "workloads.proxy":  # which looks at the pods
            assert checks[check].certainty == certainty, check


def test_plants_enough() -> None:
    assert len(CAUSES) >= 24
    assert {cause.shape for cause in CAUSES.values()} >= {
        *("microk8s", "k3s", "kubeadm", "helm-coredns", "rke2", "eks", "gke")
    }
