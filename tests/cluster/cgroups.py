"""The cgroups of the nodes, on cgroup v1 (one tree a controller) and on v2 (one tree)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.cluster.waiting import wait_for

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = frozenset(
    ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
)


def make_cgroup(name: str) -> None:
    """Create the cgroup that a node's kubelet hangs its pods under, in every controller."""
    if (ROOT / "cgroup.controllers").exists():
        for controller in (ROOT / "cgroup.controllers").read_text().split():
            # The kubelet names those that it misses; not every one can be had everywhere.
            with suppress(OSError):
                (ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
        (ROOT / name).mkdir(exist_ok=True)
        return
    for tree in _trees():
        if tree.name in CONTROLLERS:
            (tree / name).mkdir(exist_ok=True)
    cpus = ROOT / "cpuset"
    for key in ("cpuset.cpus", "cpuset.mems"):
        # A new cpuset starts empty, and no process can join an empty one.
        (cpus / name / key).write_text((cpus / key).read_text())


def remove_cgroups(prefix: str) -> None:
    """Remove every cgroup whose name is prefix or starts with prefix and a dash.

    Waits for processes that are still ending; raises NotInTime when some stay alive.
    """
    wait_for(f"the cgroups {prefix} to be empty", lambda: _removed(prefix), timeout=60)


def cgroup_owners() -> set[str]:
    """The ids of the labs that have cgroups."""
    names = (path.name for tree in _trees() for path in tree.glob("mlab*-*"))
    found = (re.match(r"(mlab\d+)-", name) for name in names)
    return {match[1] for match in found if match}


def cgroups_of(prefix: str) -> list[Path]:
    """Every cgroup whose name is prefix or starts with prefix and a dash."""
    names = (f"{prefix}-*", prefix)
    return [top for tree in _trees() for name in names for top in tree.glob(name)]


def _removed(prefix: str) -> bool:
    for top in cgroups_of(prefix):
        folders = sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True)
        for folder in (*folders, top):
            with suppress(FileNotFoundError):
                folder.rmdir()
    return not cgroups_of(prefix)


def _trees() -> Iterator[Path]:
    if (ROOT / "cgroup.controllers").exists():
        yield ROOT
        return
    for tree in ROOT.iterdir():
        if not tree.is_symlink() and (tree / "cgroup.procs").exists():
            yield tree
