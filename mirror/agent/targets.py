"""The targets of a node by name: files (an absolute path) and network settings (a sysctl key)."""

from __future__ import annotations

from mirror.agent import files, sysctls
from mirror.agent.host_paths import HostPaths
from mirror.snapshot import Snapshot


def is_file(target: str) -> bool:
    """Whether a target is a file; if not, it is a sysctl key."""
    return target.startswith("/")


def read_target(host: HostPaths, target: str) -> Snapshot:
    """Return the content of a file or setting. Raises TargetError."""
    if is_file(target):
        path = host.resolve_file(target)
        files.remove_leftovers(path.parent)
        return files.read_file(path)
    return sysctls.read_sysctl(host, target)


def write_target(
    host: HostPaths, target: str, content: bytes | None, expected_version: str, metadata: str = ""
) -> Snapshot:
    """Write a target if it is at the expected version. Raises WriteConflict, TargetError."""
    if is_file(target):
        return files.write_file(host.resolve_file(target), content, expected_version, metadata)
    return sysctls.write_sysctl(host, target, content, expected_version, metadata)


def list_affected(target: str) -> tuple[str, ...]:
    """List what a write changes: the kernel sets `default` (new links) together with `all`."""
    if target == sysctls.DISABLE_IPV6_ALL:
        return (target, sysctls.DISABLE_IPV6_DEFAULT)
    return (target,)
