"""`mirror doctor` in a lab with all network faults and in a healthy one, with the real image."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import REPOSITORY
from tests.cluster.diagnosis import diagnose, temporary_namespace
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.lab import Lab, running_lab
from tests.cluster.objects import build_deployment
from tests.cluster.options import SEARCH_DOMAIN, LabOptions
from tests.cluster.waiting import scale_by_load, wait_for
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.index]

MAX_SECONDS = 10.0
NAMESPACE = "attached"
MUSL_ERROR = "failed to lookup address information: Name has no usable address"


@pytest.fixture(scope="module")
def image() -> str:
    """Provide the Docker name of the mirror's image, which is on the nodes."""
    return archive_reference(ensure_mirror_archive()).removeprefix("docker.io/library/")


@pytest.fixture(scope="module")
def healthy_lab() -> Iterator[Lab]:
    """Provide a lab without faults whose node has the mirror's image."""
    archives = (str(ensure_mirror_archive()),)
    options = LabOptions(name=f"well-{os.getpid()}", nodes=("anubis",), archives=archives)
    try:
        with running_lab(options) as lab:
            yield lab
    except START_ERRORS as error:
        skip_or_fail(error)


def list_doctor_namespaces(lab: Lab) -> list[str]:
    """Return doctor's namespaces that are not being deleted."""
    namespaces = lab.get_items("namespaces")
    active = [ns["metadata"]["name"] for ns in namespaces if ns["status"]["phase"] == "Active"]
    return [name for name in active if name.startswith("pypi-mirror-doctor-")]


def test_names_the_poisoned_search_domain(faulty_lab: Lab, program: RunProgram, image: str) -> None:
    diagnosis = diagnose(program, faulty_lab.kubeconfig, "--image", image)
    assert diagnosis.code == 1
    finding = diagnosis.get_finding("dns.search-domains")
    assert finding["severity"] == "error"
    assert SEARCH_DOMAIN in finding["cause"]
    assert MUSL_ERROR in finding["cause"]
    assert sorted(finding["nodes"]) == sorted(faulty_lab.nodes)
    evidence = "\n".join(finding["evidence"])
    assert f"(musl): {MUSL_ERROR}" in evidence, "the real uv prints the reported message"
    assert "glibc 2" in evidence
    remedies = {remedy["reach"]: remedy["insufficient"] for remedy in finding["mends"]}
    # the name resolves with the others, but no address that it has can be reached
    assert remedies == {"namespace": False, "workload": True, "cluster": True, "nodes": True}
    rows = {row[0]: row[2:] for row in finding["table"]["rows"]}
    assert rows[f"index.example.{SEARCH_DOMAIN}"] == ["stops", "goes on"]
    assert rows["index.example"] == ["not asked", "finds"]
    assert diagnosis.get_outcome("dns.answers") == "ok"
    assert diagnosis.get_outcome("dns.ipv6-answers") == "found"
    assert list_doctor_namespaces(faulty_lab) == []
    assert diagnosis.seconds <= scale_by_load(MAX_SECONDS)


def test_the_smallest_fix_works(faulty_lab: Lab, program: RunProgram, image: str) -> None:
    """Run the command that doctor prints, for a workload that fails without it."""
    deployment = build_deployment("asks", NAMESPACE, image, ["sleep", "3600"])
    env = {"KUBECONFIG": str(faulty_lab.kubeconfig)}
    with temporary_namespace(faulty_lab, NAMESPACE, deployment):
        assert MUSL_ERROR in _run_uv(faulty_lab)
        diagnosis = diagnose(program, faulty_lab.kubeconfig, "--image", image)
        remedies = diagnosis.get_finding("dns.search-domains")["mends"]
        (command,) = [each["command"] for each in remedies if each["reach"] == "workload"]
        assert command == "mirror attach deployment/NAME -n NAMESPACE --ndots --no-index"
        argv = command.replace("NAMESPACE", NAMESPACE).replace("NAME", "asks").split()
        attached = program(*argv, "--yes", env=env)
        assert attached.returncode == 0, attached.stderr
        output = _run_uv(faulty_lab)
        assert "lookup" not in output
        assert "os error 101" in output, "the next fault: an AAAA answer without a route"
        detach = ("mirror", "detach", "deployment/asks", "-n", NAMESPACE, "--yes")
        detached = program(*detach, env=env)
        assert detached.returncode == 0, detached.stderr


def _run_uv(lab: Lab) -> str:
    """Run uv in the deployment's pod and return its output."""
    lab.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/asks", "--timeout=60s")
    argv = ("/opt/probe/uv", "pip", "install", "--dry-run", "--no-cache", "--target", "/tmp/x")
    index = ("--python", "/opt/mirror/bin/python3", "--index-url", "https://index.example/simple")
    pod = ("-n", NAMESPACE, "exec", "deployment/asks", "--", "env", "UV_HTTP_RETRIES=0")
    return lab.kubectl(*pod, *argv, *index, "anything", check=False)


def test_names_what_it_skips_without_an_image(faulty_lab: Lab, program: RunProgram) -> None:
    options = ("--namespace", "no-mirror-here")
    diagnosis = diagnose(program, faulty_lab.kubeconfig, *options)
    assert diagnosis.get_outcome("dns.service") == "ok"
    assert diagnosis.get_outcome("dns.search-domains") == "skipped"
    gaps = {gap for result in diagnosis.report["results"] for gap in result["gaps"]}
    assert gaps == {"no probe image: pass --image REF, or start the mirror (mirror up)"}


def test_names_a_node_without_the_image(faulty_lab: Lab, program: RunProgram) -> None:
    node = faulty_lab.nodes[0]
    options = ("--image", "lab/nowhere:1", "--node", node)
    diagnosis = diagnose(program, faulty_lab.kubeconfig, *options)
    assert diagnosis.get_outcome("dns.search-domains") == "skipped"
    (gap,) = {gap for result in diagnosis.report["results"] for gap in result["gaps"]}
    assert gap.startswith(f"{node}: ")
    assert "lab/nowhere:1" in gap
    assert list_doctor_namespaces(faulty_lab) == []


def test_uses_namespace_and_image_of_a_mirror(
    faulty_lab: Lab, program: RunProgram, image: str
) -> None:
    namespace = "doctor-home"
    labels = {"app": "stand-in"}
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "pypi-mirror", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    }
    with temporary_namespace(faulty_lab, namespace, stateful_set):
        diagnosis = diagnose(program, faulty_lab.kubeconfig, "--namespace", namespace)
        first_row = diagnosis.get_finding("dns.search-domains")["table"]["rows"][0]
        assert first_row[0] == f"index.example.{namespace}.svc.cluster.local"
        assert faulty_lab.kubectl("-n", namespace, "get", "pods", "-o", "name") == ""


def test_ctrl_c_leaves_nothing(faulty_lab: Lab, image: str) -> None:
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "from cli.mirror import main; main()"
    argv = [sys.executable, "-c", script, "doctor", "--kubeconfig", str(faulty_lab.kubeconfig)]
    argv += ["--image", image, "--name", "index.example"]
    with subprocess.Popen(argv, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        wait_for(
            "doctor's namespace",
            lambda: list_doctor_namespaces(faulty_lab),
            timeout=60,
            interval=0.1,
        )
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert list_doctor_namespaces(faulty_lab) == []


def test_finds_nothing_in_a_healthy_cluster(
    healthy_lab: Lab, program: RunProgram, image: str
) -> None:
    server = healthy_lab.kubeconfig.read_text().partition("server: https://")[2].split()[0]
    name = ("--name", f"index.example:{server.split(':')[1]}")
    diagnosis = diagnose(program, healthy_lab.kubeconfig, "--image", image, name=name)
    assert diagnosis.code == 0
    assert diagnosis.report["findings"] == []
    assert {result["outcome"] for result in diagnosis.report["results"]} == {"ok"}
