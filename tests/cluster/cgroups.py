"""The nodes' cgroups, on cgroup v1 (one tree per controller) and v2 (one tree)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.cluster.waiting import wait_for

CGROUP_ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = frozenset(
    ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
)


def make_cgroup(name: str) -> None:
    """Create the parent cgroup of a node's pods in every controller."""
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        for controller in (CGROUP_ROOT / "cgroup.controllers").read_text().split():
            # Some controllers are unavailable on some machines; the kubelet reports those it needs.
            with suppress(OSError):
                (CGROUP_ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
        (CGROUP_ROOT / name).mkdir(exist_ok=True)
        return
    for tree in _list_trees():
        if tree.name in CONTROLLERS:
            (tree / name).mkdir(exist_ok=True)
    cpus = CGROUP_ROOT / "cpuset"
    for key in ("cpuset.cpus", "cpuset.mems"):
        # A new cpuset is empty, and no process can join an empty cpuset.
        (cpus / name / key).write_text((cpus / key).read_text())


def remove_cgroups(prefix: str) -> None:
    """Remove every cgroup called prefix or prefix-*.

    Waits for processes that are still ending. Raises ConditionTimeout if some stay alive.
    """
    wait_for(f"the cgroups {prefix} to be empty", lambda: _try_to_remove(prefix), timeout=60)


def list_cgroup_lab_ids() -> set[str]:
    """Return the ids of the labs that have cgroups."""
    names = (path.name for tree in _list_trees() for path in tree.glob("mlab*-*"))
    matches = (re.match(r"(mlab\d+)-", name) for name in names)
    return {match[1] for match in matches if match}


def list_cgroups(prefix: str) -> list[Path]:
    """Return every cgroup called prefix or prefix-*."""
    patterns = (f"{prefix}-*", prefix)
    return [top for tree in _list_trees() for pattern in patterns for top in tree.glob(pattern)]


def _try_to_remove(prefix: str) -> bool:
    for top in list_cgroups(prefix):
        folders = sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True)
        for folder in (*folders, top):
            with suppress(FileNotFoundError):
                folder.rmdir()
    return not list_cgroups(prefix)


def _list_trees() -> Iterator[Path]:
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        yield CGROUP_ROOT
        return
    for tree in CGROUP_ROOT.iterdir():
        if not tree.is_symlink() and (tree / "cgroup.procs").exists():
            yield tree
