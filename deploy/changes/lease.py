"""Allow one writer at a time. A Lease in kube-system names the writer, which keeps renewing it.

The Lease of a killed writer is taken over: at once if the writer was a process on this machine that
has ended, otherwise once it has not been renewed for its duration. Even if clocks are wrong, the
compare-and-swap of the ledger and of the targets protects the data.
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

from deploy.cluster.access import list_permissions
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.manifests.model import NAME, new_object
from mirror.core.errors import ClusterError, RefusedError

NAMESPACE = "kube-system"
LEASE_NAME = f"{NAME}-changes"
DURATION_SECONDS = 15  # a Lease that has not been renewed for this long is free
PERMISSIONS = list_permissions("get create update delete", "leases", NAMESPACE)


def current_user() -> str:
    """Return user@host, as the ledger stores it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def hold(cluster: Cluster) -> Iterator[None]:
    """Hold the Lease within the block. Raises RefusedError that names another holder."""
    holder = f"{current_user()} pid {os.getpid()} start {_process_stamp(os.getpid())}"
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
            raise _held_by_other(lease["spec"])
        return cluster.replace({**lease, **_render(holder), "metadata": lease["metadata"]})
    except ApiError as error:
        if error.status != 409:
            raise
        lease = cluster.get("Lease", LEASE_NAME, NAMESPACE)
        raise _held_by_other(lease["spec"] if lease else {}) from error


def _held_by_other(spec: Object) -> RefusedError:
    holder, renewed = spec.get("holderIdentity", "unknown"), spec.get("renewTime", "just now")
    return RefusedError(
        f"another command is changing this cluster: {holder.partition(' start ')[0]}",
        why=f"it holds the Lease {NAMESPACE}/{LEASE_NAME}, renewed {renewed}",
        next_step="wait for it and run the same command again; the Lease of a killed command is "
        f"free {DURATION_SECONDS} s after its last renewal",
    )


def _is_free(spec: Object) -> bool:
    """Return whether the holder has ended or has not renewed the Lease in time."""
    if _has_ended(spec.get("holderIdentity") or ""):
        return True
    try:
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return True
    seconds = spec.get("leaseDurationSeconds") or DURATION_SECONDS
    return (datetime.now(UTC) - renewed).total_seconds() > seconds


def _has_ended(holder: str) -> bool:
    """Return whether the holder was a process on this machine that has ended.

    The stamp distinguishes it from a later process with the same pid.
    """
    user, _, rest = holder.partition(" pid ")
    pid, _, stamp = rest.partition(" start ")
    if user.rpartition("@")[2] != socket.gethostname() or not pid.isdigit():
        return False
    return stamp.startswith(f"{_pid_space()}/") and _process_stamp(int(pid)) != stamp


def _pid_space() -> str:
    """Identify this boot of this machine and the PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "unknown"


def _process_stamp(pid: int) -> str:
    """Identify a process among all processes of all machines; empty if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return f"{_pid_space()}/{stat.rpartition(')')[2].split()[19]}"  # field 22: start time


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
