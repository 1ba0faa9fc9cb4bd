"""Chronicle's dependency set from the index to a pod that serves: a real engine, a real lab."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.manifests.application import PROOF_ANNOTATION
from images.recipes import RECIPES
from images.report import PROOF_LABEL
from tests.cluster import workload_install
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image
from tests.cluster.lab import Lab
from tests.cluster.waiting import scale_by_load
from tests.cluster.workloads import UV_VERSIONS, WORKLOAD_IMAGE, ensure_workload_archive
from tests.conftest import RunProgram
from tests.images.chronicle_project import ChronicleProject, make_chronicle
from tests.images.projects import BuildEnvironment, build_environment

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.engine,
    pytest.mark.index,
    pytest.mark.timeout(1800),
]

PROGRAMS = (f"uv-{UV_VERSIONS[1]}", "pip")
SECRETS = ("AUTH_SECRET_KEY", "ADMIN_PASSWORD", "ADMIN_EMAIL")
NAMESPACE = "baked"
CONFLIST = "/etc/cni/net.d/10-lab.conflist"
IPV6_OFF = {f"net.ipv6.conf.{one}.disable_ipv6": "1" for one in ("all", "default")}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltChronicle:
    """``layers``: of the image, as the engine names them."""

    report: dict[str, Any]
    layers: list[str]
    deployment: list[dict[str, Any]]
    node: str


@pytest.fixture(scope="module")
def shop(
    program: RunProgram, ca_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuildEnvironment]:
    root = tmp_path_factory.mktemp("chronicle")
    with docker_engine(root / "engine") as own:
        own.load(ensure_base_image())
        own.load(ensure_workload_archive())
        with build_environment(root / "mirror", program, own, ca_bundle) as opened:
            yield opened


@pytest.fixture(scope="module")
def installs(
    shop: BuildEnvironment, chronicle_lock: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """In a container on the machine's network: Debian 12 has no Python that Chronicle takes."""
    lock = tmp_path_factory.mktemp("lock")
    for path in (chronicle_lock, Path(workload_install.__file__)):
        shutil.copy(path, lock / path.name)
    env = json.loads(shop.place.run_mirror("env", "--format", "json").stdout)
    words = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    log = shop.engine.docker(
        *("run", "--rm", "--network", "host", "--volume", f"{lock}:/lock:ro", *words),
        *(WORKLOAD_IMAGE, "python3", "/lock/workload_install.py", *PROGRAMS),
        timeout=1500,
    )
    return [json.loads(line) for line in log.splitlines()]


@pytest.fixture(scope="module")
def project(
    shop: BuildEnvironment, installs: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> ChronicleProject:
    """The mirror is warm by then."""
    return make_chronicle(tmp_path_factory.mktemp("project"), shop.index, shop.engine)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chronicle's own, but for the distribution's packages: what is measured is without them."""
    path = tmp_path_factory.mktemp("recipe") / "chronicle.toml"
    lines = (RECIPES / "chronicle.toml").read_text().splitlines(keepends=True)
    path.write_text("".join(one for one in lines if "_packages = " not in one))
    return path


@pytest.fixture(scope="module")
def baked(
    shop: BuildEnvironment,
    project: ChronicleProject,
    recipe: Path,
    faulty_lab: Lab,
    tmp_path_factory: pytest.TempPathFactory,
) -> BuiltChronicle:
    """One command: built, proved, brought to a node; one is enough for one pod."""
    folder, node = tmp_path_factory.mktemp("baked"), faulty_lab.nodes[0]
    put = folder / "import"
    into = " ".join(
        (*faulty_lab.enter_command(node), "ctr", "-n", "k8s.io", "images", "import", "-")
    )
    put.write_text(f'#!/bin/sh\n[ "$1" = {node} ] || exec cat > /dev/null\nexec {into}\n')
    put.chmod(0o755)
    deployment = folder / "deployment.yaml"
    report = shop.build_report(
        *("chronicle", "--source", str(project.folder), "--recipe", str(recipe)),
        *(*project.vendor_options, "--tag", "chronicle:test", "--deployment", str(deployment)),
        *("--deliver", "nodes", "--import-command", f"{put} {{node}}"),
        KUBECONFIG=str(faulty_lab.kubeconfig),
    )
    return BuiltChronicle(
        report=report,
        layers=list_layers(shop, report["id"]),
        deployment=list(yaml.safe_load_all(deployment.read_text())),
        node=node,
    )


def list_layers(shop: BuildEnvironment, image: str) -> list[str]:
    found = shop.inspect(image)["RootFS"]["Layers"]
    assert isinstance(found, list)
    return found


def test_all_of_chronicles_requirements_install_with_uv_and_with_pip(
    shop: BuildEnvironment, installs: list[dict[str, Any]]
) -> None:
    assert [report["program"] for report in installs] == list(PROGRAMS)
    for report in installs:
        print(f"{report['program']} {report['seconds']} s")
        assert report["code"] == 0, report["said"]
        assert len(report["names"]) >= 146
    told = json.loads(shop.place.run_mirror("status", "-o", "json").stdout)
    assert told["cached_files"] >= 146


def test_the_image_is_small_proved_and_from_the_mirror_alone(
    shop: BuildEnvironment, baked: BuiltChronicle
) -> None:
    report = baked.report
    print(f"{report['size'] / 1e6:.0f} MB, {report['seconds']}, load {os.getloadavg()[0]:.1f}")
    assert report["size"] <= 900e6
    assert report["relayed"] > 0
    assert report["elsewhere"] == 0
    assert report["seconds"]["build"] <= scale_by_load(90)
    proof = {one["check"]: one for one in report["proof"]}
    assert not [fault for one in proof.values() for fault in one["faults"]]
    assert "148 locked distributions" in proof["distributions"]["said"]
    assert "('Ada', 'PROPN')" in proof["checks"]["said"]
    assert "backend serves /health" in proof["starts"]["said"]
    assert "workers waits for redis" in proof["starts"]["said"]
    assert shop.inspect("chronicle:test")["Config"]["Labels"][PROOF_LABEL] == "passed"


def test_a_changed_source_is_two_small_layers_more(
    shop: BuildEnvironment, project: ChronicleProject, recipe: Path, baked: BuiltChronicle
) -> None:
    """What a node has to pull, and what is built anew: nothing of the dependencies."""
    with (project.folder / "src/advanced_omi_backend/memory.py").open("a") as module:
        module.write("CHANGED = True\n")
    words = ("chronicle", "--source", str(project.folder), "--recipe", str(recipe), "--no-proof")
    again = shop.build_report(*words, *project.vendor_options, "--tag", "chronicle:changed")
    print(f"{again['seconds']}, load {os.getloadavg()[0]:.1f}")
    before, now = baked.layers, list_layers(shop, again["id"])
    assert len(now) == len(before)
    assert now[:-2] == before[:-2]
    assert now[-2] != before[-2]
    assert again["seconds"]["build"] <= scale_by_load(5)
    history = shop.engine.docker("history", "--format", "{{.Size}} {{.CreatedBy}}", again["id"])
    small = [line.split()[0] for line in history.splitlines() if "COPY" in line][:2]
    assert all(size.endswith(("kB", "B")) and "MB" not in size for size in small), small


@pytest.fixture(scope="module")
def without_ipv6(faulty_lab: Lab, baked: BuiltChronicle) -> Iterator[None]:
    """Pods that start on the node have no IPv6, as the fix pod-sysctl leaves them."""
    before = faulty_lab.exec(baked.node, "cat", CONFLIST).stdout
    chain = json.loads(before)
    chain["plugins"].append({"type": "tuning", "sysctl": IPV6_OFF})
    faulty_lab.exec(baked.node, "tee", CONFLIST, stdin=json.dumps(chain))
    yield
    faulty_lab.exec(baked.node, "tee", CONFLIST, stdin=before)


@pytest.fixture(scope="module")
def backend(faulty_lab: Lab, baked: BuiltChronicle, without_ipv6: None) -> Iterator[dict[str, Any]]:
    """The Deployment as it was written, and what it asks for; its pod, once it is ready."""
    faulty_lab.kubectl("create", "namespace", NAMESPACE)
    try:
        given = [f"--from-literal={name}=only-in-the-test" for name in SECRETS]
        faulty_lab.kubectl("create", "secret", "generic", "chronicle", "-n", NAMESPACE, *given)
        deployment, service = baked.deployment[:2]
        deployment["spec"]["template"]["spec"]["nodeName"] = baked.node  # where the image is
        text = yaml.safe_dump_all([deployment, service])
        faulty_lab.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=text)
        name = deployment["metadata"]["name"]
        words = ("wait", f"deployment/{name}", "--for=condition=Available", "--timeout=100s")
        faulty_lab.kubectl(*words, "-n", NAMESPACE, timeout=110)
        (pod,) = json.loads(faulty_lab.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))[
            "items"
        ]
        yield pod
    finally:
        faulty_lab.kubectl("delete", "namespace", NAMESPACE, timeout=120)


def test_a_pod_serves_with_egress_cut_and_ipv6_off(
    faulty_lab: Lab, baked: BuiltChronicle, backend: dict[str, Any]
) -> None:
    assert faulty_lab.options.cut_egress
    address = backend["status"]["podIP"]
    ask = ("busybox", "wget", "-q", "-O", "-", f"http://{address}:8000/health")
    assert '"status":"healthy"' in faulty_lab.exec(baked.node, *ask).stdout
    took = seconds(conditions(backend)["Ready"]) - seconds(backend["metadata"]["creationTimestamp"])
    print(f"ready {took:.0f} s after its creation, load {os.getloadavg()[0]:.1f}")
    assert took <= scale_by_load(15)
    words = ("exec", "-n", NAMESPACE, backend["metadata"]["name"], "--")
    off = faulty_lab.kubectl(*words, "cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6")
    assert off.strip() == "1"
    # the node calls the image by what the proof was written for
    assert backend["metadata"]["annotations"][PROOF_ANNOTATION] == baked.report["id"]
    assert backend["status"]["containerStatuses"][0]["imageID"] == baked.report["id"]


def test_doctor_knows_the_proof(
    faulty_lab: Lab,
    baked: BuiltChronicle,
    backend: dict[str, Any],
    program: RunProgram,
    tmp_path: Path,
) -> None:
    """The start command says `uv run`: but for the proof that is an install at each start."""

    def found(*words: str) -> list[str]:
        done = program(
            *("mirror", "doctor", "--category", "downloads", "-o", "json", *words),
            env={"KUBECONFIG": str(faulty_lab.kubeconfig)},
        )
        return [
            one["cause"] for one in json.loads(done.stdout)["findings"] if NAMESPACE in str(one)
        ]

    saved = tmp_path / "seen.json"
    assert found("--save", str(saved)) == []
    told = json.loads(saved.read_text())
    (workload,) = (one for one in told["workloads"] if one["namespace"] == NAMESPACE)
    assert (workload["proof"], workload["disproved"]) == (baked.report["id"], False)
    workload["disproved"] = True
    saved.write_text(json.dumps(told))
    (cause,) = found("--from", str(saved))
    assert "installs packages each time it starts" in cause


def conditions(pod: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["lastTransitionTime"] for one in pod["status"]["conditions"]}


def seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
