"""Find everything that a lab could leave on the machine."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.cgroups import list_cgroups
from tests.cluster.lab import Lab
from tests.cluster.process import run
from tests.cluster.record import is_running, read_start_time

ProcessIdentity = tuple[int, str]


def list_processes(lab: Lab) -> frozenset[ProcessIdentity]:
    """Return the supervisor and all its descendants, each as PID and start time."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
    family = {lab.supervisor_pid}
    while children := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= children
    return frozenset((pid, read_start_time(pid)) for pid in family)


def find_leftovers(lab: Lab, processes: frozenset[ProcessIdentity]) -> list[str]:
    """Return a line for each process, mount, link, route, table, cgroup and file that is left."""
    name, folder = lab.site.id, str(lab.site.folder)
    left = [f"process {pid}" for pid, start in processes if _is_alive(pid, start)]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    left += [f"mount {line}" for line in mounts if folder in line]
    links = run("ip", "-brief", "link").stdout.splitlines()
    left += [f"link {line}" for line in links if line.startswith(name)]
    routes = run("ip", "route").stdout.splitlines()
    left += [f"route {line}" for line in routes if str(lab.site.node_network) in line]
    tables = run("nft", "list", "tables").stdout.splitlines()
    left += [f"nft {line}" for line in tables if line.endswith(f" {name}")]
    left += [f"cgroup {path}" for path in list_cgroups(name)]
    left += [f"folder {folder}"] if Path(folder).exists() else []
    left += [f"claim {folder}"] if is_running(Path(folder)) else []
    return left


def _is_alive(pid: int, start: str) -> bool:
    """Whether a process is alive. A zombie is not: it only waits for its parent to reap it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return read_start_time(pid) == start and state != "Z"
