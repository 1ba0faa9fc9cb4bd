"""Command lines, environments and index settings of devpi-server and the cache. Pure functions."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath

from mirror.core.errors import UnfitError
from mirror.index_rules import NO_RULES, IndexRules
from mirror.settings import MAX_UPLOAD_BYTES, ServerSettings

DEVPI_PORT = 3142  # loopback, behind nginx
CACHE_PORT = 3144  # loopback: mirror.cache
# at each start devpi derives a key from its secret, by default with 16 passes over 512 MB; our
# secret is 48 random bytes, not a password, so a cheap derivation is as safe
_KEY_DERIVATION = (
    *("--argon2-memory-cost", "8192"),  # KiB
    *("--argon2-time-cost", "1"),
    *("--argon2-parallelism", "1"),
)
_DEFAULT_INDEX = "_pypi_ixconfig_default"  # of devpi_server.main


@dataclass(frozen=True, slots=True, kw_only=True)
class DevpiPaths:
    """Folders of one devpi-server. devpi requires that only its user can read the run folder."""

    serverdir: PurePath
    run_dir: PurePath  # secrets; mode 0700

    @property
    def secretfile(self) -> PurePath:
        return self.run_dir / "secretfile"

    @property
    def init_config(self) -> PurePath:
        return self.run_dir / "devpi-init.yml"


def build_init_argv(program: str, paths: DevpiPaths) -> tuple[str, ...]:
    """Return the command that creates a server folder.

    The root password is in the configuration file, not in argv. IndexClient creates root/pypi
    later, with our settings: with devpi's, it would start by fetching the names of all projects.
    """
    serverdir, config = str(paths.serverdir), str(paths.init_config)
    return (program, "--serverdir", serverdir, "--configfile", config, "--no-root-pypi")


def build_server_argv(
    python: str, paths: DevpiPaths, settings: ServerSettings, *, port: int, markers: PurePath
) -> tuple[str, ...]:
    """Return the command of the server with our plugin; docs/reliability.md explains options."""
    return (
        *(python, "-m", "mirror.private_names", "--marks", str(markers)),
        *("--serverdir", str(paths.serverdir)),
        *("--secretfile", str(paths.secretfile)),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--threads", str(settings.threads)),
        *("--request-timeout", str(settings.request_timeout)),
        *("--max-request-body-size", str(MAX_UPLOAD_BYTES)),
        *("--restrict-modify", "root"),
        "--enable-core-metadata",
        *_KEY_DERIVATION,
    )


def build_cache_argv(
    python: str,
    *,
    root: PurePath,
    port: int,
    upstream: str | None,
    ca_bundle: str | None,
    requests: PurePath | None = None,
    rules: IndexRules = NO_RULES,
) -> tuple[str, ...]:
    """Return the command of the cache, which fetches public pages and files into ``root``.

    ``upstream`` is used if the rules name no upstreams.
    ``requests`` is nginx's log of requests, which the cache counts.
    """
    return (
        *(python, "-m", "mirror.cache", "--root", str(root), "--port", str(port)),
        *(("--upstream", upstream) if upstream and not rules.upstreams else ()),
        *rules.build_options(),
        *(("--ca-bundle", ca_bundle) if ca_bundle else ()),
        *(("--requests", str(requests)) if requests else ()),
    )


def build_cache_environment() -> dict[str, str]:
    """Tune glibc's allocator: pages are given back to the system, buffers of sockets are not.

    60 MB instead of 120 to 180 MB stay allocated over time. To map memory anew for each block that
    arrives would cost a fifth of the time.
    """
    return {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "1048576",
        "MALLOC_TRIM_THRESHOLD_": "8388608",
    }


def build_ca_environment(ca_bundle: str | None) -> dict[str, str]:
    """Return the variables that make devpi's HTTP clients trust a CA bundle (intercepted TLS)."""
    if ca_bundle is None:
        return {}
    return {"REQUESTS_CA_BUNDLE": ca_bundle, "SSL_CERT_FILE": ca_bundle}


def build_mirror_index_config(upstream: str) -> dict[str, object]:
    """Return the settings of root/pypi. Fetching all names takes minutes, so that is disabled."""
    return {
        "type": "mirror",
        "volatile": False,
        "mirror_url": upstream,
        "mirror_no_project_list": True,
    }


def build_workloads_index_config(base: str | None) -> dict[str, object]:
    """Return the settings of workloads/stable, whose releases cannot be replaced.

    Private and public packages of one name never mix: behind nginx the index has no base, so devpi
    cannot serve a public page there. Where devpi serves alone, ``base`` is root/pypi, and because
    of the empty mirror_whitelist a name in this index is served from this index only.
    """
    return {
        "type": "stage",
        "bases": [base] if base else [],
        "volatile": False,
        "acl_upload": ["root"],
        "mirror_whitelist": [],
    }


def read_default_upstream() -> str:
    """Read devpi's default upstream from its source: importing that module would take seconds."""
    spec = find_spec("devpi_server.main")
    if spec is not None and spec.origin is not None:
        for node in ast.parse(Path(spec.origin).read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _DEFAULT_INDEX:
                return str(ast.literal_eval(node.value)["mirror_url"])
    raise UnfitError(
        "cannot find the default upstream of the installed devpi-server",
        why=f"devpi_server.main has no {_DEFAULT_INDEX}",
        next_step="name the index to mirror with --upstream URL",
    )
