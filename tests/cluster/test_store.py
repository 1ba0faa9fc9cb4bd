"""Cached files in a real cluster: warmed by a Job, verified by a pod, intact after kill -9."""

from __future__ import annotations

import itertools
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from mirror.core.wait import Deadline, wait_until
from tests.cluster.mirror_lab import NAMESPACE, MirrorLab
from tests.cluster.objects import has_condition
from tests.wheels import make_wheel

pytestmark = [pytest.mark.cluster, pytest.mark.index]

PACKAGES = ("iniconfig==2.0.0", "idna==3.10", "six==1.17.0")
KILLS = int(os.environ.get("MIRROR_KILLS", "2"))
PORT = 31942
READY_SECONDS = 60.0


@pytest.fixture(scope="module")
def mirror(mirror_lab: MirrorLab) -> Iterator[MirrorLab]:
    mirror_lab.up()
    yield mirror_lab
    assert mirror_lab.run_mirror("down", "--purge", "--yes").returncode == 0


def run_on_mirror_node(mirror: MirrorLab, *argv: str) -> str:
    """Run a program on the mirror's node, in the node's PID namespace."""
    node = mirror.get("pod", "pypi-mirror-0")["spec"]["nodeName"]
    return str(mirror.lab.exec(node, *argv).stdout)


def find_volume_folder(mirror: MirrorLab) -> str:
    """Return the folder of the mirror's volume on its node."""
    name = mirror.get("persistentvolumeclaim", "pypi-mirror-data")["spec"]["volumeName"]
    spec = mirror.lab.get("pv", name)["spec"]
    return str((spec.get("hostPath") or spec.get("local"))["path"])


def test_warm_job_fetches_everything(mirror: MirrorLab) -> None:
    started = mirror.run_mirror("warm", *PACKAGES, "--python", "3.13", "--detach")
    assert started.returncode == 0, started.stderr
    report = mirror.run_json("warm", "--follow")
    assert report["misses"] == [], report
    assert report["files"] == len(PACKAGES)
    jobs = mirror.lab.get_items("jobs", "-n", NAMESPACE)
    (job,) = [job for job in jobs if job["metadata"]["name"].startswith("pypi-mirror-warm-")]
    config_map = mirror.get("configmap", job["metadata"]["name"])
    assert config_map["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    again = mirror.run_json("warm", *PACKAGES, "--python", "3.13")
    assert again["files"] == len(PACKAGES), again


def test_status_reports_cached_files_and_the_volume(mirror: MirrorLab) -> None:
    status = mirror.run_json("status")
    assert status["figures"]["files"] >= len(PACKAGES)
    assert status["figures"]["upstream_away"] == ""
    assert status["holder"] == status["node"], "the lab's volumes are a node's own"
    assert status["trouble"] == []
    assert 0 <= status["hit_rate"] <= 1


def test_network_policy_excludes_cluster_addresses(mirror: MirrorLab) -> None:
    """Compare the policy with the cluster's own objects: nothing in the lab enforces it."""
    spec = mirror.get("networkpolicy", "pypi-mirror")["spec"]
    (outside,) = [peer["ipBlock"] for rule in spec["egress"] for peer in rule.get("to", [])]
    excluded = [ip_network(cidr) for cidr in outside["except"]]
    pods = mirror.lab.get_items("pods", "-A")
    services = mirror.lab.get_items("services", "-A")
    addresses = ["169.254.169.254"]
    addresses += [obj["status"]["podIP"] for obj in pods if obj["status"].get("podIP")]
    addresses += [obj["status"]["hostIP"] for obj in pods if obj["status"].get("hostIP")]
    addresses += [
        obj["spec"]["clusterIP"] for obj in services if obj["spec"]["clusterIP"] != "None"
    ]
    assert len(set(addresses)) > 6
    assert not [
        address
        for address in addresses
        if ":" not in address and not any(ip_address(address) in cidr for cidr in excluded)
    ]
    assert outside["cidr"] == "0.0.0.0/0", "no IPv6 at all"


def test_verify_finds_and_repairs_damaged_files(mirror: MirrorLab) -> None:
    sound = mirror.run_json("verify")
    assert sound["flaws"] == [], sound
    assert sound["files"] >= len(PACKAGES)
    public = f"{find_volume_folder(mirror)}/public"
    folders = (f"{public}/files", f"{public}/packages")
    files = run_on_mirror_node(mirror, "find", *folders, "-name", "*.whl").split()
    run_on_mirror_node(mirror, "truncate", "-s", "0", files[0])
    run_on_mirror_node(mirror, "rm", files[1])
    report = mirror.run_json("verify", code=1)
    assert sorted(flaw["state"] for flaw in report["flaws"]) == ["empty", "missing"]
    repaired = mirror.run_json("verify", "--repair")
    assert {flaw["outcome"] for flaw in repaired["flaws"]} == {"fetched again", "removed"}
    assert mirror.run_json("verify")["flaws"] == []


def test_recovers_from_kill_9(mirror: MirrorLab, tmp_path: Path, chronicle_lock: Path) -> None:
    """Kill all processes of the pod (SIGKILL) during downloads and uploads.

    With MIRROR_KILLS set, the lab's kubelets restart containers after at most 1 s. Otherwise the
    second kill costs 10 s of back-off, and more kills would cost minutes.
    """
    mirror.up("--node-port", str(PORT))
    durations, dice = [], random.Random(KILLS)
    with keep_busy(mirror, tmp_path, chronicle_lock) as (fetched, uploaded):
        for _ in range(KILLS):
            before = _count_restarts(mirror)

            def has_recovered(before: int = before) -> bool:
                return _count_restarts(mirror) > before and _is_ready(mirror)

            time.sleep(dice.uniform(0, 2))  # at any point of the traffic
            run_on_mirror_node(
                mirror, "pkill", "-9", "-f", "mirror[.]private|mirror[.]cache|nginx: master"
            )
            killed = time.monotonic()
            wait_until(
                has_recovered,
                deadline=Deadline.after(240),
                what="the pod is Ready again",
                why=lambda: mirror.run_mirror("status").stdout,
            )
            durations.append(time.monotonic() - killed)
    assert mirror.run_json("verify")["flaws"] == []
    page = httpx.get(project_url(mirror, "kept-lib"), trust_env=False, timeout=20).text
    assert not [version for version in uploaded if f"kept_lib-{version}-" not in page]
    assert fetched
    durations.sort()
    print(
        f"{KILLS} kills, {len(fetched)} files fetched and {len(uploaded)} uploads acknowledged: "
        f"Ready again after {durations[len(durations) // 2]:.0f} s (median), "
        f"{durations[-1]:.0f} s at most"
    )
    assert durations[-1] <= READY_SECONDS


@contextmanager
def keep_busy(mirror: MirrorLab, folder: Path, lock: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Fetch uncached files and upload versions of a project until the block ends.

    Yields the URLs that were fetched and the versions that were uploaded.
    """
    stop = threading.Event()
    fetched, uploaded = list[str](), list[str]()
    names = re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(), re.MULTILINE)

    def fetch() -> None:
        with httpx.Client(trust_env=False, timeout=20) as client:
            for name in itertools.cycle(names):
                if stop.is_set():
                    return
                base = project_url(mirror, name.lower().replace(".", "-"))
                with suppress(httpx.HTTPError):
                    links = re.findall(r'href="([^"#]+)', client.get(base).text)
                    for url in (urljoin(base, link) for link in links[-2:]):
                        if client.get(url).status_code == 200:
                            fetched.append(url)

    def upload() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            wheel = make_wheel(folder, "kept-lib", f"1.{number}", f"x = {number}\n")
            if mirror.run_mirror("add", str(wheel)).returncode == 0:
                uploaded.append(f"1.{number}")

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(work) for work in (fetch, upload)]
        try:
            yield fetched, uploaded
        finally:
            stop.set()
        for task in tasks:
            task.result()


def project_url(mirror: MirrorLab, project: str) -> str:
    address = mirror.lab.address(mirror.lab.nodes[0])
    return f"http://{address}:{PORT}/workloads/stable/+simple/{project}/"


def _is_ready(mirror: MirrorLab) -> bool:
    return has_condition(mirror.get("pod", "pypi-mirror-0"), "Ready")


def _count_restarts(mirror: MirrorLab) -> int:
    """Return the lowest restart count of the pod's containers; 0 before they have started."""
    return min(mirror.count_restarts(), default=0)
