"""Private distributions of the local mirror: their bytes never change and are never lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from mirror.client import IndexClient
from mirror.core.wait import Deadline
from tests.conftest import RunProgram
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel


@pytest.fixture
def home(tmp_path: Path, program: RunProgram) -> Iterator[MirrorHome]:
    home = MirrorHome(tmp_path, program)
    yield home
    home.run_mirror("down")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")


def test_refuses_other_bytes_for_a_published_file(
    home: MirrorHome, wheel: Path, tmp_path: Path
) -> None:
    home.up()
    assert home.run_mirror("add", str(wheel)).returncode == 0
    (tmp_path / "other").mkdir()
    other = make_wheel(tmp_path / "other", "house-lib", "1.0", "x = 2\n")
    refusal = home.run_mirror("add", str(other))
    assert refusal.returncode == 5
    assert "with other bytes" in refusal.stderr
    assert "raise the version" in refusal.stderr
    # the other files of a folder are added, whether they come before the refused one or after it
    for name in ("another", "yet-another"):
        make_wheel(tmp_path / "other", name, "1.0", "x = 1\n")
    result = home.run_mirror("add", str(tmp_path / "other"), "-o", "json")
    assert result.returncode == 5
    assert f"{wheel.name} is already in workloads/stable with other bytes" in result.stderr
    outcomes = {upload["filename"]: upload["outcome"] for upload in json.loads(result.stdout)}
    assert outcomes == {
        "another-1.0-py3-none-any.whl": "added",
        wheel.name: "refused",
        "yet_another-1.0-py3-none-any.whl": "added",
    }
    (upload,) = json.loads(home.run_mirror("add", str(wheel), "-o", "json").stdout)
    assert upload["outcome"] == "present", "the published bytes are unchanged"


def test_installers_with_a_date_find_private_packages(
    home: MirrorHome, wheel: Path, tmp_path: Path
) -> None:
    """And programs with an HTTP proxy do not ask it for the mirror."""
    home.up()
    assert home.run_mirror("add", str(wheel)).returncode == 0
    variables = json.loads(home.run_mirror("env", "--format", "json").stdout)
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    argv = ("uv", "pip", "install", "--no-cache", "--target", str(tmp_path / "installed"))
    for options in (("--exclude-newer", tomorrow, "house-lib"), ("house-lib",)):
        environment = {**os.environ, **proxy, **variables}
        done = subprocess.run((*argv, *options), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    early = ("--exclude-newer", "2020-01-01", "--reinstall", "house-lib")
    assert subprocess.run((*argv, *early), env={**os.environ, **variables}).returncode != 0


def test_refuses_names_that_would_stop_a_start(
    home: MirrorHome, wheel: Path, tmp_path: Path
) -> None:
    home.up()
    password = (home.root / "data/pypi-mirror/secrets/root-password").read_text()
    url = f"http://127.0.0.1:{home.port}/workloads/stable/"
    with httpx.Client(auth=("root", password), trust_env=False, timeout=60) as client:
        for name in ("a/b", "../../evil", "weird name!", "l" * 300, "nul\0x", ".", "..", "Éclair"):
            form = {":action": "submit", "name": name, "version": "0"}
            assert client.post(url, data=form).status_code == 400, name
            upload = form | {":action": "file_upload", "version": "1.0"}
            files = {"content": ("x-1.0.tar.gz", b"x")}
            assert client.post(url, data=upload, files=files).status_code == 400, name
    assert list((home.root / "data/pypi-mirror/private").iterdir()) == []
    assert home.run_mirror("add", str(wheel)).returncode == 0
    home.run_mirror("down")
    assert home.up()["state"] == "running"


def test_lists_private_projects_and_names_them_before_a_purge(
    home: MirrorHome, wheel: Path
) -> None:
    home.up()
    assert home.run_mirror("add", str(wheel)).returncode == 0
    assert home.run_mirror("reserve", "house-secret").returncode == 0
    private = json.loads(home.run_mirror("list", "-o", "json").stdout)["private"]
    assert private == [
        {"name": "house-lib", "files": [wheel.name]},
        {"name": "house-secret", "files": []},
    ]
    assert home.run_mirror("list", "--private", "-o", "name").stdout.split() == [
        "house-lib",
        "house-secret",
    ]
    endpoint = home.run_json("status")[1]["url"].partition("/workloads")[0]
    with IndexClient(endpoint, Deadline.after(30)) as client:
        served = {project.name: project.files for project in client.list_private_projects()}
        assert served == {"house-lib": (wheel.name,), "house-secret": ()}
        assert client.list_cached_projects() == ()
    refusal = home.run_mirror("down", "--purge")
    assert refusal.returncode == 2
    assert f"  {wheel.name}\n" in refusal.stdout
    assert "private names that become public: house-secret" in refusal.stdout
    assert "[devpi] " in home.run_mirror("logs", "devpi").stdout
    assert home.run_mirror("status").returncode == 0


def test_a_copy_from_before_an_upgrade_can_be_restored(home: MirrorHome, wheel: Path) -> None:
    """The copy is made before another version of devpi starts; put back, it serves the same."""
    home.up()
    assert home.run_mirror("add", str(wheel)).returncode == 0
    home.run_mirror("down")
    data = home.root / "data/pypi-mirror"
    (data / "devpi/.served-by").write_text("6.0.0")
    home.up()
    (copy,) = (data / "backups").iterdir()
    assert "-6.0.0-" in copy.name
    assert home.run_mirror("verify").returncode == 0
    home.run_mirror("down")
    (data / "devpi").rename(data / "devpi.newer")
    copy.rename(data / "devpi")
    home.up()
    (upload,) = json.loads(home.run_mirror("add", str(wheel), "-o", "json").stdout)
    assert upload["outcome"] == "present"
    assert home.run_mirror("verify").returncode == 0
