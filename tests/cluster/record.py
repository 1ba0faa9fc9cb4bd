"""What a running lab writes down about itself, and the claims by which labs keep apart."""

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
    """lab.json in the lab's folder: enough for any process to find, use and end the lab."""

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
        """The record in this folder, or None where there is none that can be read."""
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
    """When a process started, in clock ticks since boot: with its pid this names it for good.

    Empty when there is no such process.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def claim(what: str) -> socket.socket | None:
    """Hold a name on this machine until the socket is closed, or None when another holds it.

    An abstract socket leaves no file behind, and the kernel frees it with the last process that
    has it, however that ends.
    """
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(f"\0pypi-mirror-lab-{what}")
    except OSError:
        held.close()
        return None
    return held


def claim_folder(folder: Path) -> socket.socket | None:
    return claim(f"folder-{digest(str(folder))}")


def claim_index(index: int) -> socket.socket | None:
    return claim(f"index-{index}")


def is_running(folder: Path) -> bool:
    """Whether some process of the lab of this folder still runs."""
    held = claim_folder(folder)
    if held is None:
        return True
    held.close()
    return False
