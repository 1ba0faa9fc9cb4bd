"""Private distributions of a mirror of this machine: never another's bytes, and never lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunProgram
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel


@pytest.fixture
def place(tmp_path: Path, program: RunProgram) -> Iterator[MirrorHome]:
    made = MirrorHome(tmp_path, program)
    yield made
    made.run_mirror("down")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")


def test_a_file_never_changes(place: MirrorHome, wheel: Path, tmp_path: Path) -> None:
    place.up()
    assert place.run_mirror("add", str(wheel)).returncode == 0
    (tmp_path / "other").mkdir()
    other = make_wheel(tmp_path / "other", "house-lib", "1.0", "x = 2\n")
    refused = place.run_mirror("add", str(other))
    assert refused.returncode == 5
    assert "with other bytes" in refused.stderr
    assert "raise the version" in refused.stderr
    # among several the others go on, whether they come before it or after
    for name in ("another", "yet-another"):
        make_wheel(tmp_path / "other", name, "1.0", "x = 1\n")
    several = place.run_mirror("add", str(tmp_path / "other"), "-o", "json")
    assert several.returncode == 5
    assert f"{wheel.name} is already in workloads/stable with other bytes" in several.stderr
    outcomes = {one["filename"]: one["outcome"] for one in json.loads(several.stdout)}
    assert outcomes == {
        "another-1.0-py3-none-any.whl": "added",
        wheel.name: "refused",
        "yet_another-1.0-py3-none-any.whl": "added",
    }
    (there,) = json.loads(place.run_mirror("add", str(wheel), "-o", "json").stdout)
    assert there["outcome"] == "present", "the first one's bytes are as they were"


def test_another_version_takes_over_and_the_one_before_comes_back(
    place: MirrorHome, wheel: Path
) -> None:
    """The copy is taken before the start; put in its place it serves the same bytes."""
    place.up()
    assert place.run_mirror("add", str(wheel)).returncode == 0
    place.run_mirror("down")
    data = place.root / "data/pypi-mirror"
    (data / "devpi/.served-by").write_text("6.0.0")
    place.up()
    (copy,) = (data / "backups").iterdir()
    assert "-6.0.0-" in copy.name
    assert place.run_mirror("verify").returncode == 0
    place.run_mirror("down")
    (data / "devpi").rename(data / "devpi.newer")
    copy.rename(data / "devpi")
    place.up()
    (outcome,) = json.loads(place.run_mirror("add", str(wheel), "-o", "json").stdout)
    assert outcome["outcome"] == "present"
    assert place.run_mirror("verify").returncode == 0
