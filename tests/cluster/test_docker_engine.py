"""Private Docker engines: several at once, and nothing is left of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import REPOSITORY
from tests.cluster import versions
from tests.cluster.cgroups import CGROUP_ROOT as CGROUPS
from tests.cluster.cleanup import ENGINE_PREFIX, clean_dead_labs
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image
from tests.cluster.process import run
from tests.cluster.waiting import wait_for

pytestmark = pytest.mark.engine

OWNER = """
import pathlib, sys, threading
from tests.cluster.engine import docker_engine
with docker_engine(pathlib.Path(sys.argv[1])):
    print("up", flush=True)
    threading.Event().wait()
"""


def find_leftovers(folder: Path) -> list[str]:
    """Processes, mounts, cgroups and sockets of engines with their data under a folder."""
    found = [str(p) for p in CGROUPS.glob(f"*/{ENGINE_PREFIX}{os.getpid()}-*")]
    found += [str(p) for p in Path(tempfile.gettempdir()).glob(f"{ENGINE_PREFIX}{os.getpid()}-*")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if str(folder) in line]
    return found + run("pgrep", "-af", str(folder), check=False).stdout.splitlines()


def read_firewall() -> list[dict[str, Any]]:
    """What the machine filters, but for the tables of labs: they may come and go meanwhile."""
    listed = json.loads(run("nft", "--json", "list", "ruleset").stdout)["nftables"]
    found = [(kind, one) for entry in listed for kind, one in entry.items()]
    return [
        {kind: {k: v for k, v in one.items() if k != "handle"}}
        for kind, one in found
        if not one.get("table" if kind != "table" else "name", "").startswith("mlab")
    ]


def test_two_engines_run_side_by_side_and_leave_nothing(tmp_path: Path) -> None:
    rules, others = read_firewall(), find_leftovers(tmp_path)
    with docker_engine(tmp_path / "a") as first, docker_engine(tmp_path / "b") as second:
        first.load(ensure_base_image())
        assert versions.BASE_IMAGE.split(":")[1] in first.docker("images")
        assert second.docker("images", "--quiet") == ""
        ran = first.docker(
            "run", "--rm", "--network=none", versions.BASE_IMAGE, "python", "-c", "print(6 * 7)"
        )
        assert ran == "42\n"
    assert sorted(find_leftovers(tmp_path)) == sorted(others)
    assert not (tmp_path / "a" / "docker").exists()
    assert read_firewall() == rules


def test_an_engine_ends_with_its_owner(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", OWNER, str(tmp_path))
    others = find_leftovers(tmp_path)
    owner = subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    owner.kill()
    owner.communicate(timeout=10)
    wait_for(
        "the engine to end", lambda: sorted(find_leftovers(tmp_path)) == sorted(others), timeout=60
    )
    clean_dead_labs()
    assert not [*CGROUPS.glob(f"*/{ENGINE_PREFIX}{owner.pid}-*")]
    assert not [*Path(tempfile.gettempdir()).glob(f"{ENGINE_PREFIX}{owner.pid}-*")]
