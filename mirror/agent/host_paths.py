"""Where the agent's pod mounts the host's folders, and which files it may touch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC_SYS_NET = Path("/proc/sys/net")  # in a hostNetwork pod these are the host's settings
ETC = PurePosixPath("/etc")
CNI_DIRECTORIES = (PurePosixPath("/opt/cni/bin"), PurePosixPath("/var/snap/microk8s/current"))
STATE_DIRECTORY = ETC / "pypi-mirror"  # the agent's own files: previous values, the desired state


class TargetError(Exception):
    """A target cannot be read or written; the text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPaths:
    """The host's folders inside the agent's pod: ``root``/etc, ``root``/cni, and ``net``.

    ``cni`` is the path on the host of ``root``/cni: the folder of the plugins, or on MicroK8s the
    folder that has everything. ``net`` has the network's settings.
    """

    root: Path = Path("/host")
    net: Path = PROC_SYS_NET
    cni: PurePosixPath = CNI_DIRECTORIES[0]

    def resolve_file(self, path: str) -> Path:
        """Return where a file of the host is in the pod. Raises TargetError for other folders."""
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts:
            raise TargetError(f"{path} is not an absolute path")
        for on_host, mounted in ((ETC, self.root / "etc"), (self.cni, self.root / "cni")):
            if pure.is_relative_to(on_host) and pure != on_host:
                file = mounted / pure.relative_to(on_host)
                if not file.parent.resolve().is_relative_to(mounted.resolve()):
                    raise TargetError(f"a symbolic link in {path} leads out of {on_host}")
                return file
        raise TargetError(f"{path} is neither under {ETC} nor under {self.cni}")

    def resolve_sysctl(self, key: str) -> Path:
        """Return the file of a net.* setting. Raises TargetError for other keys."""
        parts = key.split(".")
        if parts[0] != "net" or any(not part or "/" in part for part in parts):
            raise TargetError(f"{key} is not a network setting")
        return self.net.joinpath(*parts[1:])

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock that serializes the agent's processes on a host: `serve` and every `do`."""
        fd = os.open(self.root / "etc", os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
