"""What workloads download at their start, by command, variables and log."""

from __future__ import annotations

import pytest

from deploy.evidence.mirror import MirrorState
from deploy.evidence.startup import (
    find_downloads,
    ignores_index,
    uses_mirror,
)
from deploy.evidence.workloads import Workload, WorkloadContainer, WorkloadPod

MIRROR = MirrorState(namespace="pypi-mirror", recorded_address="10.152.183.7", port=3141)


def build_workload(command: str, *env: str, log_lines: tuple[str, ...] = ()) -> Workload:
    main = WorkloadContainer(name="main", image="i", command=("sh", "-c", command), env=env)
    pod = WorkloadPod(name="p", node="ra", phase="Running", ready=True, log_lines=log_lines)
    return Workload(kind="Deployment", namespace="n", name="w", containers=(main,), pods=(pod,))


@pytest.mark.parametrize(
    "command",
    [
        "uv run main.py",
        "uv sync && exec python main.py",
        "uv --quiet run main.py",
        "uv pip install fastapi",
        "uvx ruff check",
        "uv tool run black",
        "pip install -r requirements.txt",
        "pip3 --no-cache-dir install x",
        "python -m pip install x",
        "python3.12 -m pip install x",
        "poetry install && poetry run x",
        "pipx run cowsay",
    ],
)
def test_finds_package_installs(command: str) -> None:
    assert find_downloads(build_workload(command), "packages")


@pytest.mark.parametrize(
    ("command", "env"),
    [
        ("python main.py", ()),
        ("uv run --no-sync main.py", ()),
        ("uv run main.py", ("UV_NO_SYNC=1",)),
        ("uv sync", ("UV_OFFLINE=true",)),
        ("uv --version", ()),
        ("pip list", ()),
        ("nginx -g 'daemon off;'", ()),
        ("uvicorn main:app", ()),
        ("gunicorn --bind 0.0.0.0 run:app", ()),
    ],
)
def test_finds_no_package_installs(command: str, env: tuple[str, ...]) -> None:
    assert not find_downloads(build_workload(command, *env), "packages")


def test_finds_package_installs_in_the_log() -> None:
    workload = build_workload("/start.sh", log_lines=("Installed 12 packages in 3s",))
    assert find_downloads(workload, "packages")


def test_finds_python_and_model_downloads() -> None:
    assert find_downloads(build_workload("uv python install 3.12"), "python")
    assert not find_downloads(
        build_workload("uv python install 3.12", "UV_PYTHON_DOWNLOADS=never"), "python"
    )
    assert find_downloads(build_workload("python -m spacy download en_core_web_sm"), "models")
    assert not find_downloads(
        build_workload("python -m spacy download x", "HF_HUB_OFFLINE=1"), "models"
    )


@pytest.mark.parametrize(
    ("command", "env", "maps", "expected"),
    [
        ("pip install x", (), (), False),
        ("pip install x", (), ("pypi-mirror-env",), True),
        ("pip install x", ("PIP_INDEX_URL=http://10.152.183.7:3141/workloads/stable",), (), True),
        ("pip install x", ("PIP_INDEX_URL=http://10.152.183.9:3141/workloads/stable",), (), False),
        ("pip install -i https://index.example x", (), ("pypi-mirror-env",), False),
    ],
)
def test_decides_whether_a_container_uses_the_mirror(
    command: str, env: tuple[str, ...], maps: tuple[str, ...], expected: bool
) -> None:
    container = WorkloadContainer(
        name="m", image="i", command=tuple(command.split()), env=env, env_maps=maps
    )
    assert uses_mirror(container, MIRROR) is expected


@pytest.mark.parametrize(
    ("command", "env", "expected"),
    [
        ("uv run --frozen main.py", (), True),
        ("uv sync", ("UV_FROZEN=1",), True),
        ("uv run --frozen main.py", ("UV_NO_SYNC=1",), False),
        ("uv run main.py", (), False),
    ],
)
def test_frozen_uv_ignores_the_index(command: str, env: tuple[str, ...], expected: bool) -> None:
    container = WorkloadContainer(name="m", image="i", command=tuple(command.split()), env=env)
    assert ignores_index(container) is expected
