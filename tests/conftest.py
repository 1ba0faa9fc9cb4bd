"""Options and fixtures of the whole suite."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

CA_BUNDLE = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"

# how long an example takes on a busy machine says nothing
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")

RunProgram = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig", help="Run the cluster tests on this cluster instead of a lab of their own."
    )


def pytest_configure() -> None:
    """Programs that are started as a shell's background jobs ignore Ctrl-C; ours are sent it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# whole files go to the workers in this order, tests/cluster before others: each worker has one lab
# at most, which then ends; and the end waits for the one that has the longest
_LONGEST_FIRST = (
    "test_node_fixes",
    "test_mirror_lifecycle",
    "test_chronicle",
    "test_doctor_causes",
    "test_fix",
    "test_up_errors",
    "test_store",
    "test_volumes",
    "test_delivery",
    "test_proof",
    "test_application",
    "test_sources",
    "test_refusals",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(_LONGEST_FIRST)}

    def place(item: pytest.Item) -> tuple[bool, int]:
        return item.path.parent.name != "cluster", ranks.get(item.path.stem, len(ranks))

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _no_index_of_the_machine() -> None:
    """Which index is used is what these tests are about."""
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_TRUSTED_HOST"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def program() -> RunProgram:
    """Run one of the console scripts as a user does: `program("mirror", "status", …)`."""

    def run(
        *words: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
        input: str | None = None,  # noqa: A002 - as in subprocess
    ) -> subprocess.CompletedProcess[str]:
        found = shutil.which(words[0])
        assert found, f"{words[0]} is not installed: run the tests by tests/run"
        return subprocess.run(
            [found, *words[1:]],
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            input=input,
        )

    return run


@pytest.fixture(scope="session")
def chronicle_lock() -> Path:
    """Chronicle's 160 requirements that an index has, with their hashes."""
    return Path(__file__).parent / "data/chronicle/requirements.txt"


@pytest.fixture(scope="session")
def ca_bundle() -> Path:
    """What this machine trusts: its network may intercept TLS."""
    return Path(CA_BUNDLE)
