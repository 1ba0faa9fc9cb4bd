"""Causes planted in a real cluster, each named with the command that mends it.

One lab with Calico's own plugin and every trouble of the field, and a mirror in it. Plants are
grouped: one look finds several.
"""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.diagnosis import (
    build_deployment,
    diagnose,
    have_pods_reached,
    is_node_ready,
    patched_object,
    temporary_namespace,
)
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.lab import running_lab
from tests.cluster.limited_user import LimitedUser
from tests.cluster.mirror_lab import NAMESPACE, MirrorLab
from tests.cluster.options import SEARCH_DOMAIN, LabOptions
from tests.cluster.waiting import scale_by_load, wait_for
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.index]

SECONDS = 10.0
CANARY = "canary-hunter2-never-shown"
FIELD = "Name has no usable address"
POOL = "ippools.crd.projectcalico.org"


@pytest.fixture(scope="module")
def place(program: RunProgram, ca_bundle: Path) -> Iterator[MirrorLab]:
    """The field's cluster with Calico, and a mirror that was published in namespace chronicle."""
    archive = ensure_mirror_archive()
    options = LabOptions(
        name=f"causes-{os.getpid()}",
        poisoned=True,
        aaaa=True,
        no_ipv6_route=True,
        cut_egress=True,
        calico=True,
        archives=(str(archive),),
    )
    try:
        running = running_lab(options)
        with running as up:
            image = archive_reference(archive)
            made = MirrorLab(lab=up, program=program, image=image, ca_bundle=ca_bundle)
            made.wait_until_image_reported()
            made.up()
            up.kubectl("create", "namespace", "chronicle")
            assert made.run_mirror("env", "--publish", "chronicle").returncode == 0
            yield made
    except START_ERRORS as error:
        skip_or_fail(error)


def test_the_field(place: MirrorLab) -> None:
    """Five causes at once, on three nodes, and the mirror is well beside them."""
    told = diagnose(place)
    nodes = place.lab.nodes
    assert told.code == 1
    told.assert_finding(
        "dns.search-domains",
        SEARCH_DOMAIN,
        FIELD,
        fix_command="mirror fix search-domains",
        nodes=nodes,
    )
    told.assert_finding(
        "dns.search-domains", fix_command="mirror attach deployment/NAME -n NAMESPACE --ndots"
    )
    told.assert_finding("dns.ipv6-answers", "2001:db8::", fix_command="mirror fix dns", nodes=nodes)
    told.assert_finding("dns.egress", fix_command="mirror env --publish", nodes=nodes)
    told.assert_finding(
        "ipv6.pods", "fd70:8823:7283:", fix_command="mirror fix pod-sysctl", nodes=nodes
    )
    told.assert_finding(
        "ippools.ipv6-pool", "default-ipv6-ippool", fix_command="mirror fix ippool", nodes=nodes
    )
    known = {"dns", "ipv6", "ippools"}
    assert {check.split(".")[0] for check in told.findings_by_check} == known, (
        told.findings_by_check
    )
    assert told.get_outcome("mirror.reached") == "ok"
    assert told.get_outcome("cni.drift") == "ok"
    print(f"all categories on three nodes: {told.seconds:.1f} s, load {os.getloadavg()[0]:.1f}")
    assert told.seconds <= scale_by_load(SECONDS) or diagnose(place).seconds <= scale_by_load(
        SECONDS
    )


def test_workloads_and_what_they_download(place: MirrorLab, tmp_path: Path) -> None:
    """Six causes, and a bundle that shows none of the secrets beside them."""
    index = f"https://bot:{CANARY}@index.example/simple"
    uv = ["/opt/probe/uv", "pip", "install", "--no-cache", "--target", "/tmp/x"]
    uv += ["--python", "/opt/mirror/bin/python3", "--index-url", index, "iniconfig"]
    says = "import time; print('{}', flush=True); time.sleep(3600)"
    python = says.format("Downloading cpython-3.12.8-linux-x86_64-gnu (21.3MiB)")
    secret = [{"name": "API_TOKEN", "value": CANARY}, {"name": "UV_HTTP_RETRIES", "value": "0"}]
    taken = [{"configMapRef": {"name": "pypi-mirror-env"}}]
    image = place.image
    frozen = ["sh", "-c", "sleep 3600; uv run --frozen x"]
    objects = (
        build_deployment("asks", "planted", image, uv, env=secret),
        build_deployment("speaks", "planted", image, ["python3", "-c", python]),
        build_deployment(
            "models",
            "planted",
            image,
            ["sh", "-c", f"sleep 3600; python -m spacy download en_core_web_sm --token {CANARY}"],
        ),
        build_deployment("mapless", "planted", image, ["sleep", "3600"], envFrom=taken),
        build_deployment("frozen", "chronicle", image, frozen, envFrom=taken),
    )
    bundle = tmp_path / "report.tar.gz"
    with temporary_namespace(place, "planted", *objects[:4]):
        place.lab.kubectl("apply", "-f", "-", stdin=json.dumps(objects[4]))
        names = {"asks": "failed", "speaks": "ready", "models": "ready", "mapless": "waiting"}
        wait_for(
            "what was planted", lambda: have_pods_reached(place, "planted", names), timeout=180
        )
        told = diagnose(place, "--category", "workloads", "--category", "downloads")
        done = place.run_mirror("doctor", "--name", "index.example", "--bundle", str(bundle), "-v")
        place.lab.kubectl("delete", "deployment", "frozen", "-n", "chronicle")
    told.assert_finding(
        "workloads.failing", FIELD, fix_command="mirror attach deployment/asks -n planted --ndots"
    )
    told.assert_finding(
        "workloads.mirror", "deployment/asks", fix_command="mirror attach deployment/asks"
    )
    told.assert_finding(
        "workloads.mirror", "deployment/frozen", "--frozen", fix_command="build-image"
    )
    told.assert_finding(
        "workloads.config", "deployment/mapless", fix_command="mirror env --publish planted"
    )
    told.assert_finding("downloads.packages", "deployment/asks", fix_command="build-image")
    told.assert_finding(
        "downloads.python", "deployment/speaks", fix_command="UV_PYTHON_DOWNLOADS=never"
    )
    told.assert_finding("downloads.models", "deployment/models", fix_command="build-image")
    _no_secret(place, bundle, json.dumps(told.report) + done.stdout + done.stderr)


def _no_secret(place: MirrorLab, bundle: Path, shown: str) -> None:
    """Neither the canaries nor the mirror's own Secret, in no file of the archive."""
    import base64

    values = place.get("secret", "pypi-mirror")["data"].values()
    canaries = [CANARY, *(base64.b64decode(value).decode() for value in values)]
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        names = archive.getnames()
        texts = [shown, *(archive.extractfile(name).read().decode() for name in names)]  # type: ignore[union-attr]
    assert not [canary for canary in canaries for text in texts if canary in text]
    inside = {name.partition("/")[2] for name in names}
    wanted = {"README.txt", "evidence.json", "findings.json", "versions.json", "events.json"}
    assert wanted <= inside
    assert "objects/ConfigMap/kube-system/coredns.json" in inside
    assert "objects/IPPool/default-ipv6-ippool.json" in inside
    assert f"logs/{NAMESPACE}/pypi-mirror-0/front.log" in inside
    assert not [name for name in inside if "Secret" in name]


def test_an_ipv6_pool_deleted_while_assign_ipv6_is_on(place: MirrorLab) -> None:
    """Three causes: no new pod starts, in the plugin's own words."""
    pool = json.loads(place.lab.kubectl("get", POOL, "default-ipv6-ippool", "-o", "json"))
    place.lab.kubectl("delete", POOL, "default-ipv6-ippool")
    try:
        command = ["sleep", "3600"]
        with temporary_namespace(
            place, "new", build_deployment("starts", "new", place.image, command)
        ):
            wait_for("the kubelet's warning", lambda: _sandbox(place), timeout=120)
            told = diagnose(place, *(f"--category={one}" for one in ("ippools", "cni", "dns")))
    finally:
        for key in ("resourceVersion", "uid", "creationTimestamp"):
            pool["metadata"].pop(key)
        place.lab.kubectl("apply", "-f", "-", stdin=json.dumps(pool))
    told.assert_finding("ippools.assign-ipv6", "assign_ipv6", fix_command="mirror fix ippool")
    told.assert_finding("ippools.recreated", "IP6=autodetect", fix_command="NO_DEFAULT_POOLS=true")
    told.assert_finding(
        "cni.sandbox", "qualified ippool", "starts-", fix_command="mirror fix ippool"
    )
    assert told.get_outcome("dns.search-domains") == "skipped"
    assert "network cannot be made" in told.get_gaps("dns.search-domains")


def _sandbox(place: MirrorLab) -> bool:
    events = place.lab.kubectl("get", "events", "-n", "new", "-o", "json")
    return "qualified ippool" in events


def test_felix_off_and_a_pool_that_is_not_masqueraded(place: MirrorLab) -> None:
    """calico-node is not restarted for it: only what it is told is looked at."""
    variables = [{"name": "FELIX_IPV6SUPPORT", "value": "false"}]
    shown = place.get("daemonset", "calico-node", "kube-system")
    (container,) = shown["spec"]["template"]["spec"]["containers"]
    patch: dict[str, Any] = {"containers": [{**container, "env": container["env"] + variables}]}
    spec = {
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
        "template": {"spec": patch},
    }
    _masquerade(place, on=False)
    try:
        with patched_object(place, "daemonset", "calico-node", "kube-system", {"spec": spec}):
            told = diagnose(place, "--category", "cni", "--category", "ippools")
    finally:
        _masquerade(place, on=True)
    told.assert_finding("cni.felix", "FELIX_IPV6SUPPORT=false", fix_command="mirror fix ippool")
    told.assert_finding(
        "ippools.nat", "default-ipv4-ippool", fix_command='{"spec":{"natOutgoing":true}}'
    )


def _masquerade(place: MirrorLab, *, on: bool) -> None:
    patch = json.dumps({"spec": {"natOutgoing": on}})
    place.lab.kubectl("patch", POOL, "default-ipv4-ippool", "--type=merge", "-p", patch)


def test_coredns_without_pods_and_without_a_server_to_ask(place: MirrorLab) -> None:
    """Two causes, one after the other."""
    corefile = place.get("configmap", "coredns", "kube-system")["data"]["Corefile"]
    silent = corefile.replace("forward . /etc/resolv.conf", "forward . 192.0.2.1")
    restart = ("rollout", "restart", "deployment/coredns", "-n", "kube-system")
    settled = ("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=90s")
    with patched_object(
        place, "configmap", "coredns", "kube-system", {"data": {"Corefile": silent}}
    ):
        place.lab.kubectl(*restart)
        place.lab.kubectl(*settled, timeout=100)
        wait_for(
            "the old CoreDNS to be gone", lambda: len(_dns_pods(place).split()) == 1, timeout=90
        )
        told = diagnose(place, "--category", "dns")
    told.assert_finding(
        "dns.names", "index.example", fix_command="kubectl -n kube-system get configmap coredns"
    )
    place.lab.kubectl("scale", "deployment/coredns", "-n", "kube-system", "--replicas=0")
    try:
        wait_for("CoreDNS to be gone", lambda: not _dns_pods(place), timeout=90)
        told = diagnose(place, "--category", "dns")
        told.assert_finding(
            "dns.service", "kube-dns", fix_command="kubectl -n kube-system describe"
        )
    finally:
        place.lab.kubectl("scale", "deployment/coredns", "-n", "kube-system", "--replicas=1")
        place.lab.kubectl(*settled, timeout=100)


def _dns_pods(place: MirrorLab) -> str:
    return place.lab.kubectl(
        "get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", "name"
    )


def test_the_mirrors_own_troubles(place: MirrorLab) -> None:
    """Four causes: stale, moved, stopped, and a claim that stays Pending."""
    stale = {"data": {"UV_DEFAULT_INDEX": "http://10.152.183.7:3141/workloads/stable/+simple/"}}
    nobody = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "nobody"},
        "provisioner": "example.org/nobody",
    }
    place.lab.kubectl("apply", "-f", "-", stdin=json.dumps(nobody))
    later = ("-n", "later", "--image", place.image, "--storage-class", "nobody")
    try:
        assert place.run_mirror("up", *later, "--timeout", "20").returncode == 4
        place.lab.kubectl(
            *("patch", "configmap", "pypi-mirror-env", "-n", "chronicle", "--type=merge"),
            *("-p", json.dumps(stale)),
        )
        place.lab.kubectl("delete", "service", "-n", NAMESPACE, "pypi-mirror")
        told = diagnose(place, "--category", "mirror")
        pending = diagnose(place, "--category", "mirror", "-n", "later")
        assert place.run_mirror("down").returncode == 0
        stopped = diagnose(place, "--category", "mirror", "--image", place.image)
    finally:
        place.run_mirror("down", "--purge", "-n", "later")
        place.lab.kubectl("delete", "storageclass", "nobody", "--ignore-not-found")
        place.up()
    told.assert_finding(
        "mirror.published", "10.152.183.7", fix_command="mirror env --publish chronicle"
    )
    told.assert_finding("mirror.address", "is gone", fix_command="mirror up")
    stopped.assert_finding("mirror.running", "stopped", "chronicle", fix_command="mirror up")
    pending.assert_finding(
        "mirror.volume", "Pending", "nobody", fix_command="kubectl get storageclass"
    )
    well = diagnose(place, "--category", "mirror")
    assert "mirror" not in {check.split(".")[0] for check in well.findings_by_check}


def test_a_missing_right(place: MirrorLab, tmp_path: Path) -> None:
    limited = LimitedUser(place, tmp_path)
    try:
        limited.allow([("list", "nodes", False), ("get", "configmaps", True)])
        env = {"KUBECONFIG": str(limited.kubeconfig)}
        told = diagnose(place, env=env)
    finally:
        limited.remove()
    told.assert_finding(
        "api.rights", "may not: list pods in the whole cluster", fix_command="kubectl create"
    )
    assert told.get_outcome("workloads.failing") == "skipped"
    assert 'cannot list resource "pods"' in told.get_gaps("workloads.failing")
    assert told.get_outcome("nodes.ready") == "ok"


def test_a_node_that_is_down_and_one_that_is_cordoned(place: MirrorLab) -> None:
    """Two causes; probes are not waited for on a node that is not there."""
    home = place.get("pod", "pypi-mirror-0")["spec"]["nodeName"]
    down = next(name for name in place.lab.nodes if name != home)
    place.lab.kubectl("cordon", home)
    place.lab.kill_node(down)
    try:
        wait_for("the node to be NotReady", lambda: not is_node_ready(place, down), timeout=120)
        begun = time.monotonic()
        told = diagnose(place, "--category", "nodes", "--category", "mirror")
        assert time.monotonic() - begun < scale_by_load(60)
    finally:
        place.lab.start_node(down)
        place.lab.kubectl("uncordon", home)
    told.assert_finding(
        "nodes.ready", "Kubelet stopped posting", fix_command="restart", nodes=(down,)
    )
    told.assert_finding("nodes.cordoned", fix_command=f"kubectl uncordon {home}", nodes=(home,))
    told.assert_finding("mirror.volume", home, "cordoned", fix_command=f"kubectl uncordon {home}")
    assert "not Ready" in told.get_gaps("nodes.resolv-conf")
