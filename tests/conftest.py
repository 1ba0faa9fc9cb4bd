"""Options and fixtures of the whole test suite."""

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

# The duration of an example on a busy machine means nothing. A run gives the same examples as the
# last one; HYPOTHESIS_PROFILE=search looks for new ones (docs/development.md).
_CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _CALM, derandomize=True)
settings.register_profile("search", _CALM, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

RunProgram = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig", help="Run the cluster tests on this cluster instead of a lab of their own."
    )


def pytest_configure() -> None:
    """Make Ctrl-C work in started programs: background jobs of a shell ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Workers take whole files in this order, tests/cluster first: a worker has at most one lab, which
# then stops. The slowest files come first, because the run ends with its slowest worker.
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

    def get_rank(item: pytest.Item) -> tuple[bool, int]:
        return item.path.parent.name != "cluster", ranks.get(item.path.stem, len(ranks))

    items.sort(key=get_rank)


@pytest.fixture(scope="session", autouse=True)
def _no_index_of_the_machine() -> None:
    """Remove the machine's index settings: the tests are about which index is used."""
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_TRUSTED_HOST"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def program() -> RunProgram:
    """Provide a function that runs a console script: `program("mirror", "status", …)`."""

    def run(
        *argv: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
        input: str | None = None,  # noqa: A002 - as in subprocess
    ) -> subprocess.CompletedProcess[str]:
        executable = shutil.which(argv[0])
        assert executable, f"{argv[0]} is not installed: run the tests with tests/run"
        return subprocess.run(
            [executable, *argv[1:]],
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
    """Provide the lock of Chronicle's 160 requirements that are in an index, with their hashes."""
    return Path(__file__).parent / "data/chronicle/requirements.txt"


@pytest.fixture(scope="session")
def ca_bundle() -> Path:
    """Provide the machine's CA certificates: its network may intercept TLS."""
    return Path(CA_BUNDLE)
