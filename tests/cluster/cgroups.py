"""The cgroups of the nodes, on cgroup v1 (one tree a controller) and on v2 (one tree)."""

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
    """Create the cgroup that a node's kubelet hangs its pods under, in every controller."""
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        for controller in (CGROUP_ROOT / "cgroup.controllers").read_text().split():
            # The kubelet names those that it misses; not every one can be had everywhere.
            with suppress(OSError):
                (CGROUP_ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
        (CGROUP_ROOT / name).mkdir(exist_ok=True)
        return
    for tree in _trees():
        if tree.name in CONTROLLERS:
            (tree / name).mkdir(exist_ok=True)
    cpus = CGROUP_ROOT / "cpuset"
    for key in ("cpuset.cpus", "cpuset.mems"):
        # A new cpuset starts empty, and no process can join an empty one.
        (cpus / name / key).write_text((cpus / key).read_text())


def remove_cgroups(prefix: str) -> None:
    """Remove every cgroup whose name is prefix or starts with prefix and a dash.

    Waits for processes that are still ending; raises NotInTime when some stay alive.
    """
    wait_for(f"the cgroups {prefix} to be empty", lambda: _removed(prefix), timeout=60)


def list_cgroup_lab_ids() -> set[str]:
    """The ids of the labs that have cgroups."""
    names = (path.name for tree in _trees() for path in tree.glob("mlab*-*"))
    found = (re.match(r"(mlab\d+)-", name) for name in names)
    return {match[1] for match in found if match}


def list_cgroups(prefix: str) -> list[Path]:
    """Every cgroup whose name is prefix or starts with prefix and a dash."""
    names = (f"{prefix}-*", prefix)
    return [top for tree in _trees() for name in names for top in tree.glob(name)]


def _removed(prefix: str) -> bool:
    for top in list_cgroups(prefix):
        folders = sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True)
        for folder in (*folders, top):
            with suppress(FileNotFoundError):
                folder.rmdir()
    return not list_cgroups(prefix)


def _trees() -> Iterator[Path]:
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        yield CGROUP_ROOT
        return
    for tree in CGROUP_ROOT.iterdir():
        if not tree.is_symlink() and (tree / "cgroup.procs").exists():
            yield tree
