"""`mirror up --local` with two upstreams, as CPU builds beside a default index."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
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
