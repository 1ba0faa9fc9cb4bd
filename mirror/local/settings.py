"""Where the local mirror of a user keeps its files, and the settings it remembers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

import platformdirs

from mirror import volume
from mirror.core.codec import load
from mirror.core.errors import InputError, MirrorError
from mirror.index_rules import IndexRules
from mirror.local.processes import write_atomically
from mirror.settings import DEFAULT_PORT, Endpoint, check_host_name, check_index_url, check_port

_APP = "pypi-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPaths:
    """The directories of a local mirror: packages, run-time state and settings."""

    data_dir: Path
    state_dir: Path
    settings_path: Path

    @classmethod
    def for_user(cls) -> LocalPaths:
        """Return the directories that the platform assigns to applications of this user."""
        dirs = platformdirs.PlatformDirs(_APP, appauthor=False)
        return cls(
            data_dir=dirs.user_data_path,
            state_dir=dirs.user_state_path,
            settings_path=dirs.user_config_path / "local.json",
        )

    @classmethod
    def below(cls, home: Path) -> LocalPaths:
        """Return paths that all lie in one directory, for tests."""
        return cls(
            data_dir=home / "data",
            state_dir=home / "state",
            settings_path=home / "config/local.json",
        )

    @property
    def server_dir(self) -> Path:
        """The server directory of devpi: private packages and their database."""
        return self.data_dir / volume.DEVPI

    @property
    def cache_dir(self) -> Path:
        """The pages and files cached from public indexes."""
        return self.data_dir / volume.PUBLIC

    @property
    def secrets_dir(self) -> Path:
        return self.data_dir / "secrets"

    @property
    def run_dir(self) -> Path:
        return self.state_dir / "run"

    @property
    def nginx_dir(self) -> Path:
        return self.state_dir / "nginx"

    @property
    def warm_dir(self) -> Path:
        """Requests and logs of warm runs."""
        return self.state_dir / "warm"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """The settings of `mirror up --local`, saved so that the next `up` needs no options."""

    port: int = DEFAULT_PORT
    upstream: str | None = None  # the URL of the one whose files are at /packages
    upstreams: tuple[str, ...] = ()  # all of them, if there are several
    pins: tuple[str, ...] = ()
    min_age: str | None = None  # of public files, such as 7d
    allow: tuple[str, ...] = ()  # public projects, their patterns or versions
    deny: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()  # host names under which private packages are served
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        _ = self.rules
        for name in self.allow_hosts:
            check_host_name(name)
        check_port(self.port)
        if self.upstream is not None:
            check_index_url(self.upstream)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(address=IPv4Address("127.0.0.1"), port=self.port)

    @property
    def rules(self) -> IndexRules:
        """Which public packages are served. Raises InputError if the settings contradict."""
        return IndexRules(
            upstreams=self.upstreams,
            pins=self.pins,
            min_age=self.min_age,
            allow=self.allow,
            deny=self.deny,
        )

    @classmethod
    def load(cls, path: Path) -> LocalSettings:
        """Return the saved settings, or the defaults. Raises InputError for a broken file."""
        try:
            return load(cls, json.loads(path.read_text()))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, MirrorError) as error:
            raise InputError(
                f"the settings cannot be read: {path}",
                why=str(error),
                next_step=f"correct the file, or remove it: rm {path}",
            ) from error

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self), indent=2))
