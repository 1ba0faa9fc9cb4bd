"""devpi-server for this load: settings → argv and environment. Pure."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath

from mirror.core.errors import UnfitError
from mirror.settings import MAX_UPLOAD_BYTES, ServerSettings

DEVPI_PORT = 3142  # loopback, behind the front
CACHE_PORT = 3144  # loopback: the program of mirror.cache
# devpi stretches its secret into a key with 16 passes over 512 MB at each start; ours is 48 random
# bytes (never a person's password), which no stretching makes stronger
_KEY = (
    *("--argon2-memory-cost", "8192"),  # KiB
    *("--argon2-time-cost", "1"),
    *("--argon2-parallelism", "1"),
)
_DEFAULT_INDEX = "_pypi_ixconfig_default"  # of devpi_server.main


@dataclass(frozen=True, slots=True, kw_only=True)
class DevpiPaths:
    """Where one devpi keeps its things. The run folder is private: devpi insists on it."""

    serverdir: PurePath
    run_dir: PurePath  # secrets, mode 0700

    @property
    def secretfile(self) -> PurePath:
        return self.run_dir / "secretfile"

    @property
    def init_config(self) -> PurePath:
        return self.run_dir / "devpi-init.yml"


def build_init_argv(program: str, layout: DevpiPaths) -> tuple[str, ...]:
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


def build_server_argv(
    python: str, layout: DevpiPaths, settings: ServerSettings, *, port: int, markers: PurePath
) -> tuple[str, ...]:
    """Serve on loopback, with our plugin. Each option's reason: docs/reliability.md."""
    return (
        *(python, "-m", "mirror.private_names", "--marks", str(markers)),
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
        str(MAX_UPLOAD_BYTES),
        "--restrict-modify",
        "root",
        "--enable-core-metadata",
        *_KEY,
    )


def build_cache_argv(
    python: str, *, root: PurePath, port: int, upstream: str | None, ca_bundle: str | None
) -> tuple[str, ...]:
    """The program beside devpi that fetches public pages and files into ``root``."""
    return (
        *(python, "-m", "mirror.cache", "--root", str(root), "--port", str(port)),
        *(("--upstream", upstream) if upstream else ()),
        *(("--ca-bundle", ca_bundle) if ca_bundle else ()),
    )


def build_cache_environment() -> dict[str, str]:
    """glibc's allocator for a program that holds large bodies for a moment, in many threads.

    Measured after 146 pages (65 MB): 50 MB stay instead of 120 to 180.
    """
    return {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "131072",
    }


def build_ca_environment(ca_bundle: str | None) -> dict[str, str]:
    """What devpi's HTTP clients read when the network intercepts TLS."""
    if ca_bundle is None:
        return {}
    return {"REQUESTS_CA_BUNDLE": ca_bundle, "SSL_CERT_FILE": ca_bundle}


def build_mirror_index_config(upstream: str) -> dict[str, object]:
    """root/pypi: without the list of all names, which takes minutes and hundreds of MB."""
    return {
        "type": "mirror",
        "volatile": False,
        "mirror_url": upstream,
        "mirror_no_project_list": True,
    }


def build_workloads_index_config(base: str | None) -> dict[str, object]:
    """workloads/stable: releases cannot be replaced, and no name mixes with a public one.

    Behind the front it has no base: devpi could not answer a public page there if it wanted to.
    Where devpi serves alone, an empty mirror_whitelist is what keeps them apart: a name that is
    here is served from here alone.
    """
    return {
        "type": "stage",
        "bases": [base] if base else [],
        "volatile": False,
        "acl_upload": ["root"],
        "mirror_whitelist": [],
    }


def read_default_upstream() -> str:
    """devpi's own default upstream, read from the source of the devpi that is installed.

    Importing it instead would start half of a server, which takes seconds.
    """
    found = find_spec("devpi_server.main")
    if found is not None and found.origin is not None:
        for node in ast.parse(Path(found.origin).read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _DEFAULT_INDEX:
                return str(ast.literal_eval(node.value)["mirror_url"])
    raise UnfitError(
        "the default upstream of the installed devpi-server is unknown",
        why=f"devpi_server.main has no {_DEFAULT_INDEX}",
        next_step="name the index to mirror: --upstream URL",
    )
