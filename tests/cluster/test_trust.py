"""Who may write ConfigMaps in kube-system, or edit a namespace, gets no further than that.

In one lab with Calico, with real API server, nodes and CoreDNS. docs/security.md has the table that
these tests are rows of. They build on each other, in their order: at the end nothing is left.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.changes.ledger import Ledger
from deploy.changes.model import AppliedEdit, Edit, LedgerEntry, NodeFile, ObjectSpec, Target
from deploy.cluster.client import Cluster
from mirror.core.wait import Deadline
from mirror.merge import encode_spec
from tests.cluster import coredns
from tests.cluster.fix_lab import FixLab
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.lab import running_lab
from tests.cluster.limited_user import LimitedUser
from tests.cluster.mirror_lab import wait_until_image_reported
from tests.cluster.options import DEFAULT_NODES, LabOptions
from tests.cluster.waiting import ConditionTimeout, wait_for
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

pytestmark = pytest.mark.cluster

SYSTEM = "kube-system"
CANARY = "c4n4ry-v4lue"
POOL = ("ippools.crd.projectcalico.org", "default-ipv6-ippool")
PROBE = ("--name", "index.example", "--yes")
LEDGER_LABELS = {
    "app.kubernetes.io/name": "pypi-mirror",
    "app.kubernetes.io/component": "ledger",
    "app.kubernetes.io/managed-by": "pypi-mirror",
}
# what a cluster makes and removes by itself
VOLATILE = (
    "event",
    "lease",
    "pod",
    "replicaset",
    "controllerrevision",
    "endpoint",
    "ipam",
    "block",
)


@pytest.fixture(scope="module")
def trust_lab(program: RunProgram) -> Iterator[FixLab]:
    archive = ensure_mirror_archive()
    image = archive_reference(archive)
    options = LabOptions(
        name=f"trust-{os.getpid()}",
        poisoned=True,
        aaaa=True,
        no_ipv6_route=True,
        calico=True,
        archives=(str(archive),),
    )
    try:
        with running_lab(options) as lab:
            wait_until_image_reported(lab, image)
            corefile = coredns.read_corefile(lab)
            fast = corefile.replace("    reload\n", "    reload 2s\n")
            coredns.write_corefile(lab, fast)
            coredns.restart(lab)
            yield FixLab(lab=lab, program=program, image=image)
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture(scope="module")
def before(trust_lab: FixLab) -> Mapping[str, Any]:
    """The whole API and every node before anything of ours; a workload with an inline secret."""
    kubectl = trust_lab.lab.kubectl
    kubectl("create", "namespace", "web")
    container = {
        "name": "main",
        "image": "busybox:1",
        "env": [{"name": "SETTINGS", "value": CANARY}],
        "args": ["--password", CANARY],
    }
    labels = {"app": "backend"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": "backend", "namespace": "web"}
    trust_lab.lab.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
    )
    return take_snapshot(trust_lab)


def take_snapshot(fix_lab: FixLab) -> dict[str, Any]:
    lab = fix_lab.lab
    listing = ("api-resources", "--verbs=list", "-o", "name")
    kinds = [
        kind
        for kind in lab.kubectl(*listing).split()
        if not any(word in kind for word in VOLATILE) and "metrics" not in kind
    ]
    objects = {}
    for obj in lab.get_items(",".join(kinds), "-A"):
        meta = obj["metadata"]
        key = f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}"
        objects[key] = json.dumps(
            [{k: v for k, v in meta.get(part, {}).items() if "pypi" in k} for part in PARTS]
        )
    return {
        "objects": objects,
        "cluster": fix_lab.read_cluster(),
        "backend": lab.get("deployment", "backend", "-n", "web")["spec"],
        "hosts": {node: fix_lab.read_host(node) for node in DEFAULT_NODES},
        "pods": [
            pod["metadata"]["name"]
            for pod in lab.get_items("pods", "-A")
            if "pypi-mirror" in json.dumps(pod["metadata"].get("annotations", {}))
        ],
    }


PARTS = ("labels", "annotations")


def connect(kubeconfig: Path) -> Cluster:
    return Cluster.connect(kubeconfig=kubeconfig, context=None, deadline=Deadline.after(60))


@pytest.fixture(scope="module")
def attacker(trust_lab: FixLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedUser]:
    """Who may do everything with ConfigMaps, and nothing else."""
    user = LimitedUser(trust_lab.lab, tmp_path_factory.mktemp("attacker"), "attacker")
    verbs = [("*", "configmaps")]
    user.grant(verbs, others=[("create", "daemonsets"), ("get", "secrets")])
    yield user
    user.remove()


def forge(user: LimitedUser, target: Target, base: bytes | None, written: bytes | None) -> None:
    """Store an entry with right checksums: a rollback would write `base`."""
    applied = AppliedEdit(edit=Edit(fix="host-sysctl"), step=1, steps=1)
    entry = LedgerEntry(target=target, base=base, edits=(applied,), written=written)
    Ledger(user.connect()).put(entry, None)


def test_a_forged_entry_writes_nothing_on_a_node_or_in_the_api(
    trust_lab: FixLab, before: Mapping[str, Any], attacker: LimitedUser
) -> None:
    """Row: writer of ConfigMaps in kube-system. The real fix beside it is rolled back."""
    lab = trust_lab.lab
    trust_lab.fix("host-sysctl")
    forge(attacker, NodeFile(node="ra", path="/etc/cron.d/evil"), b"* * * * * root id\n", b"x")
    pod = {"hostPID": True, "containers": [{"name": "x", "image": trust_lab.image}]}
    labels = {"app": "evil"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    daemon_set = ObjectSpec(kind="DaemonSet", namespace=SYSTEM, name="disable-ipv6")
    forge(attacker, daemon_set, encode_spec(spec), None)
    meta = {"name": "pypi-mirror-ledger-junk", "namespace": SYSTEM, "labels": LEDGER_LABELS}
    attacker.connect().create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    said = trust_lab.run_mirror("rollback", "--yes", code=1)
    assert "host-sysctl never changes file /etc/cron.d/evil on node ra" in said
    assert "nothing proves that this copy of DaemonSet kube-system/disable-ipv6" in said
    assert "pypi-mirror-ledger-junk" in said
    assert lab.exec("ra", "ls", "/etc/cron.d/evil", check=False).returncode != 0
    assert "disable-ipv6" not in lab.kubectl("get", "daemonsets", "-n", SYSTEM)
    for node in DEFAULT_NODES:
        assert trust_lab.read_host(node) == before["hosts"][node], "the real fix is rolled back"
    selector = "app.kubernetes.io/component=ledger"
    lab.kubectl("delete", "configmap", "-n", SYSTEM, "-l", selector)


def test_a_changed_entry_of_a_real_fix_is_not_obeyed(
    trust_lab: FixLab, before: Mapping[str, Any], attacker: LimitedUser
) -> None:
    """The original of our own boot file is replaced by a setting that runs a program as root."""
    trust_lab.fix("host-sysctl")
    ledger = Ledger(attacker.connect())
    path = "/etc/sysctl.d/zz-pypi-mirror-ipv6.conf"
    target = NodeFile(node="ra", path=path)
    stored = ledger.read(target)
    assert stored is not None
    evil = replace(stored.entry, base=b"kernel.core_pattern = |/tmp/evil\n")
    forged = ledger.put(evil, stored)
    said = trust_lab.run_mirror("rollback", "--yes", code=1)
    assert "was not made by mirror" in said
    assert "core_pattern" not in trust_lab.lab.exec("ra", "cat", path).stdout
    ledger.put(stored.entry, forged)
    trust_lab.fix("host-sysctl")  # the agents are gone, and a rollback names no image
    trust_lab.run_mirror("rollback", "--yes")
    for node in DEFAULT_NODES:
        assert trust_lab.read_host(node) == before["hosts"][node]


def test_pod_security_is_named_at_once(trust_lab: FixLab, before: Mapping[str, Any]) -> None:
    assert before
    label = "pod-security.kubernetes.io/enforce"
    lab = trust_lab.lab
    lab.kubectl("label", "namespace", SYSTEM, f"{label}=baseline")
    try:
        said = trust_lab.fix("host-sysctl", code=3)
    finally:
        lab.kubectl("label", "namespace", SYSTEM, f"{label}-")
    assert "violates PodSecurity" in said
    assert "pypi-mirror-node-agent" not in lab.kubectl("get", "daemonsets", "-n", SYSTEM)


def test_a_rollback_returns_when_coredns_has_loaded_the_corefile(
    trust_lab: FixLab, before: Mapping[str, Any]
) -> None:
    lab = trust_lab.lab

    def running() -> set[str]:
        logs = [lab.kubectl("logs", "-n", SYSTEM, pod) for pod in coredns.list_pods(lab)]
        return {
            [line for line in log.splitlines() if "SHA512" in line][-1].split(" = ")[1]
            for log in logs
        }

    original = running()
    trust_lab.fix("dns")
    assert running() != original
    trust_lab.run_mirror("rollback", "dns", "--yes")
    assert running() == original
    assert take_snapshot(trust_lab)["pods"] == [], "no annotation of ours"
    assert trust_lab.read_cluster() == before["cluster"]


def test_coredns_at_zero_replicas_is_named(trust_lab: FixLab, before: Mapping[str, Any]) -> None:
    lab = trust_lab.lab
    scale = ("-n", SYSTEM, "scale", "deployment/coredns")
    replicas = lab.get("deployment", "coredns", "-n", SYSTEM)["spec"]["replicas"]
    lab.kubectl(*scale, "--replicas=0")
    try:
        said = trust_lab.fix("dns", code=5)
    finally:
        lab.kubectl(*scale, f"--replicas={replicas}")
        coredns.wait_until_rolled_out(lab)
    assert "has 0 replicas" in said
    assert trust_lab.read_cluster() == before["cluster"]


def test_a_pool_that_was_made_anew_is_restored_by_force(
    trust_lab: FixLab, before: Mapping[str, Any]
) -> None:
    """As a calico-node with the old environment makes it; Calico's CRD forbids another range."""
    lab = trust_lab.lab
    crd = ("customresourcedefinition", POOL[0])
    saved = lab.get(*crd)
    rule = {"rule": "self == oldSelf", "message": "CIDR cannot be changed"}
    changed = copy.deepcopy(saved)
    for version in changed["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec.setdefault("properties", {}).setdefault("cidr", {"type": "string"})
        spec["properties"]["cidr"]["x-kubernetes-validations"] = [rule]
    trust_lab.fix("ippool", "--delete", "--force-pool")
    pool = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "IPPool",
        "metadata": {"name": POOL[1]},
        "spec": {"cidr": "fd99::/48", "blockSize": 122, "nodeSelector": "all()"},
    }
    lab.kubectl("replace", "-f", "-", stdin=json.dumps(changed))
    try:
        lab.apply(pool)
        trust_lab.run_mirror("rollback", "ippool", "--yes", code=5)
        assert lab.get(*POOL)["spec"]["cidr"] == "fd99::/48"
        trust_lab.run_mirror("rollback", "ippool", "--yes", "--force")
    finally:
        saved["metadata"].pop("resourceVersion")
        lab.kubectl("replace", "-f", "-", stdin=json.dumps(saved))
    assert trust_lab.read_cluster() == before["cluster"]


def test_commands_side_by_side_keep_each_others_agents(
    trust_lab: FixLab, before: Mapping[str, Any]
) -> None:
    env = {**os.environ, "KUBECONFIG": str(trust_lab.lab.kubeconfig)}
    for _ in range(2):
        commands = [
            ("mirror", "fix", fix, "--image", trust_lab.image, *PROBE)
            for fix in ("pod-sysctl", "host-sysctl")
        ]
        running = [
            subprocess.Popen(
                command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            for command in commands
        ]
        said = [process.communicate(timeout=400)[0] for process in running]
        for process, text in zip(running, said, strict=True):
            refused = process.returncode == 5 and "another command is changing" in text
            assert process.returncode == 0 or refused, text
            assert "no agent runs there" not in text
            assert "no node agent on" not in text
        trust_lab.run_mirror("rollback", "--yes")
        assert trust_lab.read_cluster() == before["cluster"]
    for node in DEFAULT_NODES:
        assert trust_lab.read_host(node) == before["hosts"][node]


def test_no_object_file_or_output_has_a_secret_of_a_workload(
    trust_lab: FixLab, before: Mapping[str, Any], ca_bundle: Path, tmp_path: Path
) -> None:
    """A canary through every command that sees the workload. Two mirrors, side by side."""
    for namespace in ("pypi-mirror", "mirror-b"):
        options = ("--image", trust_lab.image, "--ca-bundle", str(ca_bundle), "-n", namespace)
        trust_lab.run_mirror("up", *options)
    workload = ("deployment/backend", "-n", "web")
    said = trust_lab.run_mirror("attach", *workload, "--ndots", "--dry-run")
    said += trust_lab.run_mirror("attach", *workload, "--ndots", "--yes", "-o", "json")
    said += trust_lab.run_mirror("attach", *workload, "--ndots", "--yes")
    said += trust_lab.run_mirror("status", "-o", "json")
    said += trust_lab.run_mirror("fix", "-o", "json")
    bundle = tmp_path / "bundle.tar.gz"
    trust_lab.program(
        "mirror",
        *("doctor", "--bundle", str(bundle), "-o", "json"),
        env={"KUBECONFIG": str(trust_lab.lab.kubeconfig)},
        timeout=300,
    )
    with_canary = {
        obj["kind"]
        for obj in trust_lab.lab.get_items("configmaps,secrets,events,leases,pods", "-A")
        if CANARY in json.dumps(obj)
    }
    assert with_canary == set()
    entries = Ledger(connect(trust_lab.lab.kubeconfig)).read_all()
    assert len(entries) == 1
    assert CANARY not in repr(entries), "their contents are in base64"
    unpacked = subprocess.run(
        ["tar", "xzOf", str(bundle)], capture_output=True, timeout=60, check=False
    )
    assert CANARY.encode() not in unpacked.stdout
    refused = trust_lab.run_mirror("env", "--publish", "web", "-n", "mirror-b", code=5)
    assert "the mirror in namespace pypi-mirror" in refused
    trust_lab.run_mirror("down", "--purge", "--yes", "-n", "mirror-b")
    said += trust_lab.run_mirror("detach", *workload, "--dry-run")
    said += trust_lab.run_mirror("detach", *workload, "--yes")
    assert CANARY not in said
    assert "***" in said
    assert trust_lab.lab.get("deployment", "backend", "-n", "web")["spec"] == before["backend"]


def test_nothing_is_left(
    trust_lab: FixLab, before: Mapping[str, Any], attacker: LimitedUser
) -> None:
    """In the whole API and on every node; the image in the nodes' store apart."""
    trust_lab.run_mirror("down", "--purge", "--yes")
    attacker.set_rules([])

    def read_rest() -> Mapping[str, Any]:
        after = take_snapshot(trust_lab)
        objects = {k: value for k, value in after["objects"].items() if "attacker" not in k}
        return {**after, "objects": objects}

    with suppress(ConditionTimeout):  # a volume goes a little after its claim
        wait_for("the rest to go", lambda: read_rest() == before, timeout=60, interval=5)
    assert read_rest() == before
