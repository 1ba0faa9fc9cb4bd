"""Private Docker engines: several at once, and they leave nothing behind."""

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
from tests.cluster.cgroups import CGROUP_ROOT
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
    """Return processes, mounts, cgroups and sockets of engines whose data is in a folder."""
    leftovers = [str(path) for path in CGROUP_ROOT.glob(f"*/{ENGINE_PREFIX}{os.getpid()}-*")]
    leftovers += [
        str(path) for path in Path(tempfile.gettempdir()).glob(f"{ENGINE_PREFIX}{os.getpid()}-*")
    ]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    leftovers += [line for line in mounts if str(folder) in line]
    return leftovers + run("pgrep", "-af", str(folder), check=False).stdout.splitlines()


def read_firewall() -> list[dict[str, Any]]:
    """Return the machine's firewall rules, except those of labs, which may come and go."""
    ruleset = json.loads(run("nft", "--json", "list", "ruleset").stdout)["nftables"]
    rules = [(kind, rule) for entry in ruleset for kind, rule in entry.items()]
    return [
        {kind: {k: v for k, v in rule.items() if k != "handle"}}
        for kind, rule in rules
        if not rule.get("table" if kind != "table" else "name", "").startswith("mlab")
    ]


def test_two_engines_run_side_by_side_and_leave_nothing(tmp_path: Path) -> None:
    firewall, before = read_firewall(), find_leftovers(tmp_path)
    with docker_engine(tmp_path / "a") as first, docker_engine(tmp_path / "b") as second:
        first.load(ensure_base_image())
        assert versions.BASE_IMAGE.split(":")[1] in first.docker("images")
        assert second.docker("images", "--quiet") == ""
        output = first.docker(
            "run", "--rm", "--network=none", versions.BASE_IMAGE, "python", "-c", "print(6 * 7)"
        )
        assert output == "42\n"
    assert sorted(find_leftovers(tmp_path)) == sorted(before)
    assert not (tmp_path / "a" / "docker").exists()
    assert read_firewall() == firewall


def test_an_engine_ends_with_its_owner(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", OWNER, str(tmp_path))
    before = find_leftovers(tmp_path)
    owner = subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    owner.kill()
    owner.communicate(timeout=10)
    wait_for(
        "the engine to end", lambda: sorted(find_leftovers(tmp_path)) == sorted(before), timeout=60
    )
    clean_dead_labs()
    assert not [*CGROUP_ROOT.glob(f"*/{ENGINE_PREFIX}{owner.pid}-*")]
    assert not [*Path(tempfile.gettempdir()).glob(f"{ENGINE_PREFIX}{owner.pid}-*")]
