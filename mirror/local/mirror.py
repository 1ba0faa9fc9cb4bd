"""The mirror on this machine: devpi and nginx as ordinary processes, no root, no cluster."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import platformdirs

from mirror import devpi, nginx
from mirror.cache.page_store import count_files
from mirror.client import IndexClient
from mirror.core.errors import InputError, MirrorError, UnfitError, WaitTimeout
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import (
    BackgroundProcesses,
    check_port_free,
    exclusive_lock,
    find_free_port,
    write_atomically,
)
from mirror.settings import DEFAULT_PORT, Endpoint, ServerSettings, check_index_url, check_port
from mirror.store.prepare import prepare_server

_APP = "pypi-mirror"
_TAKEN = "Address already in use"
_STOP = {"nginx": signal.SIGQUIT, "devpi": signal.SIGINT}  # devpi ignores SIGTERM
_KEPT = ("devpi", "public", "private", "backups", "damaged", "secrets")  # below the data folder
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # where distributions put nginx


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What `up --local` was told; kept, so that the next `up` needs no options."""

    port: int = DEFAULT_PORT
    upstream: str | None = None
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        check_port(self.port)
        if self.upstream is not None:
            check_index_url(self.upstream)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStatus:
    """What is there now. ``front`` is "nginx" or "none (devpi alone)"."""

    state: str  # running, stopped, broken or absent
    endpoint: Endpoint
    front: str
    version: str
    data: Path
    cached_files: int
    cached_bytes: int
    log: Path


class LocalMirror:
    """The one local mirror of this user."""

    def __init__(self, home: Path | None = None) -> None:
        """``home`` puts everything below one folder, for tests; default: the platform's folders."""
        dirs = platformdirs.PlatformDirs(_APP, appauthor=False)
        self.data_dir = home / "data" if home else dirs.user_data_path
        self.state_dir = home / "state" if home else dirs.user_state_path
        self.settings_path = (home / "config" if home else dirs.user_config_path) / "local.json"
        self.server_dir = self.data_dir / "devpi"
        self._secrets = self.data_dir / "secrets"
        self._processes = BackgroundProcesses(self.state_dir)

    # -- verbs ----------------------------------------------------------------------------------

    def up(
        self,
        *,
        overrides: Mapping[str, Any],
        progress: Progress = SILENT,
        deadline: Deadline,
    ) -> LocalStatus:
        """Start, or find running; returns when packages can be installed.

        ``changes`` are the settings that were given now; the others stay as they were.
        """
        with exclusive_lock(self.state_dir / "lock"):
            before = self.read_settings()
            settings = replace(before, **overrides)
            if self._processes.is_running() and settings == before:
                return self.read_status(deadline)
            self._processes.stop(_STOP)
            progress.step("prepare the data folder")
            self._prepare(settings, progress)
            progress.step("start devpi" + (" and nginx" if _nginx() else ""))
            endpoint = _endpoint(settings)
            with IndexClient(endpoint.root_url, deadline) as client:
                self._start_until_ready(settings, client, deadline, progress)
                progress.step("make the indexes")
                client.login("root", self.read_root_password())
                client.ensure_indexes(settings.upstream, behind_proxy=_nginx() is not None)
            return self.read_status(deadline)

    def down(self, *, purge: bool, progress: Progress = SILENT) -> bool:
        """Stop; with ``purge`` remove packages, settings and secrets too. True if anything was."""
        with exclusive_lock(self.state_dir / "lock"):
            progress.step("stop the mirror on this machine")
            stopped = self._processes.stop(_STOP)
            if purge:
                stopped = stopped or self.data_dir.exists() or self.settings_path.exists()
                folders = [self.data_dir / name for name in _KEPT]
                for folder in (*folders, self.state_dir / "run", self.state_dir / "nginx"):
                    shutil.rmtree(folder, ignore_errors=True)
                for log in self.state_dir.glob("*.log"):
                    log.unlink()
                self.settings_path.unlink(missing_ok=True)
                for folder in (self.data_dir, self.settings_path.parent):
                    _remove_empty(folder)
            return stopped

    def read_status(self, deadline: Deadline) -> LocalStatus:
        """Look, change nothing."""
        settings = self.read_settings()
        endpoint = _endpoint(settings)
        known = self._processes.read_records()
        alive = [name for name, one in known.items() if one.find()]
        version = ""
        with IndexClient(endpoint.root_url, deadline) as client:
            answers = bool(alive) and client.is_alive()
            version = client.get_server_version() if answers else ""
        files, size = count_files(self.server_dir / "+files", self.data_dir / "public/files")
        if answers and len(alive) == len(known):
            state = "running"
        elif alive:
            state = "broken"
        else:
            state = "stopped" if self.server_dir.exists() else "absent"
        return LocalStatus(
            state=state,
            endpoint=endpoint,
            front="nginx" if "nginx" in known or (not known and _nginx()) else "none (devpi alone)",
            version=version,
            data=self.data_dir,
            cached_files=files,
            cached_bytes=size,
            log=self.state_dir / "devpi.log",
        )

    def read_settings(self) -> LocalSettings:
        """The kept settings, or the defaults."""
        try:
            kept = json.loads(self.settings_path.read_text())
            return LocalSettings(**kept)
        except FileNotFoundError:
            return LocalSettings()
        except (OSError, ValueError, TypeError, MirrorError) as broken:
            raise InputError(
                f"the settings cannot be read: {self.settings_path}",
                why=str(broken),
                next_step=f"mend the file, or remove it: rm {self.settings_path}",
            ) from broken

    def require_endpoint(self, deadline: Deadline) -> Endpoint:
        """Where the mirror answers now, or UnfitError."""
        endpoint = _endpoint(self.read_settings())
        with IndexClient(endpoint.root_url, deadline) as client:
            if self._processes.is_running() and client.is_alive():
                return endpoint
        raise UnfitError(
            "no mirror runs on this machine",
            why=f"nothing of ours answers at {endpoint.root_url}",
            next_step="mirror up --local",
        )

    def read_root_password(self) -> str:
        """The password of devpi's root user."""
        return (self._secrets / "root-password").read_text()

    # -- steps ----------------------------------------------------------------------------------

    def _prepare(self, settings: LocalSettings, progress: Progress) -> None:
        for folder in (self.data_dir, self.state_dir, self.settings_path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._secrets.mkdir(mode=0o700, exist_ok=True)
        for name in ("root-password", "secretfile"):
            path = self._secrets / name
            if not path.exists():
                with os.fdopen(
                    os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
                ) as f:
                    f.write(secrets.token_urlsafe(48))
        prepare_server(
            serverdir=self.server_dir,
            run_dir=self.state_dir / "run",
            secrets=self._secrets,
            program=_script("devpi-init"),
            report=progress.note,
        )
        write_atomically(self.settings_path, json.dumps(asdict(settings), indent=2))

    def _start(self, settings: LocalSettings, progress: Progress) -> None:
        front = _nginx()
        check_port_free(settings.port)
        backend, public = (find_free_port(), find_free_port()) if front else (settings.port, None)
        if not front:
            progress.note("no nginx found on this machine: devpi serves alone (slower)")
        server = devpi.build_server_argv(
            sys.executable,
            devpi.DevpiPaths(serverdir=self.server_dir, run_dir=self.state_dir / "run"),
            ServerSettings(upstream=settings.upstream),
            port=backend,
            markers=self.data_dir / "private",
        )
        env = {**os.environ, **devpi.build_ca_environment(settings.ca_bundle)}
        self._processes.start("devpi", server, env)
        if front and public:
            program = devpi.build_cache_argv(
                sys.executable,
                root=self.data_dir / "public",
                port=public,
                upstream=settings.upstream,
                ca_bundle=settings.ca_bundle,
            )
            self._processes.start(
                "public", program, {**os.environ, **devpi.build_cache_environment()}
            )
            scratch = self.state_dir / "nginx"
            scratch.mkdir(exist_ok=True)
            config = scratch / "nginx.conf"
            text = nginx.render_config(
                listen=f"127.0.0.1:{settings.port}",
                devpi_port=backend,
                cache_port=public,
                data=self.data_dir,
                scratch=scratch,
                user="root" if os.getuid() == 0 else None,
            )
            write_atomically(config, text)
            self._processes.start(
                "nginx", nginx.build_argv(front, scratch, config), dict(os.environ)
            )

    def _start_until_ready(
        self, settings: LocalSettings, client: IndexClient, deadline: Deadline, progress: Progress
    ) -> None:
        """The inner ports were free when they were chosen: who lost one since gets others."""
        for left in (2, 1, 0):
            self._start(settings, progress)
            try:
                self._until_ready(client, deadline)
            except UnfitError as ended:
                if not left or _TAKEN not in ended.why:
                    raise
            else:
                return

    def _until_ready(self, client: IndexClient, deadline: Deadline) -> None:
        def look() -> bool:
            for name, one in self._processes.read_records().items():
                if one.find() is None:
                    raise UnfitError(
                        f"{name} ended while it started",
                        why=self._processes.read_log_tail(name),
                        next_step=f"see {self.state_dir / name}.log",
                    )
            return client.is_alive()

        try:
            wait_until(look, deadline=deadline, what="the mirror answers", max_interval=0.3)
        except (MirrorError, KeyboardInterrupt) as stopped:
            self._processes.stop(_STOP)
            if isinstance(stopped, WaitTimeout):
                raise WaitTimeout(
                    stopped.what, why=self._processes.read_log_tail("devpi")
                ) from stopped
            raise


def _endpoint(settings: LocalSettings) -> Endpoint:
    return Endpoint(address=IPv4Address("127.0.0.1"), port=settings.port)


def _nginx() -> str | None:
    return shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + _SYSTEM_PATH)


def _script(name: str) -> str:
    """A program of our own environment, which need not be on PATH (uv tool, pipx)."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def _remove_empty(folder: Path) -> None:
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
