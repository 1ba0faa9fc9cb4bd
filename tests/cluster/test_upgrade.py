"""What version 0.1.0 left in a cluster: this version sees it, keeps it and rolls it back.

The tests build on each other, in their order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.manifests.agent import RECONCILER_NAME
from tests.cluster import coredns, reconciler_checks
from tests.cluster.fix_lab import FixLab
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.lab import running_lab
from tests.cluster.mirror_lab import wait_until_image_reported
from tests.cluster.options import DEFAULT_NODES, LabOptions
from tests.cluster.previous_version import PreviousVersion, ensure_previous_version
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive
from tests.wheels import make_wheel

pytestmark = pytest.mark.cluster

FIXES = {"dns", "search-domains", "pod-sysctl", "ippool", "host-sysctl"}
PROBE = ("--name", "index.example", "--yes")


@pytest.fixture(scope="module")
def previous() -> PreviousVersion:
    return ensure_previous_version()


@pytest.fixture(scope="module")
def upgrade_lab(program: RunProgram, previous: PreviousVersion) -> Iterator[FixLab]:
    """A lab with Calico whose nodes have the images of both versions."""
    archives = (previous.archive, ensure_mirror_archive())
    options = LabOptions(
        name=f"upgrade-{os.getpid()}",
        poisoned=True,
        aaaa=True,
        no_ipv6_route=True,
        calico=True,
        archives=tuple(map(str, archives)),
    )
    try:
        with running_lab(options) as lab:
            for archive in archives:
                wait_until_image_reported(lab, archive_reference(archive))
            yield FixLab(lab=lab, program=program, image=archive_reference(archives[1]))
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture(scope="module")
def before(upgrade_lab: FixLab) -> Mapping[str, Any]:
    """Everything that fixes may change, as it was before any fix."""
    kubectl = upgrade_lab.lab.kubectl
    kubectl("create", "namespace", "web")
    kubectl("-n", "web", "create", "deployment", "backend", "--image=busybox:1", "--replicas=0")
    hosts = {node: upgrade_lab.read_host(node) for node in DEFAULT_NODES}
    return {
        "hosts": hosts,
        "cluster": upgrade_lab.read_cluster(),
        "backend": upgrade_lab.lab.get("deployment", "backend", "-n", "web")["spec"],
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wheel(tmp_path_factory.mktemp("wheel"), "private-lib", "1.0", "x = 1\n")


@pytest.fixture(scope="module")
def left_by_previous(
    upgrade_lab: FixLab,
    before: Mapping[str, Any],
    previous: PreviousVersion,
    ca_bundle: Path,
    wheel: Path,
) -> Mapping[str, Any]:
    """A mirror, a private package, an attached workload, every fix and the reconciler."""
    image = archive_reference(previous.archive)

    def mirror(*words: str) -> str:
        return previous.mirror(*words, kubeconfig=upgrade_lab.lab.kubeconfig)

    up = json.loads(mirror("up", "--image", image, "--ca-bundle", str(ca_bundle), "-o", "json"))
    mirror("add", str(wheel))
    mirror("attach", "deployment/backend", "-n", "web", "--ndots", "--yes")
    mirror("fix", "all", "--keep", *PROBE)
    assert upgrade_lab.read_cluster() != before["cluster"]
    return {"url": up["url"], "fixed": upgrade_lab.read_cluster(), "image": image}


def reconciler_deployment(lab: FixLab) -> Mapping[str, Any]:
    deployment = lab.lab.get("deployment", RECONCILER_NAME, "-n", "kube-system")
    assert isinstance(deployment, dict)
    return deployment


def read_states(lab: FixLab) -> dict[str, str]:
    status = json.loads(lab.run_mirror("status", "-o", "json"))
    return {fix["fix"]: fix["state"] for fix in status["fixes"] if fix["fix"] in FIXES}


def test_everything_is_seen(upgrade_lab: FixLab, left_by_previous: Mapping[str, Any]) -> None:
    """By the image of the previous version, which probe pods, agents and the mirror still run."""
    status = json.loads(upgrade_lab.run_mirror("status", "-o", "json"))
    assert status["state"] == "running"
    assert status["url"] == left_by_previous["url"]
    assert status["published"] == ["web"]
    states = {fix["fix"]: fix["state"] for fix in status["fixes"]}
    assert states == dict.fromkeys(FIXES | {"attach"}, "applied")
    assert status["keeper"]["running"] is True
    assert len(status["keeper"]["keeps"]) > len(DEFAULT_NODES)
    assert status["keeper"]["leaves"] == []
    report = json.loads(upgrade_lab.run_mirror("doctor", "--name", "index.example", "-o", "json"))
    checks = {finding["check"] for finding in report["findings"]}
    assert not {check for check in checks if check.startswith(("fixes.", "hosts.", "dns.search"))}
    assert upgrade_lab.read_cluster() == left_by_previous["fixed"], "looking changes nothing"


def test_fixes_are_kept(
    upgrade_lab: FixLab, before: Mapping[str, Any], left_by_previous: Mapping[str, Any]
) -> None:
    """`fix` again writes nothing; with one fix rolled back, the old reconciler keeps the rest."""
    said = upgrade_lab.run_mirror("fix", "all", *PROBE)
    assert "nothing was written" in said
    assert upgrade_lab.read_cluster() == left_by_previous["fixed"]
    upgrade_lab.run_mirror("rollback", "search-domains", "--yes")
    lab = upgrade_lab.lab
    ready = ("rollout", "status", f"deployment/{RECONCILER_NAME}", "--timeout=120s")
    lab.kubectl("-n", "kube-system", *ready, timeout=130)
    spec = reconciler_deployment(upgrade_lab)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"].startswith(left_by_previous["image"].partition("@")[0])
    original = before["cluster"]["maps"]["coredns"]["Corefile"]
    fixed, restored = reconciler_checks.revert_corefile(lab, original)
    reconciler_checks.wait_until_restored(
        "the Corefile", lambda: coredns.read_corefile(lab) == restored
    )
    coredns.write_corefile(lab, fixed)
    upgrade_lab.run_mirror("fix", "search-domains", *PROBE)
    assert read_states(upgrade_lab) == dict.fromkeys(FIXES, "applied")


def test_the_mirror_is_upgraded(
    upgrade_lab: FixLab, left_by_previous: Mapping[str, Any], wheel: Path
) -> None:
    """The same URL and the same private file; the reconciler then runs this version's module."""
    up = json.loads(upgrade_lab.run_mirror("up", "--image", upgrade_lab.image, "-o", "json"))
    assert up["url"] == left_by_previous["url"]
    (upload,) = json.loads(upgrade_lab.run_mirror("add", str(wheel), "-o", "json"))
    assert upload["outcome"] == "present"
    assert "0 wrong" in upgrade_lab.run_mirror("verify")
    upgrade_lab.run_mirror("fix", "--keep")
    spec = reconciler_deployment(upgrade_lab)["spec"]["template"]["spec"]
    assert "mirror.reconciler" in json.dumps(spec["containers"])
    assert read_states(upgrade_lab) == dict.fromkeys(FIXES, "applied")


def test_everything_is_rolled_back(
    upgrade_lab: FixLab, before: Mapping[str, Any], left_by_previous: Mapping[str, Any]
) -> None:
    """Byte for byte, on every node and in every object."""
    upgrade_lab.run_mirror("rollback", "--yes")
    upgrade_lab.run_mirror("detach", "-n", "web", "--yes")
    cluster = upgrade_lab.read_cluster()
    # the mirror still runs: where it was published may be recorded until it is purged
    for name in [name for name in cluster["maps"] if name.startswith("pypi-mirror-published")]:
        del cluster["maps"][name]
    assert cluster == before["cluster"]
    for node in DEFAULT_NODES:
        assert upgrade_lab.read_host(node) == before["hosts"][node], node
    assert upgrade_lab.lab.get("deployment", "backend", "-n", "web")["spec"] == before["backend"]
    assert reconciler_checks.list_objects(upgrade_lab.lab) == ""
    assert set(read_states(upgrade_lab).values()) == {"absent"}
