"""Allow one writer at a time. A Lease in kube-system names the writer, which keeps renewing it.

The Lease of a killed writer is taken over: at once if the writer was a process on this machine that
has ended, otherwise once it has not been renewed for its duration. A Lease that was renewed in the
future, by a clock that is wrong or by somebody who wants to block others, is watched for that long.
Even if clocks are wrong, the compare-and-swap of the ledger and of the targets protects the data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from deploy.cluster.access import list_permissions
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.process_identity import has_ended, identify_process, shorten
from deploy.manifests.model import NAME, new_object
from mirror.core.errors import ClusterError, RefusedError, WaitTimeout
from mirror.core.wait import wait_until

NAMESPACE = "kube-system"
LEASE_NAME = f"{NAME}-changes"
DURATION_SECONDS = 15  # a Lease that has not been renewed for this long is free
_LONGEST_SECONDS = 60  # however long a Lease says that it lasts
PERMISSIONS = list_permissions("get create update delete", "leases", NAMESPACE)


@contextmanager
def hold(cluster: Cluster) -> Iterator[None]:
    """Hold the Lease within the block. Raises RefusedError that names another holder."""
    holder = identify_process()
    lease = _acquire(cluster, holder)
    done = threading.Event()

    def renew() -> None:
        nonlocal lease
        while not done.wait(DURATION_SECONDS / 3):
            # the next turn tries again; the data is safe even without the Lease
            with suppress(ClusterError):
                lease = cluster.replace({**lease, "spec": {**lease["spec"], "renewTime": _now()}})

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(ClusterError):
            version = lease["metadata"]["resourceVersion"]
            cluster.delete("Lease", LEASE_NAME, NAMESPACE, resource_version=version)


def _acquire(cluster: Cluster, holder: str) -> Object:
    lease = cluster.get("Lease", LEASE_NAME, NAMESPACE)
    try:
        if lease is None:
            return cluster.create(_render(holder))
        if not _is_free(lease["spec"]):
            if not _is_from_future(lease["spec"]):
                raise _held_by_other(lease["spec"])
            _watch(cluster, lease)
        return cluster.replace({**lease, **_render(holder), "metadata": lease["metadata"]})
    except ApiError as error:
        if error.status != 409:
            raise
        lease = cluster.get("Lease", LEASE_NAME, NAMESPACE)
        raise _held_by_other(lease["spec"] if lease else {}) from error


def _watch(cluster: Cluster, lease: Object) -> None:
    """Return once a Lease was not renewed for its duration by our clock.

    Raises RefusedError if it is renewed meanwhile: then its holder is alive.
    """

    def is_renewed() -> bool:
        current = cluster.get("Lease", LEASE_NAME, NAMESPACE) or lease
        return bool(current["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"])

    try:
        wait_until(
            is_renewed,
            deadline=cluster.deadline.within(_get_duration(lease["spec"])),
            what=f"{shorten(lease['spec'].get('holderIdentity') or 'unknown')} renews the Lease",
        )
    except WaitTimeout:
        if cluster.deadline.remaining() <= 0:
            raise
        return
    raise _held_by_other(lease["spec"])


def _held_by_other(spec: Object) -> RefusedError:
    holder, renewed = spec.get("holderIdentity", "unknown"), spec.get("renewTime", "just now")
    ahead = "; the clock there is ahead of this one" if _is_from_future(spec) else ""
    return RefusedError(
        f"another command is changing this cluster: {shorten(holder)}",
        why=f"it holds the Lease {NAMESPACE}/{LEASE_NAME}, renewed {renewed}{ahead}",
        next_step="wait for it and run the same command again; the Lease of a killed command is "
        f"free {DURATION_SECONDS} s after its last renewal",
    )


def _is_free(spec: Object) -> bool:
    """Return whether the holder has ended or has not renewed the Lease in time."""
    if has_ended(spec.get("holderIdentity") or ""):
        return True
    age = _get_age(spec)
    return age is None or age > _get_duration(spec)


def _is_from_future(spec: Object) -> bool:
    """Return whether the time of renewal says nothing: it is further ahead than clocks differ."""
    age = _get_age(spec)
    return age is not None and age < -DURATION_SECONDS


def _get_age(spec: Object) -> float | None:
    """Return the seconds since the renewal by our clock; None if there is no usable time."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(str(spec["renewTime"]))).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def _get_duration(spec: Object) -> float:
    return min(spec.get("leaseDurationSeconds") or DURATION_SECONDS, _LONGEST_SECONDS)


def _render(holder: str) -> Object:
    now = _now()
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": DURATION_SECONDS,
        "acquireTime": now,
        "renewTime": now,
    }
    return new_object("coordination.k8s.io/v1", "Lease", LEASE_NAME, NAMESPACE) | {"spec": spec}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
