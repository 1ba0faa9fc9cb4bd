"""doctor in real clusters: as in the field, and healthy. The probe pods run the real image."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from cli.mirror import mirror
from tests import REPOSITORY
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.lab import Lab, running_lab
from tests.cluster.options import SEARCH_DOMAIN, LabOptions
from tests.cluster.waiting import scale_by_load, wait_for
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.index]

MAX_SECONDS = 10.0
MUSL_ERROR = "failed to lookup address information: Name has no usable address"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRun:
    """What doctor printed as JSON, its exit code and how long it took (seconds)."""

    code: int
    report: dict[str, Any]
    seconds: float

    def finding(self, check: str) -> dict[str, Any]:
        (found,) = [one for one in self.report["findings"] if one["check"] == check]
        return dict(found)

    def outcome(self, check: str) -> str:
        (found,) = [one for one in self.report["results"] if one["check"] == check]
        return str(found["outcome"])


def run_doctor(where: Lab, *options: str) -> DoctorRun:
    argv = ["doctor", "--kubeconfig", str(where.kubeconfig), "-o", "json", *options]
    begun = time.monotonic()
    done = CliRunner().invoke(mirror, argv)
    seconds = time.monotonic() - begun
    assert done.exit_code in {0, 1}, done.exception
    return DoctorRun(code=done.exit_code, report=json.loads(done.stdout), seconds=seconds)


@pytest.fixture(scope="module")
def image() -> str:
    """The mirror's, which is on the nodes; its name as Docker gives it."""
    return archive_reference(ensure_mirror_archive()).removeprefix("docker.io/library/")


@pytest.fixture(scope="module")
def healthy(image: str) -> Iterator[tuple[Lab, str]]:
    """A cluster without troubles, and the image on its node."""
    archives = (str(ensure_mirror_archive()),)
    options = LabOptions(name=f"well-{os.getpid()}", nodes=("anubis",), archives=archives)
    try:
        running = running_lab(options)
        with running as well:
            yield well, image
    except START_ERRORS as error:
        skip_or_fail(error)


def list_doctor_namespaces(where: Lab) -> list[str]:
    """Namespaces of doctors that are not being deleted."""
    every = json.loads(where.kubectl("get", "namespaces", "-o", "json"))["items"]
    names = [one["metadata"]["name"] for one in every if one["status"]["phase"] == "Active"]
    return [name for name in names if name.startswith("pypi-mirror-doctor-")]


def test_in_the_field_the_poisoned_domain_is_the_cause(faulty_lab: Lab, image: str) -> None:
    told = run_doctor(faulty_lab, "--image", image, "--name", "index.example")
    assert told.code == 1
    found = told.finding("dns.search-domains")
    assert found["severity"] == "error"
    assert SEARCH_DOMAIN in found["cause"]
    assert MUSL_ERROR in found["cause"]
    assert sorted(found["nodes"]) == sorted(faulty_lab.nodes)
    heard = "\n".join(found["evidence"])
    assert f"(musl): {MUSL_ERROR}" in heard, "the real uv says the sentence of the field"
    assert "glibc 2" in heard
    assert [mend["reach"] for mend in found["mends"]] == [
        *("workload", "namespace", "cluster", "nodes")
    ]
    rows = {row[0]: row[2:] for row in found["table"]["rows"]}
    assert rows[f"index.example.{SEARCH_DOMAIN}"] == ["stops", "goes on"]
    assert rows["index.example"] == ["not asked", "finds"]
    assert told.outcome("dns.answers") == "ok"
    assert told.outcome("dns.ipv6-answers") == "found"
    assert list_doctor_namespaces(faulty_lab) == []
    assert told.seconds <= scale_by_load(MAX_SECONDS)


def test_the_least_invasive_mend_works(faulty_lab: Lab, image: str) -> None:
    """The command that doctor prints, on a workload that fails without it."""
    faulty_lab.kubectl("create", "namespace", "mended")
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "asks", "namespace": "mended"},
        "spec": {
            "selector": {"matchLabels": {"app": "asks"}},
            "template": {
                "metadata": {"labels": {"app": "asks"}},
                "spec": {
                    "containers": [{"name": "main", "image": image, "command": ["sleep", "3600"]}],
                    "terminationGracePeriodSeconds": 0,
                },
            },
        },
    }
    try:
        faulty_lab.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
        assert MUSL_ERROR in _uv(faulty_lab)
        found = run_doctor(faulty_lab, "--image", image, "--name", "index.example").finding(
            "dns.search-domains"
        )
        command = found["mends"][0]["command"]
        assert command == "mirror attach deployment/NAME -n NAMESPACE --ndots --no-index"
        words = command.replace("NAMESPACE", "mended").replace("NAME", "asks").split()[1:]
        access = ("--kubeconfig", str(faulty_lab.kubeconfig))
        done = CliRunner().invoke(mirror, [*words, *access, "--yes"])
        assert done.exit_code == 0, done.output
        mended = _uv(faulty_lab)
        assert "lookup" not in mended
        assert "os error 101" in mended, "the next trouble of the field: AAAA without a route"
        undone = CliRunner().invoke(
            mirror, ["detach", "deployment/asks", "-n", "mended", *access, "--yes"]
        )
        assert undone.exit_code == 0, undone.output
    finally:
        faulty_lab.kubectl("delete", "namespace", "mended", "--wait=false", check=False)


def _uv(where: Lab) -> str:
    """What uv says in the deployment's pod."""
    where.kubectl("-n", "mended", "rollout", "status", "deployment/asks", "--timeout=60s")
    argv = ("/opt/probe/uv", "pip", "install", "--dry-run", "--no-cache", "--target", "/tmp/x")
    index = ("--python", "/opt/mirror/bin/python3", "--index-url", "https://index.example/simple")
    pod = ("-n", "mended", "exec", "deployment/asks", "--", "env", "UV_HTTP_RETRIES=0")
    return where.kubectl(*pod, *argv, *index, "anything", check=False)


def test_without_an_image_it_says_what_it_left_out(faulty_lab: Lab) -> None:
    told = run_doctor(faulty_lab, "--name", "index.example", "--namespace", "no-mirror-here")
    assert told.outcome("dns.service") == "ok"
    assert told.outcome("dns.search-domains") == "skipped"
    gaps = {gap for one in told.report["results"] for gap in one["gaps"]}
    assert gaps == {"no probe image: give --image REF, or bring the mirror up once (mirror up)"}


def test_a_node_without_the_image_is_named(faulty_lab: Lab) -> None:
    node = faulty_lab.nodes[0]
    missing = ("--image", "lab/nowhere:1", "--name", "index.example", "--node", node)
    told = run_doctor(faulty_lab, *missing)
    assert told.outcome("dns.search-domains") == "skipped"
    (gap,) = {gap for one in told.report["results"] for gap in one["gaps"]}
    assert gap.startswith(f"{node}: ")
    assert "lab/nowhere:1" in gap
    assert list_doctor_namespaces(faulty_lab) == []


def test_beside_a_mirror_its_namespace_and_image_are_used(faulty_lab: Lab, image: str) -> None:
    home = "doctor-home"
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "pypi-mirror", "namespace": home},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "stand-in"}},
            "template": {
                "metadata": {"labels": {"app": "stand-in"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    }
    faulty_lab.kubectl("create", "namespace", home)
    try:
        faulty_lab.kubectl("apply", "-f", "-", stdin=json.dumps(stateful_set))
        told = run_doctor(faulty_lab, "--name", "index.example", "--namespace", home)
        tried = told.finding("dns.search-domains")["table"]["rows"][0][0]
        assert tried == f"index.example.{home}.svc.cluster.local"
        assert faulty_lab.kubectl("-n", home, "get", "pods", "-o", "name") == ""
    finally:
        faulty_lab.kubectl("delete", "namespace", home, "--wait=false", check=False)


def test_ctrl_c_leaves_nothing(faulty_lab: Lab, image: str) -> None:
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "from cli.mirror import main; main()"
    argv = [sys.executable, "-c", script, "doctor", "--kubeconfig", str(faulty_lab.kubeconfig)]
    argv += ["--image", image, "--name", "index.example"]
    with subprocess.Popen(argv, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as running:
        wait_for("its pods", lambda: list_doctor_namespaces(faulty_lab), timeout=60, interval=0.1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert list_doctor_namespaces(faulty_lab) == []


def test_a_healthy_cluster_has_nothing_that_makes_pods_fail(healthy: tuple[Lab, str]) -> None:
    well, image = healthy
    port = well.kubeconfig.read_text().partition("server: https://")[2].split()[0].split(":")[1]
    told = run_doctor(well, "--image", image, "--name", f"index.example:{port}")
    assert told.code == 0
    assert told.report["findings"] == []
    assert {one["outcome"] for one in told.report["results"]} == {"ok"}
