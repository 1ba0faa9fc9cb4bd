"""Start and stop the programs of the local mirror: devpi, the cache and nginx.

nginx listens on the mirror's port and passes requests on to devpi (private packages) and to
the cache (public indexes), which listen on free loopback ports. Without nginx, devpi listens
on the mirror's port and serves both.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

from mirror import devpi, nginx, volume
from mirror.client import IndexClient
from mirror.core.errors import MirrorError, UnfitError, WaitTimeout
from mirror.core.progress import Progress
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import (
    BackgroundProcesses,
    check_port_free,
    find_free_port,
    write_atomically,
)
from mirror.local.settings import LocalPaths, LocalSettings
from mirror.settings import ServerSettings

_PORT_TAKEN = "Address already in use"
_START_ATTEMPTS = 3
# devpi ignores SIGTERM; nginx gets it, since SIGQUIT would wait for running transfers
_STOP_SIGNALS = {"devpi": signal.SIGINT}
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # where distributions install nginx


class LocalServices:
    """The background processes of the local mirror."""

    def __init__(self, paths: LocalPaths) -> None:
        self._paths = paths
        self.processes = BackgroundProcesses(paths.state_dir)

    def start(
        self, settings: LocalSettings, client: IndexClient, progress: Progress, deadline: Deadline
    ) -> None:
        """Start all programs; return when ``client`` gets an answer from the mirror.

        Another process may take one of the inner ports between the choice and the start. The
        programs then start again with other ports.
        """
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._start_once(settings, progress)
            try:
                self._wait_until_ready(client, deadline)
            except UnfitError as error:
                if attempt == _START_ATTEMPTS or _PORT_TAKEN not in error.why:
                    raise
            else:
                return

    def stop(self) -> bool:
        """Stop all programs. Returns whether any was running."""
        return self.processes.stop(_STOP_SIGNALS)

    def _start_once(self, settings: LocalSettings, progress: Progress) -> None:
        nginx_program = find_nginx()
        check_port_free(settings.port)
        if nginx_program is None and not settings.rules.are_plain:
            raise UnfitError(
                "several upstreams and rules for packages need nginx",
                why="without it, devpi serves alone, and knows one upstream and no rules",
                next_step="sudo apt-get install nginx-light",
            )
        if nginx_program is None:
            progress.note("no nginx found on this machine: devpi serves alone (slower)")
            self._start_devpi(settings, settings.port)
            return
        devpi_port, cache_port = find_free_port(), find_free_port()
        self._start_devpi(settings, devpi_port)
        self._start_cache(settings, cache_port)
        self._start_nginx(nginx_program, settings, devpi_port, cache_port)

    def _start_devpi(self, settings: LocalSettings, port: int) -> None:
        argv = devpi.build_server_argv(
            sys.executable,
            devpi.DevpiPaths(serverdir=self._paths.server_dir, run_dir=self._paths.run_dir),
            ServerSettings(upstream=settings.upstream),
            port=port,
            markers=self._paths.data_dir / volume.PRIVATE,
        )
        self.processes.start("devpi", argv, devpi.build_ca_environment(settings.ca_bundle))

    def _start_cache(self, settings: LocalSettings, port: int) -> None:
        argv = devpi.build_cache_argv(
            sys.executable,
            root=self._paths.cache_dir,
            port=port,
            upstream=settings.upstream,
            ca_bundle=settings.ca_bundle,
            requests=self._paths.nginx_dir / nginx.REQUEST_LOG,
            rules=settings.rules,
        )
        self.processes.start("public", argv, devpi.build_cache_environment())

    def _start_nginx(
        self, program: str, settings: LocalSettings, devpi_port: int, cache_port: int
    ) -> None:
        scratch = self._paths.nginx_dir
        scratch.mkdir(exist_ok=True)
        config = scratch / "nginx.conf"
        text = nginx.render_config(
            listen=f"127.0.0.1:{settings.port}",
            devpi_port=devpi_port,
            cache_port=cache_port,
            data=self._paths.data_dir,
            scratch=scratch,
            user="root" if os.getuid() == 0 else None,
            has_rules=not settings.rules.are_plain,
            allowed_hosts=settings.allow_hosts,
        )
        write_atomically(config, text)
        self.processes.start("nginx", nginx.build_argv(program, scratch, config))

    def _wait_until_ready(self, client: IndexClient, deadline: Deadline) -> None:
        def is_ready() -> bool:
            for name, record in self.processes.read_records().items():
                if record.find() is None:
                    raise UnfitError(
                        f"{name} exited while it was starting",
                        why=self.processes.read_log_tail(name),
                        next_step=f"see {self.processes.log_path(name)}",
                    )
            return client.is_alive()

        try:
            wait_until(is_ready, deadline=deadline, what="the mirror answers", max_interval=0.3)
        except (MirrorError, KeyboardInterrupt) as error:
            self.stop()
            if isinstance(error, WaitTimeout):
                log = self.processes.read_log_tail("devpi")
                raise WaitTimeout(error.what, why=log) from error
            raise


def find_nginx() -> str | None:
    """Return the path of nginx, or None if it is not installed."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + _SYSTEM_PATH)
