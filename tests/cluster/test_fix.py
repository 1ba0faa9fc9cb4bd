"""Fixes in a lab with all network faults: both uv versions fail before and work after.

The tests build on each other, in their order. They use one mirror and the lab's Corefile, which is
restored at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import coredns
from tests.cluster.mirror_lab import NAMESPACE, MirrorLab
from tests.cluster.objects import build_deployment
from tests.cluster.options import SEARCH_DOMAIN
from tests.cluster.waiting import wait_for
from tests.cluster.workloads import UV_VERSIONS, WORKLOAD_IMAGE, build_pod
from tests.wheels import make_wheel

pytestmark = [pytest.mark.cluster, pytest.mark.index]

# a Service's full name has four dots, fewer than ndots (5), so musl tries the search list first
INDEX_URL = f"http://pypi-mirror.{NAMESPACE}.svc.cluster.local:3141/workloads/stable/+simple/"
UV_ERRORS = {"0.6.10": "Name does not resolve", "0.13.9": "Name has no usable address"}
FAST_RELOAD = "reload 2s"  # the default is every 30 s


@pytest.fixture(scope="module")
def mirror(mirror_lab: MirrorLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorLab]:
    """Provide a mirror with one package, and restore the Corefile at the end."""
    before = coredns.read_corefile(mirror_lab.lab)
    wheel = make_wheel(tmp_path_factory.mktemp("wheel"), "from-the-mirror", "1", "")
    coredns.write_corefile(mirror_lab.lab, before.replace("    reload\n", f"    {FAST_RELOAD}\n"))
    coredns.restart(mirror_lab.lab)
    mirror_lab.up()
    result = mirror_lab.run_mirror("add", str(wheel))
    assert result.returncode == 0, result.stderr
    yield mirror_lab
    for argv in (("rollback", "--yes"), ("detach", "-n", "chronicle", "--yes")):
        mirror_lab.run_mirror(*argv)
    mirror_lab.lab.kubectl("-n", "chronicle", "delete", "deployment", "asks", "--ignore-not-found")
    mirror_lab.run_mirror("down", "--purge", "--yes")
    coredns.write_corefile(mirror_lab.lab, before)


@pytest.fixture(scope="module")
def original(mirror: MirrorLab) -> str:
    """Provide the Corefile before any fix."""
    return coredns.read_corefile(mirror.lab)


def install_everywhere(mirror: MirrorLab) -> dict[str, tuple[str, str]]:
    """Install with both uv versions on every node from the index's DNS name.

    Returns NODE VERSION → (phase, log).
    """
    pods = {
        f"{node} {version}": build_pod(
            f"asks-{node}-{version.replace('.', '-')}",
            node,
            [
                *(f"/usr/local/bin/uv-{version}", "pip", "install", "--no-cache"),
                *("--target", "/tmp/x", "--default-index", INDEX_URL, "from-the-mirror"),
            ],
            env_map=None,
        )
        for node in mirror.lab.nodes
        for version in UV_VERSIONS
    }
    results = mirror.run_pods(list(pods.values()), seconds=180)
    return {key: results[pod["metadata"]["name"]] for key, pod in pods.items()}


def run_fix(mirror: MirrorLab, *argv: str) -> Any:
    """Run `mirror fix` and return its report."""
    options = ("--yes", "--name", "index.example")
    return mirror.run_json("fix", *argv, *options, timeout=420)


def read_fix_states(mirror: MirrorLab) -> dict[str, str]:
    """Return fix → state, as `mirror status` reports them."""
    status = mirror.run_json("status", code=None)
    return {fix["fix"]: fix["state"] for fix in status["fixes"]}


def test_fixes_let_both_uv_versions_install(mirror: MirrorLab, original: str) -> None:
    for key, (phase, log) in install_everywhere(mirror).items():
        assert phase == "Failed", key
        assert UV_ERRORS[key.split()[1]] in log, f"{key}: {log}"
    plan = mirror.run_mirror("fix", "dns", "search-domains", "--dry-run", "--name", "index.example")
    assert plan.returncode == 0, plan.stderr
    assert f"+    template ANY ANY {SEARCH_DOMAIN} {{" in plan.stdout
    assert "every pod of the cluster" in plan.stdout
    assert coredns.read_corefile(mirror.lab) == original
    report = run_fix(mirror, "dns", "search-domains")
    assert sorted(report["proved_on"]) == sorted(mirror.lab.nodes)
    musl = [outcome for outcome in report["outcomes"] if outcome["libc"] == "musl"]
    assert len(musl) == len(mirror.lab.nodes)
    assert all("Name has no usable address" in outcome["before"] for outcome in musl)
    assert not any("lookup" in outcome["after"] for outcome in musl)
    glibc = [outcome for outcome in report["outcomes"] if outcome["libc"] == "glibc"]
    assert all(":" in outcome["before"] and ":" not in outcome["after"] for outcome in glibc), (
        "no AAAA"
    )
    for key, (phase, log) in install_everywhere(mirror).items():
        assert phase == "Succeeded", f"{key}: {log}"
    assert read_fix_states(mirror) == {"search-domains": "applied", "dns": "applied"} | {
        name: "absent" for name in read_fix_states(mirror) if name not in {"search-domains", "dns"}
    }


def test_second_fix_writes_nothing(mirror: MirrorLab) -> None:
    before = coredns.read_corefile_version(mirror.lab)
    assert run_fix(mirror, "search-domains")["written"] == []
    assert coredns.read_corefile_version(mirror.lab) == before


def test_purge_is_refused_while_fixes_are_applied(mirror: MirrorLab) -> None:
    result = mirror.run_mirror("down", "--purge", "--yes")
    assert result.returncode == 5
    assert "mirror rollback" in result.stderr
    assert mirror.get("statefulset", "pypi-mirror")["status"]["readyReplicas"] == 1


def test_rollback_restores_the_corefile_byte_for_byte(mirror: MirrorLab, original: str) -> None:
    assert coredns.read_corefile(mirror.lab) != original
    result = mirror.run_mirror("rollback", "--yes", "-o", "json")
    assert result.returncode == 0, result.stderr
    assert coredns.read_corefile(mirror.lab) == original
    assert set(read_fix_states(mirror).values()) == {"absent"}
    again = mirror.run_mirror("rollback", "--yes")
    assert again.returncode == 0
    assert "nothing to undo" in again.stdout


def test_fixes_drift_of_a_corefile_without_reload(mirror: MirrorLab, original: str) -> None:
    """An add-on that is enabled again writes its own Corefile, here one without `reload`."""
    run_fix(mirror, "search-domains")
    with_fix = coredns.read_corefile(mirror.lab)
    reverted = original.replace(f"    {FAST_RELOAD}\n", "")
    coredns.write_corefile(mirror.lab, reverted)
    assert read_fix_states(mirror)["search-domains"] == "drifted"
    pods = coredns.list_pods(mirror.lab)
    run_fix(mirror, "search-domains")
    assert coredns.read_corefile(mirror.lab) == with_fix.replace(f"    {FAST_RELOAD}\n", "")
    assert not pods & coredns.list_pods(mirror.lab), "restarted because it does not reload"
    result = mirror.run_mirror("rollback", "--yes")
    assert result.returncode == 0, result.stderr
    assert "is restarted" in result.stdout
    assert coredns.read_corefile(mirror.lab) == reverted
    coredns.write_corefile(mirror.lab, original)
    coredns.restart(mirror.lab)


def test_up_with_fixes_applies_all_fixes(mirror: MirrorLab, original: str) -> None:
    """One plan lists the objects and every fix. Then everything is applied and rolled back."""
    options = ("up", "--with-fixes", "--image", mirror.image, "-o", "json")
    plan = mirror.run_mirror(*options, "--dry-run", timeout=420)
    assert plan.returncode == 0, plan.stderr
    report = json.loads(plan.stdout)
    assert {item["action"] for item in report["objects"]} == {"nothing"}
    has_changes = {item["fix"]: bool(item["changes"]) for item in report["fixes"]["fixes"]}
    assert has_changes == {
        "search-domains": True,
        "dns": True,
        "pod-sysctl": True,
        "host-sysctl": True,
        "ippool": False,  # the lab has no Calico
    }
    assert coredns.read_corefile(mirror.lab) == original
    result = mirror.run_mirror(*options, "--yes", timeout=600)
    assert result.returncode == 0, result.stderr
    applied = json.loads(result.stdout)
    assert applied["url"].startswith("http://10.152.183.")
    states = {item["fix"]: item["state"] for item in applied["fixes"]["states"]}
    assert {name for name, state in states.items() if state == "applied"} == {
        name for name, changes in has_changes.items() if changes
    }
    rolled_back = mirror.run_mirror("rollback", "--yes")
    assert rolled_back.returncode == 0, rolled_back.stderr
    assert coredns.read_corefile(mirror.lab) == original


def test_never_writes_a_corefile_that_coredns_cannot_load(mirror: MirrorLab) -> None:
    """The Corefile was broken by hand, and CoreDNS still uses the previous one."""
    before = coredns.read_corefile(mirror.lab)
    broken = before.replace("    loop\n", "    loop\n    forward . nowhere.example\n")
    coredns.write_corefile(mirror.lab, broken)
    leave_trial_behind(mirror)
    try:
        options = ("--yes", "-o", "json", "--name", "index.example")
        result = mirror.run_mirror("fix", "dns", *options, timeout=420)
        assert result.returncode == 5, result.stderr
        assert "CoreDNS cannot load the new Corefile; nothing was written" in result.stderr
        assert "nowhere.example" in result.stderr, "CoreDNS' own error"
        assert coredns.read_corefile(mirror.lab) == broken
        assert set(read_fix_states(mirror).values()) == {"absent"}
        selector = ("-l", "app.kubernetes.io/component=trial", "-o", "name")
        assert mirror.lab.kubectl("-n", "kube-system", "get", "pods,configmaps", *selector) == ""
    finally:
        coredns.write_corefile(mirror.lab, before)


def leave_trial_behind(mirror: MirrorLab) -> None:
    """Create what a `mirror fix` leaves that was killed during its trial."""
    labels = {
        "app.kubernetes.io/name": NAMESPACE,
        "app.kubernetes.io/component": "trial",
        "app.kubernetes.io/managed-by": NAMESPACE,
    }
    metadata = {"name": "pypi-mirror-trial-old", "namespace": "kube-system", "labels": labels}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    mirror.lab.apply(config_map)


def test_attach_with_ndots_lets_both_uv_versions_install(mirror: MirrorLab) -> None:
    mirror.lab.apply(build_deployment("asks", "chronicle", WORKLOAD_IMAGE, ["sleep", "3600"]))
    _wait_until_rolled_out(mirror)
    before = mirror.get("deployment", "asks", "chronicle")["spec"]
    _wait_until_uv_fails(mirror)
    result = mirror.run_mirror("attach", "deployment/asks", "-n", "chronicle", "--ndots", "--yes")
    assert result.returncode == 0, result.stderr
    _wait_until_rolled_out(mirror)
    for version in UV_VERSIONS:
        assert "from-the-mirror==1" in _run_uv(mirror, version, "--default-index", INDEX_URL)
        assert "from-the-mirror==1" in _run_uv(mirror, version), "the ConfigMap's index"
    assert read_fix_states(mirror)["attach"] == "applied"
    result = mirror.run_mirror("detach", "deployment/asks", "-n", "chronicle", "--yes")
    assert result.returncode == 0, result.stderr
    assert mirror.get("deployment", "asks", "chronicle")["spec"] == before


@pytest.mark.parametrize("name", ["job/x", "pod/x", "replicaset/x", "deployment/not-there", "x"])
def test_attach_names_what_it_cannot_attach(mirror: MirrorLab, name: str) -> None:
    result = mirror.run_mirror("attach", name, "-n", "chronicle", "--yes")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert name in result.stderr or "not-there" in result.stderr


def _wait_until_rolled_out(mirror: MirrorLab) -> None:
    status = ("rollout", "status", "deployment/asks", "--timeout=120s")
    mirror.lab.kubectl("-n", "chronicle", *status, timeout=130)


def _run_uv(mirror: MirrorLab, version: str, *index: str) -> str:
    """Run uv in the Deployment's pod and return its output."""
    argv = [f"/usr/local/bin/uv-{version}", "pip", "install", "--no-cache", "--reinstall"]
    argv += ["--target", "/tmp/x", *index, "from-the-mirror"]
    execute = ("-n", "chronicle", "exec", "deployment/asks", "--")
    return mirror.lab.kubectl(*execute, *argv, timeout=90, check=False)


def _wait_until_uv_fails(mirror: MirrorLab) -> None:
    """Wait until CoreDNS has reloaded the original Corefile."""

    def fails() -> bool:
        return all(
            UV_ERRORS[version] in _run_uv(mirror, version, "--default-index", INDEX_URL)
            for version in UV_VERSIONS
        )

    wait_for("the poisoned domain to be back", fails, timeout=180, interval=2)
