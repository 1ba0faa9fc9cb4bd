"""`mirror fix --yes` to its end: trial, write, proof, undo; and a fix that has no effect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes_api import MemoryApi
from tests.unit.cli.whole_cluster import (
    COREFILE,
    WholeClusterLab,
    end_probe_pods,
    render_deployment,
    run_whole_cluster,
)

CASES = Path(__file__).parents[1] / "cases/checks"
POISONED, HEALTHY = (
    json.loads((CASES / name / "evidence.json").read_text())["pod_dns"][0]["view"]
    for name in ("poisoned-search-domain", "whole")
)
DNS = {"k8s-app": "kube-dns"}


class CoreDnsInMemory:
    """CoreDNS as probe pods see it: its search domain is poisoned until its Corefile guards it."""

    def __init__(self) -> None:
        self.obeys = True  # what its Corefile says
        self.loads = True  # every Corefile that is tried

    def run_pods(self, api: MemoryApi) -> None:
        """Answer the probe pods, and start the trial of a Corefile."""
        text = api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"]
        is_fixed = self.obeys and "template" in text
        for pod in api.list_objects("Pod"):
            namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            if name.startswith("pypi-mirror-trial-"):
                pod["status"] = {"phase": "Running" if self.loads else "Failed"}
                api.store.put(api.find_resource(pod), pod)
                api.logs[namespace, name, "coredns"] = (
                    "CoreDNS-1.12.0\n" if self.loads else "plugin/template: unknown property\n"
                )
            elif name.startswith("pypi-mirror-doctor-"):
                command = pod["spec"]["containers"][0]["command"]
                is_question = "expect" in command
                unmet: Any = [] if is_fixed else [UNMET]
                view = {"unmet": unmet} if is_question else POISONED
                if not is_question and is_fixed:
                    view = HEALTHY
                ended = {"name": "probe", "state": {"terminated": {"exitCode": 0}}}
                pod["status"] = {"phase": "Succeeded", "containerStatuses": [ended]}
                api.store.put(api.find_resource(pod), pod)
                for container in pod["spec"]["containers"]:
                    api.logs[namespace, name, container["name"]] = json.dumps(view)


UNMET = {
    "server": "10.152.183.10",
    "name": "x.y.communityfibre.co.uk",
    "qtype": "A",
    "wanted": "NXDOMAIN",
    "code": "NOERROR",
    "addresses": [],
}


@pytest.fixture
def coredns() -> CoreDnsInMemory:
    return CoreDnsInMemory()


@pytest.fixture
def lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coredns: CoreDnsInMemory
) -> Iterator[WholeClusterLab]:
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        lab.install()
        lab.api.after_write.remove(end_probe_pods)
        lab.api.after_write.append(coredns.run_pods)
        deployment = render_deployment("coredns", "kube-system", DNS)
        spec = deployment["spec"]["template"]["spec"]
        spec["containers"][0]["name"] = "coredns"
        spec["volumes"] = [{"name": "config", "configMap": {"name": "coredns"}}]
        lab.api.remove("Deployment", "coredns", "kube-system")
        lab.api.seed(deployment)
        yield lab


def read_corefile(lab: WholeClusterLab) -> str:
    text: str = lab.api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"]
    return text


def test_a_fix_is_tried_written_and_proved(lab: WholeClusterLab) -> None:
    before, start = lab.api.dump(), len(lab.api.list_writes())
    result = lab.run("fix", "search-domains", "--image", "m:1", "--yes")
    assert result.code == 0, result.out + result.err
    assert "communityfibre" in read_corefile(lab)
    assert "written: ConfigMap kube-system/coredns key Corefile" in result.out
    assert "proved by pods on ra" in result.out
    assert "undo: mirror rollback search-domains" in result.out
    writes = [re.sub("-[0-9a-f]{6,12}", "-*", line) for line in lab.api.list_writes()[start:]]
    core, system = "/api/v1/namespaces/pypi-mirror", "/api/v1/namespaces/kube-system"
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    probe = [f"POST {core}/pods", f"DELETE {core}/pods/pypi-mirror-doctor-*"]
    assert writes == [
        *probe,
        f"POST {leases}",
        f"POST {system}/configmaps",
        f"POST {system}/pods",
        f"DELETE {system}/pods/pypi-mirror-trial-*",
        f"DELETE {system}/configmaps/pypi-mirror-trial-*-coredns",
        f"POST {system}/configmaps",  # the ledger's
        f"PUT {system}/configmaps/coredns",
        f"PUT {system}/configmaps/pypi-mirror-ledger-*",
        f"DELETE {leases}/pypi-mirror-changes",
        *probe,
        *probe,
    ]
    undone = lab.run("rollback", "search-domains", "--yes")
    assert undone.code == 0, undone.out + undone.err
    assert read_corefile(lab) == COREFILE
    left = set(lab.api.dump()) - set(before)
    assert not [name for name in left if "pypi-mirror" in name and "Event" not in name]


def test_what_does_not_help_is_said(lab: WholeClusterLab, coredns: CoreDnsInMemory) -> None:
    coredns.obeys = False
    result = lab.run("fix", "search-domains", "--image", "m:1", "--yes")
    assert result.code == 1, result.out + result.err
    assert "was written, but it does not have the expected effect" in result.err
    assert "10.152.183.10 answers NOERROR to A" in result.get_line("why")
    assert "mirror rollback search-domains" in result.get_line("next")


def test_what_coredns_does_not_load_is_not_written(
    lab: WholeClusterLab, coredns: CoreDnsInMemory
) -> None:
    coredns.loads = False
    result = lab.run("fix", "search-domains", "--image", "m:1", "--yes")
    assert result.code == 5, result.out + result.err
    assert "unknown property" in result.get_line("why")
    assert read_corefile(lab) == COREFILE
    assert not [name for name in lab.api.dump() if "-trial-" in name or "-ledger-" in name]
