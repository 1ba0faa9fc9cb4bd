"""A user and a password in a URL go through every option and file that takes one, and are shown
nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirror.core.credentials import hide_credentials
from tests.unit.cli.run_command import run_command
from tests.unit.cli.whole_cluster import WholeClusterLab, run_whole_cluster

SECRET = "cnry-password"
URLS = (
    f"https://reader:{SECRET}@index.example/simple/",
    f"https://{SECRET}@index.example/simple/",
    f"ftp://reader:{SECRET}@index.example/simple/",
    f"https://reader:{SECRET}@",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATA", "STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\n')
    return tmp_path


def assert_no_file_has_it(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "words",
    [
        "mirror up --upstream",
        "mirror up --local --upstream",
        "mirror up --dry-run --image m:1 --upstream",
        "mirror manifests --image m:1 --upstream",
        "mirror add",
        "mirror warm",
        "mirror lock to",
        "build-image . --mirror",
        "build-image . --apt-mirror",
    ],
)
def test_an_option_refuses_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, words: str, url: str
) -> None:
    result = run_command(monkeypatch, *words.split(), url)
    assert result.code == 2, result.out + result.err
    assert SECRET not in result.out + result.err
    assert_no_file_has_it(home)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", ["status", "up", "env", "list", "logs", "verify", "down"])
def test_the_settings_of_this_machine_do_not_show_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str, url: str
) -> None:
    path = home / "config/pypi-mirror/local.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"upstream": url}))
    result = run_command(monkeypatch, "mirror", command, "--local")
    assert result.code in {0, 1, 2, 3}
    assert SECRET not in result.out + result.err
    path.unlink()
    assert_no_file_has_it(home)


# -- in the cluster -------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        lab.install()
        yield lab


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status -o json",
        "up --image m:1 --dry-run",
        "up --image m:1 --dry-run -o yaml",
        "env",
        "manifests --image m:1",
        "doctor -o json",
        "verify",
        "down --purge --dry-run",
    ],
)
@pytest.mark.parametrize("url", URLS[:1])
def test_the_record_does_not_show_it(lab: WholeClusterLab, words: str, url: str) -> None:
    """Somebody put it there: `mirror up` refuses it."""

    def put(config_map: Any) -> None:
        record = json.loads(config_map["data"]["record.json"])
        record["settings"]["upstream"] = url
        config_map["data"]["record.json"] = json.dumps(record)

    lab.api.edit("ConfigMap", "pypi-mirror-record", "pypi-mirror", put)
    start = len(lab.api.requests)
    result = lab.run(*words.split(), "--timeout", "15")
    assert SECRET not in result.out + result.err
    assert SECRET not in str([request.body for request in lab.api.requests[start:]])


@pytest.mark.parametrize("command", ["status", "env", "doctor"])
def test_the_address_of_an_api_server_does_not_show_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "x", "cluster": {"server": f"http://u:{SECRET}@127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    (home / "kubeconfig").write_text(yaml.safe_dump(config))
    result = run_command(monkeypatch, "mirror", command, "--kubeconfig", "kubeconfig")
    assert result.code in {2, 3}
    assert SECRET not in result.out + result.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            f"get https://u:{SECRET}@a/x and http://{SECRET}@b",
            "get https://***@a/x and http://***@b",
        ),
        ("git+ssh://git@host/x.git", "git+ssh://git@host/x.git"),
        ("git+https://host/x.git@v1", "git+https://host/x.git@v1"),
        ("image@sha256:00, you@host", "image@sha256:00, you@host"),
    ],
)
def test_only_credentials_are_hidden(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown
