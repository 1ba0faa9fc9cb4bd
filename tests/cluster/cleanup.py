"""Removes all that a lab leaves on the machine once its processes are gone; safe to repeat."""

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
"""An engine is called by this, the pid of the process that wanted it, a dash and a number."""

LOG_SECONDS = 3 * 24 * 3600.0


def clean_lab(site_id: str, folder: Path | None) -> None:
    """Links, routes, the nft table, forwarding, cgroups and the folder of a lab.

    The caller holds the claims of the lab, or is one of its processes. Mounts need no cleaning:
    they are in the lab's own mount namespaces.
    """
    disconnect_machine(site_id)
    remove_cgroups(site_id)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def engine_socket_folder(engine: str) -> Path:
    """The folder of an engine's socket; not in its own, as a socket's path may have 107 bytes."""
    return Path(tempfile.gettempdir()) / engine


def clean_engine(engine: str) -> None:
    """What a Docker engine leaves outside of its data folder, once its processes are gone."""
    shutil.rmtree(engine_socket_folder(engine), ignore_errors=True)
    remove_cgroups(engine)


def clean_dead_labs() -> tuple[str, ...]:
    """Clean up after labs that died together with their keeper, and after engines whose owner
    died; returns what was found.
    """
    swept: list[str] = []
    for engine, owner in _engines().items():
        if not Path(f"/proc/{owner}").exists():
            clean_engine(engine)
            swept.append(engine)
    for site_id in sorted(find_lab_ids()):
        held = claim_index(int(site_id.removeprefix("mlab")))
        if held is None:
            continue
        with held:
            clean_lab(site_id, None)
        swept.append(site_id)
    for record in state_root().glob("*/lab.json"):
        held = claim_folder(record.parent)
        if held is None:
            continue
        with held:
            shutil.rmtree(record.parent, ignore_errors=True)
        swept.append(record.parent.name)
    _forget_old_logs()
    return tuple(swept)


def _engines() -> dict[str, int]:
    """The engines of which something is left, alive or dead, with the pids of their owners."""
    paths = (
        *CGROUP_ROOT.glob(f"*/{ENGINE_PREFIX}*"),
        *CGROUP_ROOT.glob(f"{ENGINE_PREFIX}*"),
        *engine_socket_folder("").glob("*"),
    )
    found = (re.fullmatch(rf"{ENGINE_PREFIX}(\d+)-\d+", path.name) for path in paths)
    return {match[0]: int(match[1]) for match in found if match}


def _forget_old_logs() -> None:
    for path in (state_root() / "logs").glob("*"):
        with suppress(FileNotFoundError):  # another lab's start does the same
            if path.stat().st_mtime < time.time() - LOG_SECONDS:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def find_lab_ids() -> set[str]:
    """The ids of all labs, alive or dead, that have something on this machine."""
    links = run("ip", "-brief", "link", check=False).stdout
    found = re.findall(r"^(mlab\d+)-up", links, flags=re.MULTILINE)
    return {*list_lab_ids(), *list_cgroup_lab_ids(), *found}
