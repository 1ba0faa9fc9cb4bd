"""`mirror up --local` with two upstreams, as CPU builds beside a default index."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.settings import SIMPLE_JSON
from tests.conftest import RunProgram
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome


@pytest.fixture
def upstreams() -> Iterator[tuple[FaultyUpstream, FaultyUpstream]]:
    """A default index, and one as a static index of CPU builds: HTML with relative links only."""
    default, cpu = FaultyUpstream(), FaultyUpstream()
    cpu.is_html_only = True
    default.add_package("helper")
    default.add_package("tensor", "2.4.0")
    cpu.add_package("tensor", "2.4.0+cpu")
    cpu.add_package("helper", "99.0")
    yield default, cpu
    for index in (default, cpu):
        index.stop()


def test_pip_and_uv_install_from_two_upstreams(
    tmp_path: Path, program: RunProgram, upstreams: tuple[FaultyUpstream, FaultyUpstream]
) -> None:
    default, cpu = upstreams
    home = MirrorHome(tmp_path, program)
    try:
        home.up("--upstream", default.url, "--upstream", f"cpu={cpu.url}", "--pin", "tensor=cpu")
        client = MirrorClient(home)
        index = f"{client.root}/workloads/stable/+simple/"
        uv = ("uv", "pip", "install", "--no-cache")
        pip = (sys.executable, "-m", "pip", "install", "--no-cache-dir")
        for number, tool in enumerate((uv, pip)):
            target = tmp_path / f"target-{number}"
            options = ("--no-deps", "--target", str(target), "--index-url", index)
            result = program(*tool, *options, "tensor", "helper", timeout=120)
            assert result.returncode == 0, result.stderr
            names = {path.name for path in target.glob("*.dist-info")}
            assert names == {"tensor-2.4.0+cpu.dist-info", "helper-1.0.dist-info"}
        page = client.get_page("tensor", {"Accept": SIMPLE_JSON})
        (link,) = {file["url"] for file in json.loads(page.content)["files"]}
        assert link.startswith("../../../../+upstream/cpu/+f/tensor/")
        assert cpu.request_counts["/simple/helper/"] == 0
        assert default.request_counts["/simple/tensor/"] == 0
        code, status = home.run_json("status")
        assert code == 0
        assert [u["name"] for u in status["figures"]["upstreams"]] == ["default", "cpu"]
        # remembered, and replaced by a plain upstream
        home.up("--pin", "")
        home.up("--upstream", default.url)
        page = client.get_page("tensor", {"Accept": SIMPLE_JSON})
        assert [f["filename"] for f in json.loads(page.content)["files"]] == [
            "tensor-2.4.0-py3-none-any.whl"
        ]
    finally:
        home.run_mirror("down")


def test_warm_takes_packages_from_the_indexes_of_their_lock_however_young(
    tmp_path: Path, program: RunProgram, upstreams: tuple[FaultyUpstream, FaultyUpstream]
) -> None:
    default, cpu = upstreams
    young = default.add_package("young", uploaded=datetime.now(UTC).isoformat())
    (tensor,) = cpu.projects["tensor"].files.values()
    home = MirrorHome(tmp_path, program)
    packages = "".join(
        f'[[package]]\nname = "{name}"\nversion = "{version}"\n'
        f'source = {{ registry = "{index.url}" }}\n'
        f'wheels = [{{ url = "{index.url}x.whl", hash = "sha256:{sha256}" }}]\n'
        for name, version, index, sha256 in (
            ("tensor", "2.4.0+cpu", cpu, tensor.sha256),
            ("young", "1.0", default, young.sha256),
        )
    )
    (tmp_path / "uv.lock").write_text(f"version = 1\n{packages}")
    try:
        home.up(
            *("--upstream", default.url, "--upstream", f"cpu={cpu.url}"),
            *("--min-age", "7d", "--deny", "helper>9"),
        )
        code, explained = home.run_json("explain", "young")
        assert (code, explained["upstream"]) == (1, "default")
        assert explained["files"][0]["rule"].startswith("min-age 7d: uploaded ")
        code, report = home.run_json("warm", str(tmp_path / "uv.lock"))
        assert (code, report["files"], report["misses"]) == (0, 2, [])
        assert default.request_counts["/simple/tensor/"] == 0
        code, explained = home.run_json("explain", "young==1.0")
        assert (code, explained["files"][0]["rule"]) == (0, "")
        rows = home.run_mirror("explain", "helper").stdout.split("\n")
        assert [row.split() for row in rows if "not asked" in row] == [["not", "asked", "cpu"]]
    finally:
        home.run_mirror("down")
