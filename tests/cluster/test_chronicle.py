"""Chronicle from its lock to a pod that serves, with a real engine and a real lab."""

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
NAMESPACE = "built"
CONFLIST = "/etc/cni/net.d/10-lab.conflist"
IPV6_OFF = {f"net.ipv6.conf.{one}.disable_ipv6": "1" for one in ("all", "default")}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltChronicle:
    """The application image. layers are its layers as the engine names them."""

    report: dict[str, Any]
    layers: list[str]
    deployment: list[dict[str, Any]]
    node: str


@pytest.fixture(scope="module")
def environment(
    program: RunProgram, ca_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuildEnvironment]:
    root = tmp_path_factory.mktemp("chronicle")
    with docker_engine(root / "engine") as engine:
        engine.load(ensure_base_image())
        engine.load(ensure_workload_archive())
        with build_environment(root / "mirror", program, engine, ca_bundle) as environment:
            yield environment


@pytest.fixture(scope="module")
def installs(
    environment: BuildEnvironment, chronicle_lock: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """Install the lock in a container on the machine's network and return a report per program.

    In a container, because Debian 12 has no Python that Chronicle supports.
    """
    lock = tmp_path_factory.mktemp("lock")
    for path in (chronicle_lock, Path(workload_install.__file__)):
        shutil.copy(path, lock / path.name)
    env = json.loads(environment.mirror_home.run_mirror("env", "--format", "json").stdout)
    env_options = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    log = environment.engine.docker(
        *("run", "--rm", "--network", "host", "--volume", f"{lock}:/lock:ro", *env_options),
        *(WORKLOAD_IMAGE, "python3", "/lock/workload_install.py", *PROGRAMS),
        timeout=1500,
    )
    return [json.loads(line) for line in log.splitlines()]


@pytest.fixture(scope="module")
def project(
    environment: BuildEnvironment,
    installs: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> ChronicleProject:
    """Provide Chronicle's project. The mirror has its packages by then."""
    return make_chronicle(tmp_path_factory.mktemp("project"), environment.index, environment.engine)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide Chronicle's recipe without the Debian packages, which are not to be measured."""
    path = tmp_path_factory.mktemp("recipe") / "chronicle.toml"
    lines = (RECIPES / "chronicle.toml").read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "_packages = " not in line))
    return path


@pytest.fixture(scope="module")
def built(
    environment: BuildEnvironment,
    project: ChronicleProject,
    recipe: Path,
    faulty_lab: Lab,
    tmp_path_factory: pytest.TempPathFactory,
) -> BuiltChronicle:
    """Build, prove and deliver the image to one node with one command."""
    folder, node = tmp_path_factory.mktemp("built"), faulty_lab.nodes[0]
    import_script = folder / "import"
    import_command = " ".join(
        (*faulty_lab.enter_command(node), "ctr", "-n", "k8s.io", "images", "import", "-")
    )
    import_script.write_text(
        f'#!/bin/sh\n[ "$1" = {node} ] || exec cat > /dev/null\nexec {import_command}\n'
    )
    import_script.chmod(0o755)
    deployment = folder / "deployment.yaml"
    report = environment.build_report(
        *("chronicle", "--source", str(project.folder), "--recipe", str(recipe)),
        *(*project.vendor_options, "--tag", "chronicle:test", "--deployment", str(deployment)),
        *("--deliver", "nodes", "--import-command", f"{import_script} {{node}}"),
        KUBECONFIG=str(faulty_lab.kubeconfig),
    )
    return BuiltChronicle(
        report=report,
        layers=list_layers(environment, report["id"]),
        deployment=list(yaml.safe_load_all(deployment.read_text())),
        node=node,
    )


def list_layers(environment: BuildEnvironment, image: str) -> list[str]:
    layers = environment.inspect(image)["RootFS"]["Layers"]
    assert isinstance(layers, list)
    return layers


def test_all_requirements_install_with_uv_and_pip(
    environment: BuildEnvironment, installs: list[dict[str, Any]]
) -> None:
    assert [report["program"] for report in installs] == list(PROGRAMS)
    for report in installs:
        print(f"{report['program']} {report['seconds']} s")
        assert report["code"] == 0, report["output"]
        assert len(report["names"]) >= 146
    status = json.loads(environment.mirror_home.run_mirror("status", "-o", "json").stdout)
    assert status["cached_files"] >= 146


def test_image_is_small_proved_and_built_from_the_mirror(
    environment: BuildEnvironment, built: BuiltChronicle
) -> None:
    report = built.report
    print(f"{report['size'] / 1e6:.0f} MB, {report['seconds']}, load {os.getloadavg()[0]:.1f}")
    assert report["size"] <= 900e6
    assert report["relayed"] > 0
    assert report["elsewhere"] == 0
    assert report["seconds"]["build"] <= scale_by_load(90)
    proof = {check["check"]: check for check in report["proof"]}
    assert not [fault for check in proof.values() for fault in check["faults"]]
    assert "148 locked distributions" in proof["distributions"]["said"]
    assert "('Ada', 'PROPN')" in proof["checks"]["said"]
    assert "backend serves /health" in proof["starts"]["said"]
    assert "workers stopped at redis" in proof["starts"]["said"]
    assert environment.inspect("chronicle:test")["Config"]["Labels"][PROOF_LABEL] == "passed"


def test_a_source_change_replaces_two_small_layers(
    environment: BuildEnvironment, project: ChronicleProject, recipe: Path, built: BuiltChronicle
) -> None:
    """Neither the nodes nor the build repeat anything of the dependencies."""
    with (project.folder / "src/advanced_omi_backend/memory.py").open("a") as module:
        module.write("CHANGED = True\n")
    options = ("chronicle", "--source", str(project.folder), "--recipe", str(recipe), "--no-proof")
    rebuilt = environment.build_report(
        *options, *project.vendor_options, "--tag", "chronicle:changed"
    )
    print(f"{rebuilt['seconds']}, load {os.getloadavg()[0]:.1f}")
    before, after = built.layers, list_layers(environment, rebuilt["id"])
    assert len(after) == len(before)
    assert after[:-2] == before[:-2]
    assert after[-2] != before[-2]
    assert rebuilt["seconds"]["build"] <= scale_by_load(5)
    history = environment.engine.docker(
        "history", "--format", "{{.Size}} {{.CreatedBy}}", rebuilt["id"]
    )
    sizes = [line.split()[0] for line in history.splitlines() if "COPY" in line][:2]
    assert all(size.endswith(("kB", "B")) and "MB" not in size for size in sizes), sizes


@pytest.fixture(scope="module")
def without_ipv6(faulty_lab: Lab, built: BuiltChronicle) -> Iterator[None]:
    """Start pods on the node without IPv6, as the fix pod-sysctl does."""
    before = faulty_lab.exec(built.node, "cat", CONFLIST).stdout
    chain = json.loads(before)
    chain["plugins"].append({"type": "tuning", "sysctl": IPV6_OFF})
    faulty_lab.exec(built.node, "tee", CONFLIST, stdin=json.dumps(chain))
    yield
    faulty_lab.exec(built.node, "tee", CONFLIST, stdin=before)


@pytest.fixture(scope="module")
def backend(faulty_lab: Lab, built: BuiltChronicle, without_ipv6: None) -> Iterator[dict[str, Any]]:
    """Apply the written Deployment and what it needs; provide its pod once it is ready."""
    faulty_lab.kubectl("create", "namespace", NAMESPACE)
    try:
        literals = [f"--from-literal={name}=only-in-the-test" for name in SECRETS]
        faulty_lab.kubectl("create", "secret", "generic", "chronicle", "-n", NAMESPACE, *literals)
        deployment, service = built.deployment[:2]
        deployment["spec"]["template"]["spec"]["nodeName"] = (
            built.node
        )  # the only node with the image
        text = yaml.safe_dump_all([deployment, service])
        faulty_lab.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=text)
        name = deployment["metadata"]["name"]
        options = ("wait", f"deployment/{name}", "--for=condition=Available", "--timeout=100s")
        faulty_lab.kubectl(*options, "-n", NAMESPACE, timeout=110)
        (pod,) = faulty_lab.get_items("pods", "-n", NAMESPACE)
        yield pod
    finally:
        faulty_lab.kubectl("delete", "namespace", NAMESPACE, timeout=120)


def test_pod_serves_without_egress_and_ipv6(
    faulty_lab: Lab, built: BuiltChronicle, backend: dict[str, Any]
) -> None:
    assert faulty_lab.options.cut_egress
    address = backend["status"]["podIP"]
    fetch = ("busybox", "wget", "-q", "-O", "-", f"http://{address}:8000/health")
    assert '"status":"healthy"' in faulty_lab.exec(built.node, *fetch).stdout
    duration = seconds(conditions(backend)["Ready"]) - seconds(
        backend["metadata"]["creationTimestamp"]
    )
    print(f"ready {duration:.0f} s after its creation, load {os.getloadavg()[0]:.1f}")
    assert duration <= scale_by_load(15)
    options = ("exec", "-n", NAMESPACE, backend["metadata"]["name"], "--")
    disable_ipv6 = faulty_lab.kubectl(*options, "cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6")
    assert disable_ipv6.strip() == "1"
    # the node reports the image id for which the proof was written
    assert backend["metadata"]["annotations"][PROOF_ANNOTATION] == built.report["id"]
    assert backend["status"]["containerStatuses"][0]["imageID"] == built.report["id"]


def test_doctor_respects_the_proof(
    faulty_lab: Lab,
    built: BuiltChronicle,
    backend: dict[str, Any],
    program: RunProgram,
    tmp_path: Path,
) -> None:
    """The start command is `uv run`, which would install at each start if there were no proof."""

    def list_causes(*options: str) -> list[str]:
        result = program(
            *("mirror", "doctor", "--category", "downloads", "-o", "json", *options),
            env={"KUBECONFIG": str(faulty_lab.kubeconfig)},
        )
        return [
            item["cause"]
            for item in json.loads(result.stdout)["findings"]
            if NAMESPACE in str(item)
        ]

    evidence_file = tmp_path / "seen.json"
    assert list_causes("--save", str(evidence_file)) == []
    evidence = json.loads(evidence_file.read_text())
    (workload,) = (item for item in evidence["workloads"] if item["namespace"] == NAMESPACE)
    assert (workload["proof"], workload["disproved"]) == (built.report["id"], False)
    workload["disproved"] = True
    evidence_file.write_text(json.dumps(evidence))
    (cause,) = list_causes("--from", str(evidence_file))
    assert "installs packages each time it starts" in cause


def conditions(pod: dict[str, Any]) -> dict[str, str]:
    return {
        condition["type"]: condition["lastTransitionTime"]
        for condition in pod["status"]["conditions"]
    }


def seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
