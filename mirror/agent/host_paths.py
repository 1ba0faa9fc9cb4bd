"""Where the host's files stand for the agent, and which of them it may touch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC_SYS_NET = Path("/proc/sys/net")  # of a hostNetwork pod: the host's
ETC = PurePosixPath("/etc")
CNI_DIRECTORIES = (PurePosixPath("/opt/cni/bin"), PurePosixPath("/var/snap/microk8s/current"))
STATE_DIRECTORY = ETC / "pypi-mirror"  # what the agent keeps on the node: previous values


class TargetError(Exception):
    """The agent does not do this; its text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPaths:
    """The host's folders as the agent's pod has them: ``root``/etc, ``root``/cni, and ``net``.

    ``cni`` is the host's path of the second: plugins on a plain host, all of it on MicroK8s.
    ``net`` has the settings of the network.
    """

    root: Path = Path("/host")
    net: Path = PROC_SYS_NET
    cni: PurePosixPath = CNI_DIRECTORIES[0]

    def resolve_file(self, path: str) -> Path:
        """A file of the host, by its path there. Raises Refused outside of the two folders."""
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts:
            raise TargetError(f"{path} is no absolute path")
        for home, here in ((ETC, self.root / "etc"), (self.cni, self.root / "cni")):
            if pure.is_relative_to(home) and pure != home:
                found = here / pure.relative_to(home)
                if not found.parent.resolve().is_relative_to(here.resolve()):
                    raise TargetError(f"{path} leads out of {home} by a symbolic link")
                return found
        raise TargetError(f"{path} is neither under {ETC} nor under {self.cni}")

    def resolve_sysctl(self, key: str) -> Path:
        """The file of a net.* setting. Raises Refused for others."""
        parts = key.split(".")
        if parts[0] != "net" or any(not part or "/" in part for part in parts):
            raise TargetError(f"{key} is no setting of the network")
        return self.net.joinpath(*parts[1:])
