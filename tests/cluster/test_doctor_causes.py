"""Plant faults in a real cluster and check that doctor names each one and how to fix it.

The lab has Calico's CNI plugin, all network faults, and a mirror. Faults are planted in groups, so
that one run of doctor finds several.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import coredns
from tests.cluster.diagnosis import (
    diagnose,
    have_pods_reached,
    is_node_ready,
    patched_object,
    remove_server_fields,
    temporary_namespace,
)
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.lab import running_lab
from tests.cluster.limited_user import LimitedUser
from tests.cluster.mirror_lab import NAMESPACE, MirrorLab
from tests.cluster.objects import NO_PROVISIONER, build_deployment
from tests.cluster.options import SEARCH_DOMAIN, LabOptions
from tests.cluster.waiting import scale_by_load, wait_for
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.index]

MAX_SECONDS = 10.0
CANARY = "canary-hunter2-never-shown"
MUSL_ERROR = "Name has no usable address"
POOL = "ippools.crd.projectcalico.org"


@pytest.fixture(scope="module")
def mirror(program: RunProgram, ca_bundle: Path) -> Iterator[MirrorLab]:
    """Provide a lab with Calico and all network faults, with a mirror published to chronicle."""
    archive = ensure_mirror_archive()
    options = replace(
        LabOptions.with_all_faults(f"causes-{os.getpid()}"), calico=True, archives=(str(archive),)
    )
    try:
        with running_lab(options) as lab:
            image = archive_reference(archive)
            mirror = MirrorLab(lab=lab, program=program, image=image, ca_bundle=ca_bundle)
            mirror.wait_until_image_reported()
            mirror.up()
            lab.kubectl("create", "namespace", "chronicle")
            assert mirror.run_mirror("env", "--publish", "chronicle").returncode == 0
            yield mirror
    except START_ERRORS as error:
        skip_or_fail(error)


def test_finds_all_five_network_faults_at_once(mirror: MirrorLab) -> None:
    """Five causes on three nodes, and no finding about the mirror."""
    diagnosis = mirror.diagnose()
    nodes = mirror.lab.nodes
    assert diagnosis.code == 1
    diagnosis.assert_finding(
        "dns.search-domains",
        SEARCH_DOMAIN,
        MUSL_ERROR,
        fix_command="mirror fix search-domains",
        nodes=nodes,
    )
    diagnosis.assert_finding(
        "dns.search-domains", fix_command="mirror attach deployment/NAME -n NAMESPACE --ndots"
    )
    diagnosis.assert_finding(
        "dns.ipv6-answers", "2001:db8::", fix_command="mirror fix dns", nodes=nodes
    )
    diagnosis.assert_finding("dns.egress", fix_command="mirror env --publish", nodes=nodes)
    diagnosis.assert_finding(
        "ipv6.pods", "fd70:8823:7283:", fix_command="mirror fix pod-sysctl", nodes=nodes
    )
    diagnosis.assert_finding(
        "ippools.ipv6-pool", "default-ipv6-ippool", fix_command="mirror fix ippool", nodes=nodes
    )
    known = {"dns", "ipv6", "ippools"}
    assert {check.split(".")[0] for check in diagnosis.findings_by_check} == known, (
        diagnosis.findings_by_check
    )
    assert diagnosis.get_outcome("mirror.reached") == "ok"
    assert diagnosis.get_outcome("cni.drift") == "ok"
    print(
        f"all categories on three nodes: {diagnosis.seconds:.1f} s, load {os.getloadavg()[0]:.1f}"
    )
    limit = scale_by_load(MAX_SECONDS)
    assert diagnosis.seconds <= limit or mirror.diagnose().seconds <= limit


def test_finds_faults_of_workloads_and_their_downloads(mirror: MirrorLab, tmp_path: Path) -> None:
    """Six causes, and a support bundle that contains no secret."""
    index = f"https://bot:{CANARY}@index.example/simple"
    uv = ["/opt/probe/uv", "pip", "install", "--no-cache", "--target", "/tmp/x"]
    uv += ["--python", "/opt/mirror/bin/python3", "--index-url", index, "iniconfig"]
    prints = "import time; print('{}', flush=True); time.sleep(3600)"
    python = prints.format("Downloading cpython-3.12.8-linux-x86_64-gnu (21.3MiB)")
    secrets = [{"name": "API_TOKEN", "value": CANARY}, {"name": "UV_HTTP_RETRIES", "value": "0"}]
    env_from = [{"configMapRef": {"name": "pypi-mirror-env"}}]
    image = mirror.image
    frozen = ["sh", "-c", "sleep 3600; uv run --frozen x"]
    objects = (
        build_deployment("asks", "planted", image, uv, env=secrets),
        build_deployment("speaks", "planted", image, ["python3", "-c", python]),
        build_deployment(
            "models",
            "planted",
            image,
            ["sh", "-c", f"sleep 3600; python -m spacy download en_core_web_sm --token {CANARY}"],
        ),
        build_deployment("mapless", "planted", image, ["sleep", "3600"], envFrom=env_from),
        build_deployment("frozen", "chronicle", image, frozen, envFrom=env_from),
    )
    bundle = tmp_path / "report.tar.gz"
    with temporary_namespace(mirror.lab, "planted", *objects[:4]):
        mirror.lab.apply(objects[4])
        states = {"asks": "failed", "speaks": "ready", "models": "ready", "mapless": "waiting"}
        wait_for(
            "the planted faults to appear",
            lambda: have_pods_reached(mirror.lab, "planted", states),
            timeout=180,
        )
        diagnosis = mirror.diagnose("--category", "workloads", "--category", "downloads")
        result = mirror.run_mirror(
            "doctor", "--name", "index.example", "--bundle", str(bundle), "-v"
        )
        mirror.lab.kubectl("delete", "deployment", "frozen", "-n", "chronicle")
    diagnosis.assert_finding(
        "workloads.failing",
        MUSL_ERROR,
        fix_command="mirror attach deployment/asks -n planted --ndots",
    )
    diagnosis.assert_finding(
        "workloads.mirror", "deployment/asks", fix_command="mirror attach deployment/asks"
    )
    diagnosis.assert_finding(
        "workloads.mirror", "deployment/frozen", "--frozen", fix_command="build-image"
    )
    diagnosis.assert_finding(
        "workloads.config", "deployment/mapless", fix_command="mirror env --publish planted"
    )
    diagnosis.assert_finding("downloads.packages", "deployment/asks", fix_command="build-image")
    diagnosis.assert_finding(
        "downloads.python", "deployment/speaks", fix_command="UV_PYTHON_DOWNLOADS=never"
    )
    diagnosis.assert_finding("downloads.models", "deployment/models", fix_command="build-image")
    _assert_no_secret(mirror, bundle, json.dumps(diagnosis.report) + result.stdout + result.stderr)


def _assert_no_secret(mirror: MirrorLab, bundle: Path, shown: str) -> None:
    """Check that no file of the bundle has a canary or the mirror's Secret."""
    import base64

    values = mirror.get("secret", "pypi-mirror")["data"].values()
    canaries = [CANARY, *(base64.b64decode(value).decode() for value in values)]
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        names = archive.getnames()
        texts = [shown, *(archive.extractfile(name).read().decode() for name in names)]  # type: ignore[union-attr]
    assert not [canary for canary in canaries for text in texts if canary in text]
    paths = {name.partition("/")[2] for name in names}
    expected = {"README.txt", "evidence.json", "findings.json", "versions.json", "events.json"}
    assert expected <= paths
    assert "objects/ConfigMap/kube-system/coredns.json" in paths
    assert "objects/IPPool/default-ipv6-ippool.json" in paths
    assert f"logs/{NAMESPACE}/pypi-mirror-0/front.log" in paths
    assert not [name for name in paths if "Secret" in name]


def test_finds_a_deleted_ipv6_pool_while_assign_ipv6_is_on(mirror: MirrorLab) -> None:
    """Three causes: no new pod starts, and the plugin's own message is shown."""
    pool = mirror.lab.get(POOL, "default-ipv6-ippool")
    mirror.lab.kubectl("delete", POOL, "default-ipv6-ippool")
    try:
        command = ["sleep", "3600"]
        with temporary_namespace(
            mirror.lab, "new", build_deployment("starts", "new", mirror.image, command)
        ):
            wait_for("the kubelet's warning", lambda: _has_sandbox_event(mirror), timeout=120)
            diagnosis = mirror.diagnose(
                *(f"--category={category}" for category in ("ippools", "cni", "dns"))
            )
    finally:
        remove_server_fields(pool)
        mirror.lab.apply(pool)
    diagnosis.assert_finding("ippools.assign-ipv6", "assign_ipv6", fix_command="mirror fix ippool")
    diagnosis.assert_finding(
        "ippools.recreated", "IP6=autodetect", fix_command="NO_DEFAULT_POOLS=true"
    )
    diagnosis.assert_finding(
        "cni.sandbox", "qualified ippool", "starts-", fix_command="mirror fix ippool"
    )
    assert diagnosis.get_outcome("dns.search-domains") == "skipped"
    assert "network cannot be set up" in diagnosis.get_gaps("dns.search-domains")


def _has_sandbox_event(mirror: MirrorLab) -> bool:
    events = mirror.lab.kubectl("get", "events", "-n", "new", "-o", "json")
    return "qualified ippool" in events


def test_finds_felix_without_ipv6_and_a_pool_without_masquerading(mirror: MirrorLab) -> None:
    """Only the DaemonSet is patched; calico-node does not restart."""
    variables = [{"name": "FELIX_IPV6SUPPORT", "value": "false"}]
    daemon_set = mirror.get("daemonset", "calico-node", "kube-system")
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    pod_spec: dict[str, Any] = {"containers": [{**container, "env": container["env"] + variables}]}
    spec = {
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
        "template": {"spec": pod_spec},
    }
    _set_masquerading(mirror, on=False)
    try:
        with patched_object(mirror.lab, "daemonset", "calico-node", "kube-system", {"spec": spec}):
            diagnosis = mirror.diagnose("--category", "cni", "--category", "ippools")
    finally:
        _set_masquerading(mirror, on=True)
    diagnosis.assert_finding(
        "cni.felix", "FELIX_IPV6SUPPORT=false", fix_command="mirror fix ippool"
    )
    diagnosis.assert_finding(
        "ippools.nat", "default-ipv4-ippool", fix_command='{"spec":{"natOutgoing":true}}'
    )


def _set_masquerading(mirror: MirrorLab, *, on: bool) -> None:
    patch = json.dumps({"spec": {"natOutgoing": on}})
    mirror.lab.kubectl("patch", POOL, "default-ipv4-ippool", "--type=merge", "-p", patch)


def test_finds_coredns_without_pods_and_without_an_upstream(mirror: MirrorLab) -> None:
    """Two causes, one after the other."""
    corefile = coredns.read_corefile(mirror.lab)
    without_upstream = corefile.replace("forward . /etc/resolv.conf", "forward . 192.0.2.1")
    with patched_object(
        mirror.lab, "configmap", "coredns", "kube-system", {"data": {"Corefile": without_upstream}}
    ):
        coredns.restart(mirror.lab)
        wait_for(
            "the old CoreDNS pods to end",
            lambda: len(coredns.list_pods(mirror.lab)) == 1,
            timeout=90,
        )
        diagnosis = mirror.diagnose("--category", "dns")
    diagnosis.assert_finding(
        "dns.names", "index.example", fix_command="kubectl -n kube-system get configmap coredns"
    )
    mirror.lab.kubectl("scale", "deployment/coredns", "-n", "kube-system", "--replicas=0")
    try:
        wait_for("CoreDNS' pods to end", lambda: not coredns.list_pods(mirror.lab), timeout=90)
        diagnosis = mirror.diagnose("--category", "dns")
        diagnosis.assert_finding(
            "dns.service", "kube-dns", fix_command="kubectl -n kube-system describe"
        )
    finally:
        mirror.lab.kubectl("scale", "deployment/coredns", "-n", "kube-system", "--replicas=1")
        coredns.wait_until_rolled_out(mirror.lab)


def test_finds_faults_of_the_mirror_itself(mirror: MirrorLab) -> None:
    """Four causes: stale address, missing Service, stopped mirror, and a Pending claim."""
    stale = {"data": {"UV_DEFAULT_INDEX": "http://10.152.183.7:3141/workloads/stable/+simple/"}}
    mirror.lab.apply(NO_PROVISIONER)
    options = ("-n", "later", "--image", mirror.image, "--storage-class", "nobody")
    try:
        assert mirror.run_mirror("up", *options, "--timeout", "20").returncode == 4
        mirror.lab.kubectl(
            *("patch", "configmap", "pypi-mirror-env", "-n", "chronicle", "--type=merge"),
            *("-p", json.dumps(stale)),
        )
        mirror.lab.kubectl("delete", "service", "-n", NAMESPACE, "pypi-mirror")
        diagnosis = mirror.diagnose("--category", "mirror")
        pending = mirror.diagnose("--category", "mirror", "-n", "later")
        assert mirror.run_mirror("down").returncode == 0
        stopped = mirror.diagnose("--category", "mirror", "--image", mirror.image)
    finally:
        mirror.run_mirror("down", "--purge", "--yes", "-n", "later")
        mirror.lab.kubectl("delete", "storageclass", "nobody", "--ignore-not-found")
        mirror.up()
    diagnosis.assert_finding(
        "mirror.published", "10.152.183.7", fix_command="mirror env --publish chronicle"
    )
    diagnosis.assert_finding("mirror.address", "is gone", fix_command="mirror up")
    stopped.assert_finding("mirror.running", "stopped", "chronicle", fix_command="mirror up")
    pending.assert_finding(
        "mirror.volume", "Pending", "nobody", fix_command="kubectl get storageclass"
    )
    recovered = mirror.diagnose("--category", "mirror")
    assert "mirror" not in {check.split(".")[0] for check in recovered.findings_by_check}


def test_finds_missing_rights(mirror: MirrorLab, tmp_path: Path) -> None:
    limited = LimitedUser(mirror.lab, tmp_path)
    try:
        limited.grant([("list", "nodes"), ("get", "configmaps")])
        diagnosis = diagnose(mirror.program, limited.kubeconfig)
    finally:
        limited.remove()
    diagnosis.assert_finding(
        "api.rights", "not allowed: list pods in the whole cluster", fix_command="kubectl create"
    )
    assert diagnosis.get_outcome("workloads.failing") == "skipped"
    assert 'cannot list resource "pods"' in diagnosis.get_gaps("workloads.failing")
    assert diagnosis.get_outcome("nodes.ready") == "ok"


def test_finds_a_node_that_is_down_and_a_cordoned_node(mirror: MirrorLab) -> None:
    """Two causes. Doctor does not wait for probes on a node that is down."""
    mirror_node = mirror.get("pod", "pypi-mirror-0")["spec"]["nodeName"]
    down = next(name for name in mirror.lab.nodes if name != mirror_node)
    mirror.lab.kubectl("cordon", mirror_node)
    mirror.lab.kill_node(down)
    try:
        wait_for(
            "the node to be NotReady", lambda: not is_node_ready(mirror.lab, down), timeout=120
        )
        diagnosis = mirror.diagnose("--category", "nodes", "--category", "mirror")
    finally:
        mirror.lab.start_node(down)
        mirror.lab.kubectl("uncordon", mirror_node)
    diagnosis.assert_finding(
        "nodes.ready", "Kubelet stopped posting", fix_command="restart", nodes=(down,)
    )
    diagnosis.assert_finding(
        "nodes.cordoned", fix_command=f"kubectl uncordon {mirror_node}", nodes=(mirror_node,)
    )
    diagnosis.assert_finding(
        "mirror.volume", mirror_node, "cordoned", fix_command=f"kubectl uncordon {mirror_node}"
    )
    assert "not Ready" in diagnosis.get_gaps("nodes.resolv-conf")
