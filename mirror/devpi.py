"""devpi-server for this load: settings → argv and environment. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from mirror.settings import MAX_UPLOAD, ServerSettings

BACKEND_PORT = 3142  # loopback, behind the front


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where one devpi keeps its things. The run folder is private: devpi insists on it."""

    serverdir: PurePath
    run: PurePath  # secrets, mode 0700

    @property
    def secretfile(self) -> PurePath:
        return self.run / "secretfile"

    @property
    def init_config(self) -> PurePath:
        return self.run / "devpi-init.yml"


def init_argv(program: str, layout: Layout) -> tuple[str, ...]:
    """Make a new server. The password stands in the configuration file, not in argv.

    root/pypi is made later with its settings: as devpi makes it, the first thing it does is to
    fetch the names of all projects.
    """
    return (
        program,
        "--serverdir",
        str(layout.serverdir),
        "--configfile",
        str(layout.init_config),
        "--no-root-pypi",
    )


def server_argv(
    program: str, layout: Layout, settings: ServerSettings, *, port: int
) -> tuple[str, ...]:
    """Serve on loopback. Each option's reason: docs/reliability.md."""
    return (
        program,
        "--serverdir",
        str(layout.serverdir),
        "--secretfile",
        str(layout.secretfile),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--threads",
        str(settings.threads),
        "--request-timeout",
        str(settings.request_timeout),
        "--max-request-body-size",
        str(MAX_UPLOAD),
        "--restrict-modify",
        "root",
    )


def environment(ca_bundle: str | None) -> dict[str, str]:
    """What devpi's HTTP clients read when the network intercepts TLS."""
    if ca_bundle is None:
        return {}
    return {"REQUESTS_CA_BUNDLE": ca_bundle, "SSL_CERT_FILE": ca_bundle}


def mirror_index_config(upstream: str) -> dict[str, object]:
    """root/pypi: without the list of all names, which takes minutes and hundreds of MB."""
    return {
        "type": "mirror",
        "volatile": False,
        "mirror_url": upstream,
        "mirror_no_project_list": True,
    }


def workloads_index_config(base: str) -> dict[str, object]:
    """workloads/stable: releases cannot be replaced, and no name mixes with a public one.

    An empty mirror_whitelist is what keeps them apart: a name that is here is served from here
    alone.
    """
    return {
        "type": "stage",
        "bases": [base],
        "volatile": False,
        "acl_upload": ["root"],
        "mirror_whitelist": [],
    }


def default_upstream() -> str:
    """devpi's own default upstream, read from devpi itself. Imports devpi-server: slow (1 s)."""
    from devpi_server.main import _pypi_ixconfig_default

    return str(_pypi_ixconfig_default["mirror_url"])
