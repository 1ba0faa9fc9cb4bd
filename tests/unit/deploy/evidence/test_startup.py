"""What a start does, read from its command, its variables and its log."""

from __future__ import annotations

import pytest

from deploy.evidence.mirror import MirrorState
from deploy.evidence.startup import (
    find_model_downloads,
    find_package_installs,
    find_python_downloads,
    ignores_index,
    uses_mirror,
)
from deploy.evidence.workloads import Workload, WorkloadContainer, WorkloadPod

MIRROR = MirrorState(namespace="pypi-mirror", recorded_address="10.152.183.7", port=3141)


def workload(command: str, *env: str, heard: tuple[str, ...] = ()) -> Workload:
    main = WorkloadContainer(name="main", image="i", command=("sh", "-c", command), env=env)
    pod = WorkloadPod(name="p", node="ra", phase="Running", ready=True, log_lines=heard)
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
def test_it_installs(command: str) -> None:
    assert find_package_installs(workload(command))


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
def test_it_does_not(command: str, env: tuple[str, ...]) -> None:
    assert not find_package_installs(workload(command, *env))


def test_the_log_tells_where_the_command_does_not() -> None:
    assert find_package_installs(workload("/start.sh", heard=("Installed 12 packages in 3s",)))


def test_python_and_models() -> None:
    assert find_python_downloads(workload("uv python install 3.12"))
    assert not find_python_downloads(
        workload("uv python install 3.12", "UV_PYTHON_DOWNLOADS=never")
    )
    assert find_model_downloads(workload("python -m spacy download en_core_web_sm"))
    assert not find_model_downloads(workload("python -m spacy download x", "HF_HUB_OFFLINE=1"))


@pytest.mark.parametrize(
    ("command", "env", "maps", "takes"),
    [
        ("pip install x", (), (), False),
        ("pip install x", (), ("pypi-mirror-env",), True),
        ("pip install x", ("PIP_INDEX_URL=http://10.152.183.7:3141/workloads/stable",), (), True),
        ("pip install x", ("PIP_INDEX_URL=http://10.152.183.9:3141/workloads/stable",), (), False),
        ("pip install -i https://index.example x", (), ("pypi-mirror-env",), False),
    ],
)
def test_whether_it_takes_the_mirror(
    command: str, env: tuple[str, ...], maps: tuple[str, ...], takes: bool
) -> None:
    one = WorkloadContainer(
        name="m", image="i", command=tuple(command.split()), env=env, env_maps=maps
    )
    assert uses_mirror(one, MIRROR) is takes


@pytest.mark.parametrize(
    ("command", "env", "ignores"),
    [
        ("uv run --frozen main.py", (), True),
        ("uv sync", ("UV_FROZEN=1",), True),
        ("uv run --frozen main.py", ("UV_NO_SYNC=1",), False),
        ("uv run main.py", (), False),
    ],
)
def test_frozen_ignores_the_index(command: str, env: tuple[str, ...], ignores: bool) -> None:
    one = WorkloadContainer(name="m", image="i", command=tuple(command.split()), env=env)
    assert ignores_index(one) is ignores
