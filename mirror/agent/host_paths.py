"""Where the agent's pod mounts the host's folders, and which files it may touch."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC_SYS_NET = Path("/proc/sys/net")  # in a hostNetwork pod these are the host's settings
ETC = PurePosixPath("/etc")
MICROK8S_CNI_DIRECTORY = PurePosixPath("/var/snap/microk8s/current")
CNI_DIRECTORIES = (PurePosixPath("/opt/cni/bin"), MICROK8S_CNI_DIRECTORY)
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
STATE_DIRECTORY = ETC / "pypi-mirror"  # the agent's own files: previous values, the desired state


class TargetError(Exception):
    """A target cannot be read or written; the text is the reason."""


class NotAllowedError(TargetError):
    """The agent refuses a target or a change, whoever asks for it; see mirror.agent.allowlist."""


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
        mounted, parts = self._locate(path)
        return mounted.joinpath(*parts)

    @contextmanager
    def open_folder(self, path: str, *, create: bool = False) -> Iterator[int]:
        """Open the folder of a file, from its mount downwards, and follow no symbolic link.

        The descriptor stays on that folder, whatever is renamed meanwhile. ``create`` makes missing
        folders. Raises FileNotFoundError, TargetError.
        """
        mounted, parts = self._locate(path)
        with ExitStack() as stack:
            fd = os.open(mounted, _OPEN_FOLDER)
            stack.callback(os.close, fd)
            for name in parts[:-1]:
                fd = _open_subfolder(fd, name, path, create=create)
                stack.callback(os.close, fd)
            yield fd

    def _locate(self, path: str) -> tuple[Path, tuple[str, ...]]:
        """Return the mount that has a file of the host, and the path below it."""
        pure = PurePosixPath(path)
        if not pure.is_absolute() or str(pure) != path or {"..", "\0"} & {*pure.parts, *path}:
            raise TargetError(f"{path!r:.200} is not a plain absolute path")
        for on_host, mounted in ((ETC, self.root / "etc"), (self.cni, self.root / "cni")):
            if pure.is_relative_to(on_host) and pure != on_host:
                return mounted, pure.relative_to(on_host).parts
        raise TargetError(f"{path!r:.200} is neither under {ETC} nor under {self.cni}")

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


def _open_subfolder(fd: int, name: str, path: str, *, create: bool) -> int:
    try:
        return os.open(name, _OPEN_FOLDER, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
        os.mkdir(name, 0o755, dir_fd=fd)
        return os.open(name, _OPEN_FOLDER, dir_fd=fd)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            why = f"{path}: {name} is a symbolic link or no folder"
            raise TargetError(f"{why}, and the agent follows no links") from None
        raise
