"""Removes all that a lab leaves on the machine once its processes are gone; safe to repeat."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from tests.cluster.cgroups import cgroup_owners, engine_owners, remove_cgroups
from tests.cluster.network import disconnect_machine, remembered_ids
from tests.cluster.options import state_root
from tests.cluster.process import run
from tests.cluster.record import claim_folder, claim_index


def clean(site_id: str, folder: Path | None) -> None:
    """Links, routes, the nft table, forwarding, cgroups and the folder of a lab.

    The caller holds the claims of the lab, or is one of its processes. Mounts need no cleaning:
    they are in the lab's own mount namespaces.
    """
    disconnect_machine(site_id)
    remove_cgroups(site_id)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> tuple[str, ...]:
    """Clean up after labs that died together with their keeper, and after engines whose owner
    died; returns what was found.
    """
    swept: list[str] = []
    for cgroup, owner in engine_owners().items():
        if not Path(f"/proc/{owner}").exists():
            remove_cgroups(cgroup)
            shutil.rmtree(Path(tempfile.gettempdir()) / cgroup, ignore_errors=True)
            swept.append(cgroup)
    for site_id in sorted(remaining_ids()):
        held = claim_index(int(site_id.removeprefix("mlab")))
        if held is None:
            continue
        with held:
            clean(site_id, None)
        swept.append(site_id)
    for record in state_root().glob("*/lab.json"):
        held = claim_folder(record.parent)
        if held is None:
            continue
        with held:
            shutil.rmtree(record.parent, ignore_errors=True)
        swept.append(record.parent.name)
    return tuple(swept)


def remaining_ids() -> set[str]:
    """The ids of all labs, alive or dead, that have something on this machine."""
    links = run("ip", "-brief", "link", check=False).stdout
    found = re.findall(r"^(mlab\d+)-up", links, flags=re.MULTILINE)
    return {*remembered_ids(), *cgroup_owners(), *found}
