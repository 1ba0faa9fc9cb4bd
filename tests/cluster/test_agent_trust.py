"""Nobody but an administrator becomes root on a node by way of the node agent or the reconciler.

In one lab with Calico, by attackers with exactly the rights that each test names (the admin acts as
them). The tests build on each other, in their order; tests/cluster/test_trust.py has the other rows
of docs/security.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster.client import ApiError, Cluster
from mirror.core.wait import Deadline
from tests.cluster import reconciler_checks
from tests.cluster.fix_lab import FixLab
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.kubeconfig import copy_with_token
from tests.cluster.lab import running_lab
from tests.cluster.mirror_lab import wait_until_image_reported
from tests.cluster.options import DEFAULT_NODES, LabOptions
from tests.cluster.waiting import wait_for
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

pytestmark = pytest.mark.cluster

SYSTEM, MIRROR = "kube-system", "pypi-mirror"
EDITOR, WRITER = "--as=editor", "--as=writer"
ORDERS, AGENT = "pypi-mirror-node-orders", "pypi-mirror-node-agent"
PROBE = ("--name", "index.example", "--yes")
EVIL_FILES = {"/etc/cron.d/evil": "* * * * * root id\n", "/etc/ld.so.preload": "/tmp/evil.so\n"}


@pytest.fixture(scope="module")
def trust_lab(program: RunProgram) -> Iterator[FixLab]:
    archive = ensure_mirror_archive()
    options = LabOptions(
        name=f"agents-{os.getpid()}", no_ipv6_route=True, calico=True, archives=(str(archive),)
    )
    try:
        with running_lab(options) as lab:
            image = archive_reference(archive)
            wait_until_image_reported(lab, image)
            yield FixLab(lab=lab, program=program, image=image)
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture(scope="module")
def before(trust_lab: FixLab, ca_bundle: Path) -> Mapping[str, Any]:
    """The state before any fix. A mirror runs; an editor and a writer have their rights."""
    lab = trust_lab.lab
    state = {
        "hosts": {node: trust_lab.read_host(node) for node in DEFAULT_NODES},
        "cluster": trust_lab.read_cluster(),
        "annotations": read_annotations(trust_lab),
    }
    trust_lab.run_mirror("up", "--image", trust_lab.image, "--ca-bundle", str(ca_bundle))
    bind = ("create", "rolebinding")
    lab.kubectl(*bind, "editor", "-n", MIRROR, "--clusterrole=edit", "--user=editor")
    role = ("role", "writer", "-n", SYSTEM)
    lab.kubectl("create", *role, "--verb=*", "--resource=configmaps")
    lab.kubectl(*bind, "writer", "-n", SYSTEM, "--role=writer", "--user=writer")
    return state


def read_annotations(trust_lab: FixLab) -> Any:
    metadata = trust_lab.lab.get("namespace", SYSTEM)["metadata"]
    return {k: v for k, v in metadata.get("annotations", {}).items() if "pypi" in k}


def find_image(trust_lab: FixLab, *workload: str) -> str:
    spec = trust_lab.lab.get(*workload, "-n", SYSTEM)["spec"]["template"]["spec"]
    return str(spec["containers"][0]["image"])


def list_agents(trust_lab: FixLab) -> dict[str, Any]:
    """Return node → the pod of its agent."""
    selector = ("-l", "app.kubernetes.io/component=node-agent")
    pods = trust_lab.lab.get_items("pod", "-n", SYSTEM, *selector)
    return {
        pod["spec"]["nodeName"]: pod for pod in pods if "deletionTimestamp" not in pod["metadata"]
    }


def restart_agent(trust_lab: FixLab, node: str) -> str:
    """Delete the agent of a node, as an eviction does; return the log of the next one."""
    kubectl = trust_lab.lab.kubectl
    name = list_agents(trust_lab)[node]["metadata"]["name"]
    kubectl("delete", "pod", "-n", SYSTEM, name, timeout=90)

    def read_log() -> str:
        pod = list_agents(trust_lab).get(node)
        if pod is None or pod["metadata"]["name"] == name:
            return ""
        log = kubectl("logs", "-n", SYSTEM, pod["metadata"]["name"], check=False)
        return log if "ready" in log.splitlines() else ""

    return str(wait_for("the next agent", read_log, timeout=120))


def write_orders(trust_lab: FixLab, text: str) -> None:
    """Write the node defaults as somebody who may write ConfigMaps in kube-system."""
    patch = json.dumps({"data": {"orders.json": text}})
    trust_lab.lab.kubectl(WRITER, "-n", SYSTEM, "patch", "configmap", ORDERS, "-p", patch)


def list_findings(trust_lab: FixLab) -> dict[str, Any]:
    """Return check → finding, as `mirror doctor` reports nodes and fixes."""
    result = trust_lab.program(
        "mirror",
        *("doctor", "--category", "hosts", "--category", "fixes", "-o", "json"),
        env={"KUBECONFIG": str(trust_lab.lab.kubeconfig)},
        timeout=300,
    )
    return {finding["check"]: finding for finding in json.loads(result.stdout)["findings"]}


def is_there(trust_lab: FixLab, node: str, path: str) -> bool:
    return trust_lab.lab.exec(node, "ls", path, check=False).returncode == 0


def test_an_editor_of_the_mirrors_namespace_chooses_no_privileged_image(
    trust_lab: FixLab, before: Mapping[str, Any]
) -> None:
    """Their StatefulSet and the record name another image. A dry run starts no agent at all."""
    kubectl, evil = trust_lab.lab.kubectl, "docker.io/library/busybox:1"
    record = json.loads(read_annotations(trust_lab)["pypi-mirror/node-agent-image"])
    assert record["image"] == trust_lab.image
    assert record["ids"]
    spec = {
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
        "template": {"spec": {"containers": [{"name": "devpi", "image": evil}]}},
    }
    patch = json.dumps({"spec": spec})
    kubectl(EDITOR, "-n", MIRROR, "patch", "statefulset", "pypi-mirror", "-p", patch)
    config_map = trust_lab.lab.get("configmap", "pypi-mirror-record", "-n", MIRROR)
    text = config_map["data"]["record.json"].replace(trust_lab.image, evil)
    patch = json.dumps({"data": {"record.json": text}})
    kubectl(EDITOR, "-n", MIRROR, "patch", "configmap", "pypi-mirror-record", "-p", patch)
    annotate = ("annotate", "--overwrite", "namespace", SYSTEM)
    annotation = f"pypi-mirror/node-agent-image={evil}"
    assert "orbidden" in kubectl(EDITOR, *annotate, annotation, check=False)
    said = trust_lab.run_mirror("fix", "host-sysctl", "ippool", "--dry-run")
    assert AGENT not in kubectl("get", "daemonsets", "-n", SYSTEM)
    words = " ".join(said.split())
    assert "NOT observed, because no node agent runs and a dry run starts none" in words
    assert f"image {trust_lab.image}" in words
    assert record["ids"][0] in words
    assert "busybox" not in words
    trust_lab.run_mirror("fix", "host-sysctl", "ippool", "--keep", *PROBE)
    assert find_image(trust_lab, "daemonset", AGENT) == trust_lab.image
    assert find_image(trust_lab, "deployment", "pypi-mirror-keeper") == trust_lab.image
    agents = list_agents(trust_lab)
    assert set(agents) == set(DEFAULT_NODES)
    for pod in agents.values():
        (status,) = pod["status"]["containerStatuses"]
        assert status["imageID"].rpartition("@")[2] in record["ids"]


def test_altered_node_defaults_are_reported_and_overwritten(
    trust_lab: FixLab, before: Mapping[str, Any]
) -> None:
    """By who may write ConfigMaps in kube-system. What fixes write beside them is obeyed."""
    assert before
    lab = trust_lab.lab
    written = lab.get("configmap", ORDERS, "-n", SYSTEM)["data"]["orders.json"]
    evil = [{"target": path, "content": text} for path, text in EVIL_FILES.items()]
    write_orders(trust_lab, json.dumps([*evil, *json.loads(written)]))
    log = restart_agent(trust_lab, "ra")
    assert log.count("not obeyed") == len(EVIL_FILES)
    assert not any(is_there(trust_lab, "ra", path) for path in EVIL_FILES)
    findings = list_findings(trust_lab)
    assert any("/etc/cron.d/evil" in line for line in findings["hosts.refused"]["evidence"])
    assert findings["fixes.drift"]
    wait_for(
        "the reconciler's Event",
        lambda: any(
            "only a person may restore it" in event["message"]
            for event in reconciler_checks.list_events(lab, "ConfigMap")
            if event["involvedObject"]["name"] == ORDERS
        ),
        timeout=90,
    )
    trust_lab.run_mirror("fix", "host-sysctl", *PROBE)
    assert lab.get("configmap", ORDERS, "-n", SYSTEM)["data"] == {"orders.json": written}
    restart_agent(trust_lab, "ra")
    wait_for(  # a kubelet brings a changed ConfigMap into a running pod within two minutes
        "the agents' pods to have the fix's own defaults",
        lambda: not {"hosts.refused", "fixes.drift"} & set(list_findings(trust_lab)),
        timeout=150,
        interval=5,
    )


def test_an_agent_refuses_requests_that_no_fix_makes(
    trust_lab: FixLab, before: Mapping[str, Any]
) -> None:
    assert before
    name = list_agents(trust_lab)["ra"]["metadata"]["name"]
    command = ("-i", "-n", SYSTEM, name, "--", "python3", "-m", "mirror.agent", "do")
    for path in EVIL_FILES:
        write: dict[str, Any] = {
            "do": "write",
            "target": path,
            "content": "eA==",
            "seen": "absent",
            "frame": "",
        }
        page = {**write, "base": None, "written": "eA==", "fixes": []}
        keep = {"do": "keep", "pages": [page], "orders": True}
        for request, key in ((write, "refused"), (keep, "rejected")):
            text = json.dumps(request) + "\n"
            answer = json.loads(trust_lab.lab.kubectl("exec", *command, stdin=text))
            assert path in str(answer[key])
        assert not is_there(trust_lab, "ra", path)


def test_the_reconcilers_token_writes_nothing_that_nodes_run(
    trust_lab: FixLab, before: Mapping[str, Any], tmp_path: Path
) -> None:
    assert before
    lab = trust_lab.lab
    token = lab.kubectl("create", "token", "pypi-mirror-keeper", "-n", SYSTEM).strip()
    kubeconfig = copy_with_token(lab.kubeconfig, tmp_path / "stolen", token)
    stolen = Cluster.connect(kubeconfig=kubeconfig, context=None, deadline=Deadline.after(60))
    spec = {"spec": {"template": {"spec": {"hostPID": True}}}}
    data = {"data": {"orders.json": "[]", "cni_network_config": "{}"}}
    attacks: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("DaemonSet", "calico-node", spec),
        ("DaemonSet", AGENT, spec),
        ("Deployment", "pypi-mirror-keeper", spec),
        ("ConfigMap", ORDERS, data),
        ("ConfigMap", "calico-config", data),
        ("ConfigMap", "another", data),
    )
    for kind, name, body in attacks:
        with pytest.raises(ApiError) as error:
            stolen.patch(kind, name, SYSTEM, body)
        assert error.value.status == 403, name


def test_malformed_node_defaults_stop_no_agent_and_are_rolled_back(
    trust_lab: FixLab, before: Mapping[str, Any]
) -> None:
    """The agent stands by and answers; the rollback undoes the fix and deletes the ConfigMap."""
    lab = trust_lab.lab
    write_orders(trust_lab, '{"not": "a list"')
    assert "none is obeyed" in restart_agent(trust_lab, "ra")
    (status,) = list_agents(trust_lab)["ra"]["status"]["containerStatuses"]
    assert (status["restartCount"], "running" in status["state"]) == (0, True)
    assert "hosts.refused" in list_findings(trust_lab)
    trust_lab.run_mirror("rollback", "--yes")
    assert ORDERS not in lab.kubectl("get", "configmaps", "-n", SYSTEM)
    assert reconciler_checks.list_objects(lab) == ""
    for node in DEFAULT_NODES:
        assert trust_lab.read_host(node) == before["hosts"][node], node
    trust_lab.run_mirror("down", "--purge", "--yes")
    assert trust_lab.read_cluster() == before["cluster"]
    assert read_annotations(trust_lab) == before["annotations"]
