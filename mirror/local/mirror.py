"""The mirror on this machine: ordinary processes of a user, without root and without a cluster."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mirror import volume
from mirror.client import IndexClient
from mirror.core.codec import json_key
from mirror.core.errors import UnfitError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import Deadline
from mirror.http_pool import check_proxies
from mirror.local.processes import check_port_free, exclusive_lock
from mirror.local.services import LocalServices, find_nginx
from mirror.local.settings import LocalPaths, LocalSettings
from mirror.settings import Endpoint
from mirror.store.inventory import count_files
from mirror.store.prepare import create_private_folder, prepare_server, write_private_file

# in the data directory; `down --purge` removes these and nothing else
_DATA_FOLDERS = (*volume.DATA_FOLDERS, "secrets")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStatus:
    """The current state. ``proxy`` is "nginx" or "none (devpi alone)"."""

    state: str  # running, stopped, broken or absent
    endpoint: Endpoint
    proxy: str = field(metadata=json_key("front"))
    version: str
    data: Path
    cached_files: int
    cached_bytes: int
    log: Path


class LocalMirror:
    """The one local mirror of this user."""

    def __init__(self, home: Path | None = None) -> None:
        """``home`` puts all files into one directory, for tests; default: the user's own."""
        self.paths = LocalPaths.below(home) if home else LocalPaths.for_user()
        self.services = LocalServices(self.paths)

    def up(
        self, *, overrides: Mapping[str, Any], progress: Progress = SILENT, deadline: Deadline
    ) -> LocalStatus:
        """Start the mirror unless it runs with these settings; ``overrides`` replace saved ones."""
        with self._exclusive():
            saved = self.read_settings()
            settings = replace(saved, **overrides)
            if self.services.processes.is_running() and settings == saved:
                return self.read_status(deadline)
            check_proxies()
            if settings.port != saved.port or not self.services.processes.has_members():
                check_port_free(settings.port)  # before the running mirror is stopped
            self.services.stop()
            try:
                self._start(settings, progress, deadline)
            except BaseException:
                self.services.stop()  # what runs has the saved settings, or nothing runs
                raise
            settings.save(self.paths.settings_path)
            return self.read_status(deadline)

    def _start(self, settings: LocalSettings, progress: Progress, deadline: Deadline) -> None:
        progress.step("prepare the data folder")
        self._prepare(progress)
        has_nginx = find_nginx() is not None
        progress.step("start devpi" + (" and nginx" if has_nginx else ""))
        with IndexClient(settings.endpoint.root_url, deadline) as client:
            self.services.start(settings, client, progress, deadline)
            progress.step("make the indexes")
            client.login("root", self.read_root_password())
            client.ensure_indexes(settings.upstream, behind_proxy=has_nginx)

    def down(self, *, purge: bool, progress: Progress = SILENT) -> bool:
        """Stop the mirror; ``purge`` also removes its files. Returns whether there was any."""
        with self._exclusive():
            progress.step("stop the mirror on this machine")
            was_present = self.services.stop()
            if purge:
                was_present |= self.paths.data_dir.exists() or self.paths.settings_path.exists()
                self._purge()
            return was_present

    def read_status(self, deadline: Deadline) -> LocalStatus:
        """Return the current state; changes nothing."""
        endpoint = self.read_settings().endpoint
        records = self.services.processes.read_records()
        running = [name for name, record in records.items() if record.find()]
        with IndexClient(endpoint.root_url, deadline) as client:
            is_answering = bool(running) and client.is_alive()
            version = client.get_server_version() if is_answering else ""
        files, size = count_files(
            self.paths.server_dir / volume.DEVPI_FILES,
            self.paths.cache_dir / volume.FILES,
            self.paths.cache_dir / volume.PACKAGES,
        )
        if is_answering and len(running) == len(records):
            state = "running"
        elif running:
            state = "broken"
        else:
            state = "stopped" if self.paths.server_dir.exists() else "absent"
        has_proxy = "nginx" in records or (not records and find_nginx())
        return LocalStatus(
            state=state,
            endpoint=endpoint,
            proxy="nginx" if has_proxy else "none (devpi alone)",
            version=version,
            data=self.paths.data_dir,
            cached_files=files,
            cached_bytes=size,
            log=self.services.processes.log_path("devpi"),
        )

    def read_settings(self) -> LocalSettings:
        """Return the saved settings, or the defaults. Raises InputError for a broken file."""
        return LocalSettings.load(self.paths.settings_path)

    def require_endpoint(self, deadline: Deadline) -> Endpoint:
        """Return the endpoint of the running mirror. Raises UnfitError if it does not run."""
        endpoint = self.read_settings().endpoint
        with IndexClient(endpoint.root_url, deadline) as client:
            if self.services.processes.is_running() and client.is_alive():
                return endpoint
        raise UnfitError(
            "no mirror runs on this machine",
            why=f"no mirror of this user answers at {endpoint.root_url}",
            next_step="mirror up --local",
        )

    def read_root_password(self) -> str:
        """Return the password of devpi's user root."""
        return (self.paths.secrets_dir / "root-password").read_text()

    def _exclusive(self) -> AbstractContextManager[None]:
        return exclusive_lock(self.paths.state_dir / "lock")

    def _prepare(self, progress: Progress) -> None:
        """Create the directories, secrets and devpi's server directory."""
        paths = self.paths
        folders = (paths.data_dir, paths.state_dir, paths.settings_path.parent)
        for folder in (*folders, paths.secrets_dir):
            create_private_folder(folder)
        for name in ("root-password", "secretfile"):
            if not (paths.secrets_dir / name).exists():
                secret = secrets.token_urlsafe(48).encode()
                write_private_file(paths.secrets_dir / name, secret)
        prepare_server(
            serverdir=paths.server_dir,
            run_dir=paths.run_dir,
            secrets=paths.secrets_dir,
            program=_find_script("devpi-init"),
            report=progress.note,
        )

    def _purge(self) -> None:
        paths = self.paths
        folders = [paths.data_dir / name for name in _DATA_FOLDERS]
        for folder in (*folders, paths.run_dir, paths.nginx_dir, paths.warm_dir):
            shutil.rmtree(folder, ignore_errors=True)
        for log in paths.state_dir.glob("*.log"):
            log.unlink()
        paths.settings_path.unlink(missing_ok=True)
        for folder in (paths.data_dir, paths.settings_path.parent):
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


def _find_script(name: str) -> str:
    """Return a script of this environment, which need not be on PATH (uv tool, pipx)."""
    script = Path(sys.executable).with_name(name)
    return str(script) if script.exists() else name
