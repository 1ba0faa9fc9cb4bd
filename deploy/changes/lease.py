"""One writer at a time: a Lease in kube-system that says who, renewed while he works.

A Lease of a writer that was killed is taken over: at once where it was a process of this machine
that is gone, else when it has not been renewed for its duration. The ledger's and targets'
compare-and-swap protect the data even where clocks are wrong.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from deploy.cluster.access import Permission
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.manifests.model import NAME, new_object
from mirror.core.errors import ClusterError, RefusedError

NAMESPACE = "kube-system"
LEASE_NAME = f"{NAME}-changes"
DURATION_SECONDS = 15  # a Lease that was not renewed for so long is nobody's
PERMISSIONS = tuple(
    Permission(verb=verb, resource="leases", namespace=NAMESPACE)
    for verb in ("get", "create", "update", "delete")
)


def current_user() -> str:
    """user@host, as the ledger keeps it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def hold(cluster: Cluster) -> Iterator[None]:
    """Hold the Lease for the length of the block. Raises RefusedError that names its holder."""
    mine = f"{current_user()} pid {os.getpid()} start {_stamp(os.getpid())}"
    held = _take(cluster, mine)
    over = threading.Event()

    def renew() -> None:
        nonlocal held
        while not over.wait(DURATION_SECONDS / 3):
            with suppress(ClusterError):  # the next turn tries again; the data is safe without
                held = cluster.replace(_renewed(held))

    keeper = threading.Thread(target=renew, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        with suppress(ClusterError):
            version = held["metadata"]["resourceVersion"]
            cluster.delete("Lease", LEASE_NAME, NAMESPACE, resource_version=version)


def _take(cluster: Cluster, mine: str) -> Object:
    found = cluster.get("Lease", LEASE_NAME, NAMESPACE)
    try:
        if found is None:
            return cluster.create(_lease(mine))
        spec = found["spec"]
        if not _over(spec):
            raise _busy(spec)
        return cluster.replace({**found, **_lease(mine), "metadata": found["metadata"]})
    except ApiError as refusal:
        if refusal.status != 409:
            raise
        now = cluster.get("Lease", LEASE_NAME, NAMESPACE)
        raise _busy(now["spec"] if now else {}) from refusal


def _busy(spec: Object) -> RefusedError:
    holder, renewed = spec.get("holderIdentity", "somebody"), spec.get("renewTime", "just now")
    return RefusedError(
        f"somebody else is changing this cluster: {holder.partition(' start ')[0]}",
        why=f"he holds the Lease {NAMESPACE}/{LEASE_NAME}, renewed {renewed}",
        next_step=f"wait for it and run the same command again; a writer that was killed is "
        f"passed over {DURATION_SECONDS} s after its last renewal",
    )


def _over(spec: Object) -> bool:
    """Whether its holder works no more."""
    if _gone(spec.get("holderIdentity") or ""):
        return True
    try:
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return True
    seconds = spec.get("leaseDurationSeconds") or DURATION_SECONDS
    return (datetime.now(UTC) - renewed).total_seconds() > seconds


def _gone(holder: str) -> bool:
    """Whether it names a process of this machine that has ended. A number used again is not it."""
    name, _, rest = holder.partition(" pid ")
    pid, _, stamp = rest.partition(" start ")
    if name.rpartition("@")[2] != socket.gethostname() or not pid.isdigit():
        return False
    return stamp.startswith(f"{_here()}/") and _stamp(int(pid)) != stamp


def _here() -> str:
    """This boot of this machine, and the space in which its process numbers count."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "unknown"


def _stamp(pid: int) -> str:
    """A process, told apart from all others of all machines."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return f"{_here()}/{stat.rpartition(')')[2].split()[19]}"


def _lease(mine: str) -> Object:
    now = _now()
    spec = {
        "holderIdentity": mine,
        "leaseDurationSeconds": DURATION_SECONDS,
        "acquireTime": now,
        "renewTime": now,
    }
    return new_object("coordination.k8s.io/v1", "Lease", LEASE_NAME, NAMESPACE) | {"spec": spec}


def _renewed(held: Object) -> Object:
    return {**held, "spec": {**held["spec"], "renewTime": _now()}}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
