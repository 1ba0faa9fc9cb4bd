"""One writer at a time: who gets the Lease, keeps it, and takes it over."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.changes import lease
from deploy.cluster.client import ApiError
from deploy.cluster.process_identity import current_user
from mirror.core.errors import ClusterError, RefusedError
from tests.fix_targets import BASE_COREFILE, FixTargets, apply_fixes, roll_back_fixes
from tests.kubernetes_api import DirectCluster, KilledError, MemoryApi, Rule, on

SYSTEM = "kube-system"
NAME = "pypi-mirror-changes"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"


def seed_lease(api: MemoryApi, *, age: float, holder: str = "eve@elsewhere pid 1 start x") -> Any:
    """Store the Lease of somebody who renewed it `age` seconds ago."""
    renewed = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15}
    spec |= {"acquireTime": renewed, "renewTime": renewed}
    return api.seed(
        {"kind": "Lease", "metadata": {"name": NAME, "namespace": SYSTEM}, "spec": spec}
    )


def test_holds_the_lease_and_deletes_it(api: MemoryApi) -> None:
    with lease.hold(DirectCluster(api)):
        spec = api.read("Lease", NAME, SYSTEM)["spec"]
        assert spec["holderIdentity"].split(" start ")[0] == (f"{current_user()} pid {os.getpid()}")
        assert spec["leaseDurationSeconds"] == 15
    assert api.list_writes() == [f"POST {LEASES}", f"DELETE {LEASES}/{NAME}"]
    assert not api.has("Lease", NAME, SYSTEM)


def test_deletes_the_lease_after_an_error(api: MemoryApi) -> None:
    with pytest.raises(RuntimeError), lease.hold(DirectCluster(api)):
        raise RuntimeError
    assert not api.has("Lease", NAME, SYSTEM)


@pytest.mark.parametrize("age", [0, 5, 14])
def test_refuses_while_another_machine_renews_it(
    api: MemoryApi, targets: FixTargets, age: int
) -> None:
    stored = seed_lease(api, age=age)
    for operation in (apply_fixes, roll_back_fixes):
        with pytest.raises(RefusedError, match="eve@elsewhere pid 1") as refused:
            operation(targets, "dns")
        assert refused.value.exit_code == 5
    assert api.list_writes() == []
    assert api.read("Lease", NAME, SYSTEM) == stored


@pytest.mark.parametrize("age", [16, 60])
def test_takes_over_what_was_not_renewed(api: MemoryApi, targets: FixTargets, age: int) -> None:
    seed_lease(api, age=age)
    apply_fixes(targets, "dns")
    assert "template IN AAAA" in targets.read_corefile()
    assert not api.has("Lease", NAME, SYSTEM)


@pytest.mark.parametrize("ahead", [60, 3600, 10**8])
def test_a_lease_from_the_future_is_not_obeyed_for_longer_than_it_lasts(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """By our clock: an hour ahead, it would block every command for that hour."""
    monkeypatch.setattr(lease, "_LONGEST_SECONDS", 0.2)
    seed_lease(api, age=-ahead)
    api.edit("Lease", NAME, SYSTEM, lambda obj: obj["spec"].update(leaseDurationSeconds=10**6))
    with lease.hold(DirectCluster(api)):
        assert "eve" not in api.read("Lease", NAME, SYSTEM)["spec"]["holderIdentity"]


def test_a_holder_whose_clock_is_ahead_is_respected_while_it_renews(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_LONGEST_SECONDS", 5)
    seed_lease(api, age=-3600)
    reads: list[str] = []

    def renew_at_the_second(_: Any) -> None:
        reads.append("")
        if len(reads) == 2:
            seed_lease(api, age=-3601)

    api.failures.run(on("GET", f"{LEASES}/{NAME}"), renew_at_the_second, times=None)
    with (
        pytest.raises(RefusedError, match="eve@elsewhere") as error,
        lease.hold(DirectCluster(api)),
    ):
        pass
    assert "the clock there is ahead" in error.value.why


@pytest.mark.parametrize("renewed", [None, "", "yesterday"])
def test_takes_over_a_lease_without_a_time(api: MemoryApi, renewed: str | None) -> None:
    seed_lease(api, age=0)
    api.edit("Lease", NAME, SYSTEM, lambda obj: obj["spec"].update(renewTime=renewed))
    with lease.hold(DirectCluster(api)):
        assert api.read("Lease", NAME, SYSTEM)["spec"]["holderIdentity"] != "eve@elsewhere"


def test_takes_over_at_once_from_a_process_that_has_ended(
    api: MemoryApi, restart: Callable[[], None]
) -> None:
    api.failures.kill(on("GET", "*/configmaps/coredns"))
    cluster = DirectCluster(api)
    with pytest.raises(KilledError), lease.hold(cluster):
        cluster.get("ConfigMap", "coredns", SYSTEM)
    assert api.has("Lease", NAME, SYSTEM)
    restart()
    with lease.hold(cluster):
        pass


@pytest.mark.parametrize("holder", [f"root@{socket.gethostname()} pid 1 start other/boot/1", ""])
def test_respects_a_process_of_another_boot_or_container(api: MemoryApi, holder: str) -> None:
    """It may run in another PID namespace of this machine."""
    seed_lease(api, age=1, holder=holder)
    with pytest.raises(RefusedError), lease.hold(DirectCluster(api)):
        pass


def test_of_two_that_create_it_one_wins(api: MemoryApi) -> None:
    api.failures.run(on("POST", LEASES), lambda _: seed_lease(api, age=0))
    with pytest.raises(RefusedError, match="eve@elsewhere"), lease.hold(DirectCluster(api)):
        pass


def test_of_two_that_take_it_over_one_wins(api: MemoryApi) -> None:
    seed_lease(api, age=60)
    api.failures.run(on("PUT", f"{LEASES}/*"), lambda _: seed_lease(api, age=0, holder="eve@b"))
    with pytest.raises(RefusedError, match="eve@b"), lease.hold(DirectCluster(api)):
        pass
    assert api.read("Lease", NAME, SYSTEM)["spec"]["holderIdentity"] == "eve@b"


def test_leaves_a_lease_that_was_taken_over(api: MemoryApi) -> None:
    """The command was suspended for longer than the Lease lasts."""
    with lease.hold(DirectCluster(api)):
        seed_lease(api, age=0)
    assert api.read("Lease", NAME, SYSTEM)["spec"]["holderIdentity"].startswith("eve@elsewhere")


def test_renews_it(api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "DURATION_SECONDS", 0.03)
    renewed = []
    api.failures.run(
        on("PUT", f"{LEASES}/{NAME}"), lambda request: renewed.append(request.body), times=None
    )
    with lease.hold(DirectCluster(api)):
        first = api.read("Lease", NAME, SYSTEM)["spec"]
        while len(renewed) < 2:
            pass
    times = [first["renewTime"], *(body["spec"]["renewTime"] for body in renewed[:2])]
    assert len(set(times)) == 3
    assert renewed[1]["spec"]["acquireTime"] == first["acquireTime"]
    assert not api.has("Lease", NAME, SYSTEM)


def test_goes_on_if_a_renewal_fails(api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "DURATION_SECONDS", 0.03)
    api.failures.refuse(on("PUT", f"{LEASES}/{NAME}"), 503, "ServiceUnavailable")
    with lease.hold(DirectCluster(api)):
        while sum(request.method == "PUT" for request in api.requests) < 2:
            pass
    assert not api.has("Lease", NAME, SYSTEM)


@pytest.mark.parametrize("verb", ["get", "create"])
def test_writes_nothing_without_the_right(api: MemoryApi, targets: FixTargets, verb: str) -> None:
    """A Lease that cannot be read is not taken for one that does not exist."""
    user = api.add_user("limited", [Rule("*", "*")])
    user.withheld.append(Rule(verb, "leases"))
    limited = FixTargets(lambda: DirectCluster(api, user))
    with pytest.raises(ApiError) as error:
        apply_fixes(limited, "dns")
    assert error.value.status == 403
    assert targets.read_corefile() == BASE_COREFILE
    attempted = [f"POST {LEASES}"] if verb == "create" else []
    assert api.list_writes("limited") == attempted


def test_an_api_that_does_not_answer_is_an_error(api: MemoryApi) -> None:
    api.failures.refuse(on("GET", f"{LEASES}/*"), 503, "ServiceUnavailable")
    with pytest.raises(ClusterError, match="503"), lease.hold(DirectCluster(api)):
        pass
    assert api.list_writes() == []
