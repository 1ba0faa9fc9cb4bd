"""Fixes in the field's cluster: both uv fail before and work after, and every byte comes back.

The tests of this file build on each other, in their order: one mirror, and the lab's Corefile,
which is given back at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.mirror_lab import NAMESPACE, MirrorLab
from tests.cluster.options import SEARCH_DOMAIN
from tests.cluster.waiting import wait_for
from tests.cluster.workloads import UV_VERSIONS, WORKLOAD_IMAGE, build_pod
from tests.wheels import make_wheel

pytestmark = [pytest.mark.cluster, pytest.mark.index]

# a Service's full name has four dots, fewer than ndots 5: musl walks the search list for it too
INDEX_URL = f"http://pypi-mirror.{NAMESPACE}.svc.cluster.local:3141/workloads/stable/+simple/"
UV_ERRORS = {"0.6.10": "Name does not resolve", "0.13.9": "Name has no usable address"}
FAST_RELOAD = "reload 2s"  # CoreDNS looks every 30 s by itself; the test has less patience


@pytest.fixture(scope="module")
def field(mirrored: MirrorLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorLab]:
    """A mirror with one package, and the Corefile as it was, given back at the end."""
    before = read_corefile(mirrored)
    wheel = make_wheel(tmp_path_factory.mktemp("wheel"), "from-the-mirror", "1", "")
    write_corefile(mirrored, before.replace("    reload\n", f"    {FAST_RELOAD}\n"))
    restart_coredns(mirrored)
    mirrored.up()
    added = mirrored.run_mirror("add", str(wheel))
    assert added.returncode == 0, added.stderr
    yield mirrored
    for words in (("rollback", "--yes"), ("detach", "-n", "chronicle", "--yes")):
        mirrored.run_mirror(*words)
    mirrored.lab.kubectl("-n", "chronicle", "delete", "deployment", "asks", "--ignore-not-found")
    mirrored.run_mirror("down", "--purge")
    write_corefile(mirrored, before)


@pytest.fixture(scope="module")
def original(field: MirrorLab) -> str:
    """The Corefile before any fix."""
    return read_corefile(field)


def restart_coredns(where: MirrorLab) -> None:
    words = ("-n", "kube-system", "rollout")
    where.lab.kubectl(*words, "restart", "deployment/coredns")
    where.lab.kubectl(*words, "status", "deployment/coredns", "--timeout=120s", timeout=130)


def coredns_pods(where: MirrorLab) -> set[str]:
    chosen = ("-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "name")
    return set(where.lab.kubectl(*chosen).split())


def read_corefile(where: MirrorLab) -> str:
    return str(where.get("configmap", "coredns", "kube-system")["data"]["Corefile"])


def write_corefile(where: MirrorLab, text: str) -> None:
    patch = json.dumps({"data": {"Corefile": text}})
    where.lab.kubectl("-n", "kube-system", "patch", "configmap", "coredns", "-p", patch)


def read_corefile_version(where: MirrorLab) -> str:
    return str(where.get("configmap", "coredns", "kube-system")["metadata"]["resourceVersion"])


def install_everywhere(where: MirrorLab) -> dict[str, tuple[str, str]]:
    """Both uv on every node install from the index by its name; NODE VERSION → (phase, log)."""
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
        for node in where.lab.nodes
        for version in UV_VERSIONS
    }
    ended = where.run_pods(list(pods.values()), seconds=180)
    return {key: ended[one["metadata"]["name"]] for key, one in pods.items()}


def run_fix(where: MirrorLab, *words: str, code: int = 0) -> Any:
    """`mirror fix` and what it told as JSON; the error where it is expected."""
    done = where.run_mirror(
        "fix", *words, "--yes", "-o", "json", "--name", "index.example", timeout=420
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def read_fix_states(where: MirrorLab) -> dict[str, str]:
    told = json.loads(where.run_mirror("status", "-o", "json").stdout)
    return {one["fix"]: one["state"] for one in told["fixes"]}


def test_both_uv_fail_before_and_work_after(field: MirrorLab, original: str) -> None:
    for key, (phase, log) in install_everywhere(field).items():
        assert phase == "Failed", key
        assert UV_ERRORS[key.split()[1]] in log, f"{key}: {log}"
    plan = field.run_mirror("fix", "dns", "search-domains", "--dry-run", "--name", "index.example")
    assert plan.returncode == 0, plan.stderr
    assert f"+    template ANY ANY {SEARCH_DOMAIN} {{" in plan.stdout
    assert "every pod of the cluster" in plan.stdout
    assert read_corefile(field) == original
    told = run_fix(field, "dns", "search-domains")
    assert sorted(told["proved_on"]) == sorted(field.lab.nodes)
    musl = [one for one in told["outcomes"] if one["libc"] == "musl"]
    assert len(musl) == len(field.lab.nodes)
    assert all("Name has no usable address" in one["before"] for one in musl)
    assert not any("lookup" in one["after"] for one in musl)
    glibc = [one for one in told["outcomes"] if one["libc"] == "glibc"]
    assert all(":" in one["before"] and ":" not in one["after"] for one in glibc), "no AAAA"
    for key, (phase, log) in install_everywhere(field).items():
        assert phase == "Succeeded", f"{key}: {log}"
    assert read_fix_states(field) == {"search-domains": "applied", "dns": "applied"} | {
        name: "absent" for name in read_fix_states(field) if name not in {"search-domains", "dns"}
    }


def test_the_second_time_nothing_is_written(field: MirrorLab) -> None:
    before = read_corefile_version(field)
    assert run_fix(field, "search-domains")["written"] == []
    assert read_corefile_version(field) == before


def test_a_purge_is_refused_meanwhile(field: MirrorLab) -> None:
    done = field.run_mirror("down", "--purge")
    assert done.returncode == 5
    assert "mirror rollback" in done.stderr
    assert field.get("statefulset", "pypi-mirror")["status"]["readyReplicas"] == 1


def test_rollback_gives_back_the_corefile_byte_for_byte(field: MirrorLab, original: str) -> None:
    assert read_corefile(field) != original
    done = field.run_mirror("rollback", "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert read_corefile(field) == original
    assert set(read_fix_states(field).values()) == {"absent"}
    again = field.run_mirror("rollback", "--yes")
    assert again.returncode == 0
    assert "nothing to undo" in again.stdout


def test_drift_is_seen_and_mended_without_reload_too(field: MirrorLab, original: str) -> None:
    """An add-on that is enabled again writes its own Corefile, here one without `reload`."""
    run_fix(field, "search-domains")
    with_fix = read_corefile(field)
    own = original.replace(f"    {FAST_RELOAD}\n", "")
    write_corefile(field, own)
    assert read_fix_states(field)["search-domains"] == "drifted"
    pods = coredns_pods(field)
    run_fix(field, "search-domains")
    assert read_corefile(field) == with_fix.replace(f"    {FAST_RELOAD}\n", "")
    assert not pods & coredns_pods(field), "restarted, for it does not reload"
    done = field.run_mirror("rollback", "--yes")
    assert done.returncode == 0, done.stderr
    assert "is restarted" in done.stdout
    assert read_corefile(field) == own
    write_corefile(field, original)
    restart_coredns(field)


def test_up_with_fixes_plans_and_makes_them_all(field: MirrorLab, original: str) -> None:
    """One plan of the objects and of every fix; then each is made, and all of it goes back."""
    given = ("up", "--with-fixes", "--image", field.image, "-o", "json")
    plan = field.run_mirror(*given, "--dry-run", timeout=420)
    assert plan.returncode == 0, plan.stderr
    told = json.loads(plan.stdout)
    assert {one["action"] for one in told["objects"]} == {"nothing"}
    wanted = {one["fix"]: bool(one["changes"]) for one in told["fixes"]["fixes"]}
    assert wanted == {
        "search-domains": True,
        "dns": True,
        "pod-sysctl": True,
        "host-sysctl": True,
        "ippool": False,  # there is no Calico here
    }
    assert read_corefile(field) == original
    made = field.run_mirror(*given, "--yes", timeout=600)
    assert made.returncode == 0, made.stderr
    done = json.loads(made.stdout)
    assert done["url"].startswith("http://10.152.183.")
    states = {one["fix"]: one["state"] for one in done["fixes"]["states"]}
    assert {name for name, state in states.items() if state == "applied"} == {
        name for name, changes in wanted.items() if changes
    }
    back = field.run_mirror("rollback", "--yes")
    assert back.returncode == 0, back.stderr
    assert read_corefile(field) == original


def test_what_coredns_cannot_load_is_never_written(field: MirrorLab) -> None:
    """A Corefile that was broken by hand, while CoreDNS goes on with the one it has."""
    before = read_corefile(field)
    broken = before.replace("    loop\n", "    loop\n    forward . nowhere.example\n")
    write_corefile(field, broken)
    leave_trial_behind(field)
    try:
        said = run_fix(field, "dns", code=5)
        assert "CoreDNS cannot load the new Corefile; nothing was written" in said
        assert "nowhere.example" in said, "CoreDNS' own words"
        assert read_corefile(field) == broken
        assert set(read_fix_states(field).values()) == {"absent"}
        chosen = ("-l", "app.kubernetes.io/component=trial", "-o", "name")
        assert field.lab.kubectl("-n", "kube-system", "get", "pods,configmaps", *chosen) == ""
    finally:
        write_corefile(field, before)


def leave_trial_behind(where: MirrorLab) -> None:
    """What a `mirror fix` that was killed in the middle of its trial leaves."""
    labels = {
        "app.kubernetes.io/name": NAMESPACE,
        "app.kubernetes.io/component": "trial",
        "app.kubernetes.io/managed-by": NAMESPACE,
    }
    meta = {"name": "pypi-mirror-trial-old", "namespace": "kube-system", "labels": labels}
    left = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
    where.lab.kubectl("apply", "-f", "-", stdin=json.dumps(left))


def test_attach_with_ndots_alone_lets_both_uv_work(field: MirrorLab) -> None:
    field.lab.kubectl("apply", "-f", "-", stdin=json.dumps(_deployment()))
    _rolled_out(field)
    before = field.get("deployment", "asks", "chronicle")["spec"]
    _wait_poisoned(field)
    done = field.run_mirror("attach", "deployment/asks", "-n", "chronicle", "--ndots", "--yes")
    assert done.returncode == 0, done.stderr
    _rolled_out(field)
    for version in UV_VERSIONS:
        assert "from-the-mirror==1" in _asks(field, version, "--default-index", INDEX_URL)
        assert "from-the-mirror==1" in _asks(field, version), "the ConfigMap's index"
    assert read_fix_states(field)["attach"] == "applied"
    done = field.run_mirror("detach", "deployment/asks", "-n", "chronicle", "--yes")
    assert done.returncode == 0, done.stderr
    assert field.get("deployment", "asks", "chronicle")["spec"] == before


@pytest.mark.parametrize("name", ["job/x", "pod/x", "replicaset/x", "deployment/not-there", "x"])
def test_what_cannot_be_attached_is_said(field: MirrorLab, name: str) -> None:
    done = field.run_mirror("attach", name, "-n", "chronicle", "--yes")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert name in done.stderr or "not-there" in done.stderr


def _deployment() -> dict[str, Any]:
    labels = {"app": "asks"}
    container = {
        "name": "main",
        "image": WORKLOAD_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sleep", "3600"],
    }
    pod_spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "asks", "namespace": "chronicle"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec},
        },
    }


def _rolled_out(where: MirrorLab) -> None:
    words = ("rollout", "status", "deployment/asks", "--timeout=120s")
    where.lab.kubectl("-n", "chronicle", *words, timeout=130)


def _asks(where: MirrorLab, version: str, *index: str) -> str:
    """What a uv says in the Deployment's pod."""
    argv = [f"/usr/local/bin/uv-{version}", "pip", "install", "--no-cache", "--reinstall"]
    argv += ["--target", "/tmp/x", *index, "from-the-mirror"]
    running = ("-n", "chronicle", "exec", "deployment/asks", "--")
    return where.lab.kubectl(*running, *argv, timeout=90, check=False)


def _wait_poisoned(where: MirrorLab) -> None:
    """CoreDNS has taken the rollback up: the trouble of the field is back."""

    def poisoned() -> bool:
        return all(
            UV_ERRORS[one] in _asks(where, one, "--default-index", INDEX_URL) for one in UV_VERSIONS
        )

    wait_for("the poisoned domain to be back", poisoned, timeout=180, interval=2)
