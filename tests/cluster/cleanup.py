"""Remove everything that a lab or a Docker engine leaves on the machine. Safe to repeat."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.cluster.cgroups import CGROUP_ROOT, list_cgroup_lab_ids, remove_cgroups
from tests.cluster.network import disconnect_machine, list_lab_ids
from tests.cluster.options import state_root
from tests.cluster.process import run
from tests.cluster.record import claim_folder, claim_index

ENGINE_PREFIX = "mlabengine"
"""An engine is called `mlabenginePID-NUMBER`; PID is the process that owns it."""

LOG_SECONDS = 3 * 24 * 3600.0


def clean_lab(site_id: str, folder: Path | None) -> None:
    """Remove a lab's links, routes, nft table, cgroups and folder, and restore IP forwarding.

    The caller must hold the lab's claims or be one of its processes. Mounts need no cleanup: they
    are in the lab's own mount namespaces.
    """
    disconnect_machine(site_id)
    remove_cgroups(site_id)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def engine_socket_folder(engine: str) -> Path:
    """Return the folder of an engine's socket.

    It is outside the engine's data folder because a socket path is limited to 107 bytes.
    """
    return Path(tempfile.gettempdir()) / engine


def clean_engine(engine: str) -> None:
    """Remove what a stopped Docker engine leaves outside its data folder."""
    shutil.rmtree(engine_socket_folder(engine), ignore_errors=True)
    remove_cgroups(engine)


def clean_dead_labs() -> tuple[str, ...]:
    """Clean up after dead labs and after engines whose owner died; return their names."""
    cleaned: list[str] = []
    for engine, owner in _list_engines().items():
        if not Path(f"/proc/{owner}").exists():
            clean_engine(engine)
            cleaned.append(engine)
    for site_id in sorted(find_lab_ids()):
        claimed = claim_index(int(site_id.removeprefix("mlab")))
        if claimed is None:
            continue
        with claimed:
            clean_lab(site_id, None)
        cleaned.append(site_id)
    for record in state_root().glob("*/lab.json"):
        claimed = claim_folder(record.parent)
        if claimed is None:
            continue
        with claimed:
            shutil.rmtree(record.parent, ignore_errors=True)
        cleaned.append(record.parent.name)
    _remove_old_logs()
    return tuple(cleaned)


def _list_engines() -> dict[str, int]:
    """Return all engines that left something behind, dead or alive: name → PID of the owner."""
    paths = (
        *CGROUP_ROOT.glob(f"*/{ENGINE_PREFIX}*"),
        *CGROUP_ROOT.glob(f"{ENGINE_PREFIX}*"),
        *engine_socket_folder("").glob("*"),
    )
    matches = (re.fullmatch(rf"{ENGINE_PREFIX}(\d+)-\d+", path.name) for path in paths)
    return {match[0]: int(match[1]) for match in matches if match}


def _remove_old_logs() -> None:
    for path in (state_root() / "logs").glob("*"):
        with suppress(FileNotFoundError):  # another lab that starts may remove the same file
            if path.stat().st_mtime < time.time() - LOG_SECONDS:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def find_lab_ids() -> set[str]:
    """Return the ids of all labs, dead or alive, that have something on this machine."""
    links = run("ip", "-brief", "link", check=False).stdout
    with_link = re.findall(r"^(mlab\d+)-up", links, flags=re.MULTILINE)
    return {*list_lab_ids(), *list_cgroup_lab_ids(), *with_link}
