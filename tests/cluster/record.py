"""The record of a running lab (lab.json), and machine-wide claims on names and indexes."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cache import digest
from tests.cluster.options import LabOptions, Site

MAX_LABS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRecord:
    """The contents of lab.json: all that a process needs to find, use and stop the lab."""

    options: LabOptions
    index: int
    folder: Path
    kubelite: Path
    store: Path
    supervisor_pid: int
    supervisor_start_time: str

    @property
    def site(self) -> Site:
        return Site(name=self.options.name, index=self.index, folder=self.folder)

    def save(self) -> None:
        data = {
            "options": json.loads(self.options.to_json()),
            "index": self.index,
            "kubelite": str(self.kubelite),
            "store": str(self.store),
            "supervisor_pid": self.supervisor_pid,
            "supervisor_start_time": self.supervisor_start_time,
        }
        (self.folder / "lab.json").write_text(json.dumps(data, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> LabRecord | None:
        """Return the record in this folder, or None if there is no readable one."""
        try:
            data = json.loads((folder / "lab.json").read_text())
            return cls(
                options=LabOptions.from_json(json.dumps(data["options"])),
                index=data["index"],
                folder=folder,
                kubelite=Path(data["kubelite"]),
                store=Path(data["store"]),
                supervisor_pid=data["supervisor_pid"],
                supervisor_start_time=data["supervisor_start_time"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def read_start_time(pid: int) -> str:
    """Return a process's start time in clock ticks since boot, or "" if it does not exist.

    PID and start time together identify a process even after its PID is reused.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def claim(name: str) -> socket.socket | None:
    """Claim a name on this machine until the socket is closed; return None if it is taken.

    An abstract socket leaves no file behind, and the kernel frees it when the last process that
    has it open ends.
    """
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claimed.bind(f"\0pypi-mirror-lab-{name}")
    except OSError:
        claimed.close()
        return None
    return claimed


def claim_folder(folder: Path) -> socket.socket | None:
    return claim(f"folder-{digest(str(folder))}")


def claim_index(index: int) -> socket.socket | None:
    return claim(f"index-{index}")


def is_running(folder: Path) -> bool:
    """Whether any process of the lab in this folder is alive."""
    claimed = claim_folder(folder)
    if claimed is None:
        return True
    claimed.close()
    return False
