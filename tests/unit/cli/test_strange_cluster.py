"""The administrator of a cluster that is not like ours follows what the commands print.

The cluster has k3s' CoreDNS with coredns-custom, a namespace that denies egress, and workloads that
Argo CD keeps. Everything that is typed here was printed before, or is in the README.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy.lifecycle.publish import publish_environment
from mirror.core.codec import dump
from tests.kubernetes_api import MemoryApi
from tests.unit.cli.whole_cluster import (
    WholeClusterLab,
    end_probe_pods,
    render_deployment,
    run_whole_cluster,
)
from tests.unit.deploy.doctor.pod_network import EMPTY, PodNetwork

DOCTOR = ("doctor", "--image", "m:1", "--name", "index.example", "-o", "json")
DNS = {"k8s-app": "kube-dns"}
K3S = {"objectset.rio.cattle.io/owner-gvk": "k3s.cattle.io/v1, Kind=Addon"}
COREFILE = (
    ".:53 {\n    errors\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa\n"
    "    hosts /etc/coredns/NodeHosts {\n        fallthrough\n    }\n"
    "    forward . /etc/resolv.conf\n    cache 30\n    reload\n"
    "    import /etc/coredns/custom/*.override\n}\nimport /etc/coredns/custom/*.server\n"
)
CUSTOM = {"lab.server": "lab.test:53 {\n    hosts\n}\n"}


def run_pods(api: MemoryApi) -> None:
    """Answer as CoreDNS does: the provider's domain is poisoned until an override guards it."""
    custom = api.read("ConfigMap", "coredns-custom", "kube-system")["data"]
    is_fixed = any("isp.example" in text for text in custom.values())
    network = PodNetwork(
        server="10.43.0.10",
        search=("isp.example",),
        answers={} if is_fixed else {"isp.example": EMPTY},
    )
    for pod in api.list_objects("Pod"):
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if name.startswith("pypi-mirror-trial-"):
            pod["status"] = {"phase": "Running"}
            api.logs[namespace, name, "coredns"] = "CoreDNS-1.12.0\n"
        elif name.startswith("pypi-mirror-doctor-"):
            words = pod["spec"]["containers"][0]["command"]
            asked = dict(pairwise(words))
            view: Any = {"unmet": [] if is_fixed else [UNMET]}
            if "expect" not in words:
                view = dump(network.observe(namespace, asked["--name"], asked.get("--mirror")))
            ended = {"name": "probe", "state": {"terminated": {"exitCode": 0}}}
            pod["status"] = {"phase": "Succeeded", "containerStatuses": [ended]}
            api.logs[namespace, name, pod["spec"]["containers"][0]["name"]] = json.dumps(view)
        else:
            continue
        api.store.put(api.find_resource(pod), pod)


UNMET = {
    **{"server": "10.43.0.10", "name": "x.y.isp.example", "qtype": "A", "wanted": "NXDOMAIN"},
    **{"code": "NOERROR", "addresses": []},
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        api = lab.api
        api.after_write.remove(end_probe_pods)
        lab.install()
        api.edit(
            "Node",
            "ra",
            "",
            lambda node: node["status"]["nodeInfo"].update(kubeletVersion="v1.34.1+k3s1"),
        )
        system = {"namespace": "kube-system"}
        api.seed(
            {
                "kind": "ConfigMap",
                "metadata": {"name": "coredns", **system, "annotations": K3S},
                "data": {"Corefile": COREFILE, "NodeHosts": "10.0.0.10 ra\n"},
            },
            {
                "kind": "ConfigMap",
                "metadata": {"name": "coredns-custom", **system},
                "data": CUSTOM,
            },
        )
        deployment = render_deployment("coredns", "kube-system", DNS)
        spec = deployment["spec"]["template"]["spec"]
        spec["containers"][0]["name"] = "coredns"
        spec["volumes"] = [
            {"name": "config", "configMap": {"name": "coredns"}},
            {"name": "custom", "configMap": {"name": "coredns-custom", "optional": True}},
        ]
        api.remove("Deployment", "coredns", "kube-system")
        api.seed(deployment)
        deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": []}
        api.seed(
            {
                "kind": "NetworkPolicy",
                "apiVersion": "networking.k8s.io/v1",
                "metadata": {"name": "default-deny", "namespace": "shop"},
                "spec": deny,
            }
        )
        kept = render_deployment("web", "shop", {"app": "web"})
        kept["metadata"]["labels"]["argocd.argoproj.io/instance"] = "shop"
        api.seed(kept)
        api.seed(coredns_pod())
        api.after_write.append(run_pods)
        yield lab


def coredns_pod() -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": "coredns-1", "namespace": "kube-system", "labels": DNS},
        "spec": {"nodeName": "ra", "containers": [{"name": "coredns", "image": "dns:1"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def apply_printed(lab: WholeClusterLab, text: str) -> None:
    """Run `echo JSON | kubectl apply -f -`, as it was printed."""
    (line,) = set(re.findall(r"(echo '.*?' \| kubectl apply -f -)", text.replace("\n", " ")))
    echo, document, *rest = shlex.split(line)
    assert (echo, rest) == ("echo", ["|", "kubectl", "apply", "-f", "-"])
    lab.cluster.apply(json.loads(document))


def run_pod_of_web(lab: WholeClusterLab) -> None:
    """Let Argo CD bring the patch in, and a pod of it start."""
    workload = lab.api.read("Deployment", "web", "shop")
    spec = workload["spec"]["template"]["spec"]
    lab.api.seed(
        {
            "kind": "Pod",
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {**spec, "nodeName": "ra"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }
    )


def test_doctor_fix_and_rollback_by_what_they_print(lab: WholeClusterLab) -> None:
    before = lab.api.dump()
    report = json.loads(lab.run(*DOCTOR).out)
    assert report["findings"][0]["check"] == "dns.search-domains"
    commands = [remedy["command"] for remedy in report["findings"][0]["mends"]]
    assert "mirror fix search-domains" in commands
    fixed = lab.run("fix", "search-domains", "--image", "m:1", "--yes")
    assert fixed.code == 0, fixed.out + fixed.err
    written = lab.api.read("ConfigMap", "coredns-custom", "kube-system")["data"]
    assert written.keys() == {"lab.server", "pypi-mirror.override"}, "theirs is kept"
    assert lab.api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"] == COREFILE
    again = json.loads(lab.run(*DOCTOR).out)
    assert [finding["check"] for finding in again["findings"]] == []
    (undo,) = re.findall(r"undo: (mirror rollback .*)", fixed.out)
    undone = lab.run(*shlex.split(undo)[1:], "--yes")
    assert undone.code == 0, undone.out + undone.err
    after = lab.api.dump()
    assert lab.api.read("ConfigMap", "coredns-custom", "kube-system")["data"] == CUSTOM
    assert not [name for name in set(after) - set(before) if "Event" not in name]
    last = json.loads(lab.run(*DOCTOR).out)
    assert last["findings"][0]["check"] == "dns.search-domains"


def test_a_workload_of_argo_cd_behind_default_deny(lab: WholeClusterLab) -> None:
    publish_environment(lab.cluster, "pypi-mirror", ["shop"])
    before = lab.api.read("Deployment", "web", "shop")
    planned = lab.run("attach", "deployment.apps/web", "-n", "shop", "--yes")
    assert planned.code == 0, planned.err
    assert "Argo CD keeps it and puts its own version back" in planned.out
    assert "Commit this instead" in planned.out
    assert lab.api.read("Deployment", "web", "shop") == before, "Argo CD would put it back"
    # the printed patch is committed, and Argo CD applies it
    patch = planned.out.partition("apiVersion: apps/v1")
    assert patch[1]
    lab.api.edit(
        "Deployment",
        "web",
        "shop",
        lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(
            envFrom=[{"configMapRef": {"name": "pypi-mirror-env"}}]
        ),
    )
    run_pod_of_web(lab)
    report = json.loads(lab.run("doctor", "--category", "workloads", "-o", "json").out)
    assert [finding["check"] for finding in report["findings"]] == ["workloads.policies"]
    assert report["next"].startswith("echo ")
    apply_printed(lab, report["next"])
    again = json.loads(lab.run("doctor", "--category", "workloads", "-o", "json").out)
    assert again["findings"] == []
    assert "next" not in again or again["next"] == ""
