"""IPPools in projectcalico.org/v3: stored only there, or readable only there for a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.core.errors import RefusedError
from tests.cluster.calico.objects import render_v3_pool_crd
from tests.cluster.fix_lab import FixLab
from tests.cluster.limited_user import LimitedUser
from tests.cluster.node_fix_cluster import IPV6_POOL, POOL_SPEC, V3_POOL_KIND, NodeFixCluster
from tests.cluster.objects import render_list
from tests.cluster.waiting import wait_for

RESOURCE = "ippools.projectcalico.org"
_V1, _OPERATOR = "crd.projectcalico.org", "operator.tigera.io"


@contextmanager
def serve_v3_pools(fix_lab: FixLab, folder: Path) -> Iterator[FixLab]:
    """Serve the lab's pools as v3 too; yields the lab for a user who cannot read them as v1.

    The v1 pools stay because the lab's CNI plugin, of Calico 3.28, knows only those. Everything is
    removed at the end of the block.
    """
    lab = fix_lab.lab
    v1_pools = lab.get_items("ippools.crd.projectcalico.org")
    lab.kubectl("create", "-f", "-", stdin=render_v3_pool_crd())
    try:
        pools = render_list(_copy_to_v3(pool) for pool in v1_pools)
        message = "pool.projectcalico.org/default-ipv6-ippool created"
        wait_for(
            "the pools to be created",
            lambda: message in lab.kubectl("create", "-f", "-", stdin=pools, check=False),
            timeout=30,
        )
        user = LimitedUser(lab, folder, "newer")
        try:
            user.set_rules(_list_rules(lab.kubectl("api-versions").split()))
            yield replace(fix_lab, user=user.kubeconfig)
        finally:
            user.remove()
    finally:
        lab.kubectl("delete", "crd", RESOURCE)


def read_specs(fix_lab: FixLab) -> dict[str, Any]:
    """Return pool → spec, as v3 has them."""
    return {pool["metadata"]["name"]: pool["spec"] for pool in fix_lab.lab.get_items(RESOURCE)}


def _copy_to_v3(pool: Any) -> Any:
    metadata = {"name": pool["metadata"]["name"]}
    return {**pool, "apiVersion": "projectcalico.org/v3", "metadata": metadata}


def _list_rules(api_versions: list[str]) -> list[Any]:
    """Return rules for everything except v1 pools."""
    groups = sorted({name.rpartition("/")[0] for name in api_versions} - {_V1} | {_OPERATOR})
    return [
        {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [_V1], "resources": ["felixconfigurations"], "verbs": ["list"]},
    ]


def check_pool_moved_to_v3(cluster: NodeFixCluster) -> None:
    """Check that a fix applied to a v1 pool is rolled back in v3."""
    assert cluster.read_state()["pool"][0]["disabled"] is True
    assert cluster.read_fix_states()["ippool"] == "applied"
    cluster.apply()
    cluster.rollback()
    after = cluster.read_state()
    assert after["pool"] == ({**POOL_SPEC, "assignmentMode": "Automatic"}, {"mine": "yes"})
    assert after["left"] == []


def check_v3_only(cluster: NodeFixCluster) -> None:
    """Check that a v3 pool is disabled, restored, deleted and rolled back."""
    before = cluster.read_state()
    cluster.apply()
    entry = cluster.make_engine().applied_changes("ippool")[-1]
    assert str(entry.target) == f"{V3_POOL_KIND} {IPV6_POOL}"
    disabled = ({**before["pool"][0], "disabled": True}, before["pool"][1])
    assert cluster.read_state()["pool"] == disabled
    cluster.edit_pool(disabled=None)
    assert cluster.read_fix_states()["ippool"] == "drifted"
    (message,) = cluster.reconcile_objects()
    path = f"/apis/projectcalico.org/v3/ippools/{IPV6_POOL}"
    assert message.startswith(f"{path}: fix ippool: reverted")
    assert cluster.read_state()["pool"] == disabled
    cluster.rollback()
    assert cluster.read_state() == before
    cluster.apply(delete=True)
    assert cluster.read_state()["pool"] is None
    assert cluster.reconcile_objects() == [], "the pool is deleted, as it has to be"
    cluster.rollback()
    assert cluster.read_state() == before


def check_pool_with_finalizer(cluster: NodeFixCluster) -> None:
    """Check that a rollback is refused while a finalizer keeps a deleted pool."""
    before = cluster.read_state()

    def set_finalizers(*names: str) -> None:
        client = cluster.targets.connect()
        client.patch(V3_POOL_KIND, IPV6_POOL, None, {"metadata": {"finalizers": [*names]}})

    set_finalizers("projectcalico.org/ippool-finalizer")
    cluster.apply(delete=True)
    assert cluster.read_state()["pool"] is not None
    assert set(cluster.read_fix_states().values()) == {"applied"}
    cluster.apply(delete=True)
    assert cluster.reconcile_objects() == []
    with pytest.raises(RefusedError, match="still being deleted") as refused:
        cluster.rollback()
    assert "projectcalico.org/ippool-finalizer" in refused.value.why
    set_finalizers()
    cluster.rollback()
    assert cluster.read_state() == before
