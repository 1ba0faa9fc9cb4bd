"""The mirror in a lab with all network faults: from `up` to Chronicle's packages on every node.

The search domain is poisoned, DNS answers AAAA, there is no IPv6 route, and pods have no egress.
The tests build on each other, in their order.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.mirror_lab import NAMESPACE, MirrorLab
from tests.cluster.waiting import wait_for
from tests.cluster.workloads import UV_VERSIONS, build_pod
from tests.wheels import make_wheel

pytestmark = [pytest.mark.cluster, pytest.mark.index]

READY_SECONDS = 30
INSTALL_SECONDS = 1700
UV_ERRORS = {"0.6.10": "Name does not resolve", "0.13.9": "Name has no usable address"}
PROGRAMS = [*(f"uv-{version}" for version in UV_VERSIONS), "pip"]


def test_installs_fail_without_the_mirror(mirror_lab: MirrorLab) -> None:
    nodes = mirror_lab.lab.nodes
    pods = [
        build_pod(
            f"bare-{node}-{version.replace('.', '-')}",
            node,
            [
                *(f"/usr/local/bin/uv-{version}", "pip", "install", "--no-cache", "iniconfig"),
                *("--target", "/tmp/x", "--index-url", "http://index.example/simple/"),
            ],
            env_map=None,
        )
        for node in nodes
        for version in UV_VERSIONS
    ]
    results = mirror_lab.run_pods(pods, seconds=120)
    for name, (phase, log) in results.items():
        version = "0.6.10" if name.endswith("0-6-10") else "0.13.9"
        assert phase == "Failed", name
        assert UV_ERRORS[version] in log, f"{name}: {log}"


def test_up_from_nothing(mirror_lab: MirrorLab) -> None:
    report = _time_up(mirror_lab)
    if report["seconds"] > READY_SECONDS:  # other tests may have used the cores
        assert mirror_lab.run_mirror("down", "--purge", "--yes").returncode == 0
        report = _time_up(mirror_lab)
    assert {probe["node"] for probe in report["probes"]} == set(mirror_lab.lab.nodes)
    assert all(probe["ok"] for probe in report["probes"])
    assert report["seconds"] <= READY_SECONDS
    service = mirror_lab.get("service", "pypi-mirror")["spec"]
    assert service["ipFamilyPolicy"] == "SingleStack"
    assert service["ipFamilies"] == ["IPv4"]
    assert report["url"] == f"http://{service['clusterIP']}:3141/workloads/stable/+simple/"


def _time_up(mirror_lab: MirrorLab) -> dict[str, Any]:
    started = time.monotonic()
    report = mirror_lab.up()
    duration = time.monotonic() - started
    print(
        f"up from nothing: ready in {report['seconds']} s, proved on all nodes in {duration:.1f} s"
    )
    return report


@pytest.mark.timeout(1800)
def test_every_node_installs_chronicle_with_uv_and_pip(
    mirror_lab: MirrorLab, chronicle_lock: Path
) -> None:
    """Pods get only the published ConfigMap. 146 of the 160 requirements apply to this platform."""
    result = mirror_lab.run_mirror("env", "--publish", "chronicle")
    assert result.returncode == 0, result.stderr
    pods = [
        build_pod(
            f"install-{node}",
            node,
            ["python3", "/lock/workload_install.py", *PROGRAMS],
            env_map="pypi-mirror-env",
        )
        for node in mirror_lab.lab.nodes
    ]
    results = mirror_lab.run_pods(pods, seconds=INSTALL_SECONDS)
    locked = {
        line.split("==")[0].lower().replace("_", "-").replace(".", "-")
        for line in chronicle_lock.read_text().splitlines()
        if line[:1].isalpha() and "python_full_version < '3.13'" not in line
    }
    for name, (phase, log) in results.items():
        reports = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        for report in reports:
            print(f"{name}: {report['program']} {report['seconds']} s")
            assert report["code"] == 0, f"{name} {report['program']}: {report['output']}"
            names = {name.lower().replace("_", "-").replace(".", "-") for name in report["names"]}
            assert len(names) >= 146
            assert names - {"pip"} <= locked
        assert [report["program"] for report in reports] == PROGRAMS
        assert phase == "Succeeded"


def test_second_up_changes_nothing(mirror_lab: MirrorLab) -> None:
    before = mirror_lab.read_resource_versions()
    restarts = mirror_lab.count_restarts()
    mirror_lab.up()
    assert mirror_lab.read_resource_versions() == before
    assert mirror_lab.count_restarts() == restarts


def test_up_remembers_options(mirror_lab: MirrorLab) -> None:
    before = mirror_lab.read_resource_versions()
    result = mirror_lab.run_mirror("up", "--image", mirror_lab.image)
    assert result.returncode == 0, result.stderr
    assert mirror_lab.read_resource_versions() == before, (
        "the CA bundle and the settings are remembered"
    )


def test_dry_run_writes_nothing(mirror_lab: MirrorLab) -> None:
    before = mirror_lab.read_resource_versions()
    dry_run = ("up", "--dry-run", "--image", mirror_lab.image)
    unchanged = mirror_lab.run_json(*dry_run, code=None)
    assert {step["action"] for step in unchanged} == {"nothing"}
    changed = mirror_lab.run_json(*dry_run, "--node-port", "31999", code=None)
    actions = {step["kind"]: step["action"] for step in changed}
    assert actions["Service"] == "change"
    assert mirror_lab.read_resource_versions() == before


def test_commands_work_without_a_route_to_cluster_ips(
    mirror_lab: MirrorLab, tmp_path: Path
) -> None:
    assert mirror_lab.run_mirror("status").returncode == 0
    report = mirror_lab.run_json("status")
    assert report["state"] == "running"
    assert report["version"] == "6.20.3"
    assert report["published"] == ["chronicle"]
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")
    for outcome in ("added", "present"):
        assert mirror_lab.run_json("add", str(wheel))[0]["outcome"] == outcome


def test_down_and_up_keep_url_and_packages(mirror_lab: MirrorLab) -> None:
    url = mirror_lab.run_json("status")["url"]
    secret = mirror_lab.get("secret", "pypi-mirror")
    published = mirror_lab.get("configmap", "pypi-mirror-env", "chronicle")
    assert mirror_lab.run_mirror("down").returncode == 0
    assert "nothing was running" in mirror_lab.run_mirror("down").stdout
    assert mirror_lab.run_json("status", code=None)["state"] == "stopped"
    mirror_lab.lab.kubectl("delete", "service", "-n", NAMESPACE, "pypi-mirror")
    assert mirror_lab.run_json("status", code=None)["state"] == "drifted"
    report = mirror_lab.up()
    assert report["url"] == url
    assert mirror_lab.get("secret", "pypi-mirror")["data"] == secret["data"]
    republished = mirror_lab.get("configmap", "pypi-mirror-env", "chronicle")
    assert republished["data"] == published["data"]
    command = [
        f"/usr/local/bin/uv-{UV_VERSIONS[1]}",
        "pip",
        "install",
        "--no-cache",
        "--target",
        "/tmp/x",
    ]
    pods = [
        build_pod(
            "again", mirror_lab.lab.nodes[0], [*command, "house-lib"], env_map="pypi-mirror-env"
        )
    ]
    ((phase, log),) = mirror_lab.run_pods(pods, seconds=120).values()
    assert phase == "Succeeded", log


def test_up_names_the_service_that_took_its_address(mirror_lab: MirrorLab) -> None:
    address = mirror_lab.get("service", "pypi-mirror")["spec"]["clusterIP"]
    mirror_lab.lab.kubectl("delete", "service", "-n", NAMESPACE, "pypi-mirror")
    create = ["create", "service", "clusterip", "thief", "--tcp=80", f"--clusterip={address}"]
    mirror_lab.lab.kubectl(*create, "-n", "chronicle")
    result = mirror_lab.run_mirror("up", "--image", mirror_lab.image)
    assert result.returncode == 5
    assert "is used by Service chronicle/thief" in result.stderr
    mirror_lab.lab.kubectl("delete", "service", "-n", "chronicle", "thief")
    report = mirror_lab.up()
    assert address in report["url"]


def test_up_restores_the_address_of_a_recreated_service(mirror_lab: MirrorLab) -> None:
    address = mirror_lab.get("service", "pypi-mirror")["spec"]["clusterIP"]
    mirror_lab.lab.kubectl("delete", "service", "-n", NAMESPACE, "pypi-mirror")
    create = ["create", "service", "clusterip", "pypi-mirror", "--tcp=3141"]
    mirror_lab.lab.kubectl(*create, "-n", NAMESPACE)
    assert address in mirror_lab.up()["url"]


def test_node_port_serves_build_machines(mirror_lab: MirrorLab) -> None:
    url = mirror_lab.up("--node-port", "31941")["url"]
    assert url == mirror_lab.up()["url"]
    assert mirror_lab.get("service", "pypi-mirror")["spec"]["type"] == "NodePort"
    page = f"http://{mirror_lab.lab.address('babel')}:31941/workloads/stable/+simple/house-lib/"

    def is_served() -> bool:
        try:
            return "house_lib-1.0" in httpx.get(page, trust_env=False, timeout=10).text
        except httpx.TransportError as error:  # kube-proxy needs a moment
            raise RuntimeError(page) from error

    wait_for("the node's port", is_served, timeout=60)


def test_shows_no_secret(mirror_lab: MirrorLab) -> None:
    secret = mirror_lab.get("secret", "pypi-mirror")["data"]
    canaries = [base64.b64decode(value).decode() for value in secret.values()]
    assert all(len(canary) >= 40 for canary in canaries)
    output = mirror_lab.lab.kubectl("get", "pod", "pypi-mirror-0", "-n", NAMESPACE, "-o", "yaml")
    for container in ("prepare", "devpi", "front"):
        output += mirror_lab.lab.kubectl("logs", "pypi-mirror-0", "-c", container, "-n", NAMESPACE)
    record = mirror_lab.get("configmap", "pypi-mirror-record")
    printed = mirror_lab.run_mirror("manifests", "--image", mirror_lab.image)
    assert printed.returncode == 0, printed.stderr
    for text in (output, json.dumps(record), printed.stdout):
        assert not [canary for canary in canaries if canary in text]
    applied = mirror_lab.lab.kubectl(
        "apply",
        "--dry-run=server",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
        stdin=printed.stdout,
    )
    assert "statefulset.apps/pypi-mirror" in applied


def test_purge_removes_everything(mirror_lab: MirrorLab) -> None:
    result = mirror_lab.run_mirror("down", "--purge", "--yes")
    assert result.returncode == 0, result.stderr
    get_all = ("get", "namespace,configmap,pv", "-A")
    wait_for(  # the volume is deleted after its claim
        "everything to be deleted",
        lambda: "pypi-mirror" not in mirror_lab.lab.kubectl(*get_all),
        timeout=120,
    )
    assert mirror_lab.run_mirror("status").returncode == 1
    assert mirror_lab.run_mirror("down", "--purge", "--yes").returncode == 0


def test_uses_a_foreign_namespace_without_changing_it(mirror_lab: MirrorLab) -> None:
    mirror_lab.lab.kubectl("create", "namespace", "tools")
    before = mirror_lab.get("namespace", "tools")
    assert mirror_lab.up("-n", "tools")["probes"]
    assert mirror_lab.get("namespace", "tools") == before
    assert mirror_lab.run_mirror("down", "--purge", "--yes", "-n", "tools").returncode == 0
    assert mirror_lab.get("namespace", "tools") == before
    get_all = ("get", "all,pvc,secret,networkpolicy", "-n", "tools", "-o", "name")
    wait_for(
        "the namespace to be empty", lambda: mirror_lab.lab.kubectl(*get_all) == "", timeout=120
    )
