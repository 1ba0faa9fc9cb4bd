"""The targets of a node by name: files (an absolute path) and network settings (a sysctl key).

Every read and write of a target goes through here, and so through the allowlist.
"""

from __future__ import annotations

from mirror.agent import allowlist, files, sysctls
from mirror.agent.host_paths import HostPaths
from mirror.snapshot import Snapshot, WriteConflict


def is_file(target: str) -> bool:
    """Whether a target is a file; if not, it is a sysctl key."""
    return target.startswith("/")


def read_target(host: HostPaths, target: str) -> Snapshot:
    """Return the content of a file or setting. Raises TargetError."""
    allowlist.check_target(target)
    if is_file(target):
        files.remove_leftovers(host, target)
        return files.read_file(host, target)
    return sysctls.read_sysctl(host, target)


def write_target(
    host: HostPaths, target: str, content: bytes | None, expected_version: str, metadata: str = ""
) -> Snapshot:
    """Write a target if it is at the expected version. Raises WriteConflict, TargetError."""
    current = read_target(host, target)
    if current.version != expected_version:
        raise WriteConflict(current.version)
    allowlist.check_change(target, current.content, content)
    if is_file(target):
        return files.write_file(host, target, content, expected_version)
    return sysctls.write_sysctl(host, target, content, expected_version, metadata)


def list_affected(target: str) -> tuple[str, ...]:
    """List what a write changes: the kernel sets `default` (new links) together with `all`."""
    if target == allowlist.DISABLE_IPV6_ALL:
        return (target, allowlist.DISABLE_IPV6_DEFAULT)
    return (target,)
