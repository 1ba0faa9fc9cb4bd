"""Rows 34 to 36: whose names and indexes they are."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest

from tests.faults.faulty_upstream import SIMPLE_JSON, FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel

PUBLIC = "99.0"  # higher than any version of ours


def versions(mirror: MirrorClient, project: str, accept: str = SIMPLE_JSON) -> set[str]:
    """What installers are offered of a project."""
    answer = mirror.get_page(project, {"Accept": accept})
    if answer.status_code == 404:
        return set()
    return {one["filename"].split("-")[1] for one in answer.raise_for_status().json()["files"]}


def test_an_upload_is_seen_by_the_very_next_request(
    mirror: MirrorClient, place: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """Although the public page of that name was fresh a moment before, in both forms."""
    upstream.add_project("ours", PUBLIC)
    assert versions(mirror, "ours") == {PUBLIC}
    assert PUBLIC in mirror.get_page("ours", {"Accept": "text/html"}).text
    for version in ("1.0", "1.1"):
        wheel = make_wheel(tmp_path, "ours", version, "x = 1\n")
        done = place.run_mirror("add", str(wheel))
        assert done.returncode == 0, done.stderr
        page = mirror.get_page("ours")
        assert wheel.name in page.text
        assert PUBLIC not in page.text
        html = mirror.get_page("ours", {"Accept": "text/html"}).text
        assert wheel.name in html
        assert PUBLIC not in html


def test_a_reserved_name_is_never_public(
    mirror: MirrorClient, place: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    upstream.add_project("acme-billing", PUBLIC)
    said = place.run_mirror("reserve", "Acme_Billing", "acme-auth", "-o", "json")
    assert json.loads(said.stdout) == [
        {"name": "acme-billing", "outcome": "reserved"},
        {"name": "acme-auth", "outcome": "reserved"},
    ]
    assert "present" in place.run_mirror("reserve", "acme-billing").stdout
    assert versions(mirror, "acme-billing") == set()
    for accept in (SIMPLE_JSON, "text/html"):
        assert PUBLIC not in mirror.get_page("acme-billing", {"Accept": accept}).text
    assert (
        place.run_mirror("add", str(make_wheel(tmp_path, "acme-billing", "1.0", ""))).returncode
        == 0
    )
    assert versions(mirror, "acme-billing") == {"1.0"}
    assert upstream.request_counts["/simple/acme-billing/"] == 0, "its name is not even told"


def test_markers_come_back_with_a_start(
    mirror: MirrorClient, place: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """As after a restore of the database alone."""
    upstream.add_project("restored", PUBLIC)
    assert place.run_mirror("add", str(make_wheel(tmp_path, "restored", "1.0", ""))).returncode == 0
    place.run_mirror("down")
    marks = place.root / "data/pypi-mirror/private"
    for mark in marks.iterdir():
        mark.unlink()
    (marks / "nobodys").touch()
    place.up()
    assert versions(mirror, "restored") == {"1.0"}
    assert (marks / "nobodys").exists(), "a restart releases no name"


def delete(mirror: MirrorClient, place: MirrorHome, path: str) -> int:
    """Send a DELETE as the mirror's root user; returns the status."""
    password = (place.root / "data/pypi-mirror/secrets/root-password").read_text().strip()
    login = httpx.post(
        f"{mirror.root}/+login",
        json={"user": "root", "password": password},
        headers={"Accept": "application/json"},
        timeout=30,
        trust_env=False,
    )
    token = base64.b64encode(f"root:{login.json()['result']['password']}".encode()).decode()
    return httpx.delete(
        f"{mirror.root}{path}",
        params={"force": ""},
        headers={"Accept": "application/json", "X-Devpi-Auth": token},
        timeout=30,
        trust_env=False,
    ).status_code


def test_only_the_deletion_of_a_project_releases_its_name(
    mirror: MirrorClient, place: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """Not the deletion of its last file, nor of another project, nor a restart."""
    names = ("kept-one", "kept-two", "other-three")
    for name in names:
        upstream.add_project(name, PUBLIC)
        assert place.run_mirror("add", str(make_wheel(tmp_path, name, "1.0", ""))).returncode == 0

    def public() -> list[str]:
        return [name for name in names if PUBLIC in versions(mirror, name)]

    assert delete(mirror, place, "/workloads/stable/kept-one/1.0") in {200, 201}
    assert versions(mirror, "kept-one") == set()
    assert delete(mirror, place, "/workloads/stable/other-three") in {200, 201}
    assert public() == ["other-three"]
    place.run_mirror("down")
    place.up()
    assert public() == ["other-three"]
    # another spelling of the same name
    assert delete(mirror, place, "/workloads/stable/Kept_Two") in {200, 201}
    assert public() == ["kept-two", "other-three"]


def test_a_name_stays_private_when_the_database_is_moved_away(
    mirror: MirrorClient, place: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """The recovery that an error recommends: an empty server, and files uploaded again."""
    upstream.add_project("recovered", PUBLIC)
    wheel = make_wheel(tmp_path, "recovered", "1.0", "")
    assert place.run_mirror("add", str(wheel)).returncode == 0
    place.run_mirror("down")
    data = place.root / "data/pypi-mirror"
    (data / "devpi").rename(data / "devpi.broken")
    place.up()
    assert versions(mirror, "recovered") == set()
    assert place.run_mirror("add", str(wheel)).returncode == 0
    assert versions(mirror, "recovered") == {"1.0"}


def test_a_private_wheel_tells_its_metadata(
    mirror: MirrorClient, place: MirrorHome, tmp_path: Path
) -> None:
    assert place.run_mirror("add", str(make_wheel(tmp_path, "told", "1.0", ""))).returncode == 0
    page = mirror.get_page("told")
    (file,) = page.json()["files"]
    assert file["core-metadata"]
    answer = mirror.get(page.url.join(file["url"] + ".metadata").path)
    assert answer.status_code == 200
    assert "Name: told" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/mallory", {"password": "x"}),
        ("PUT", "/root/inside", {"type": "mirror", "mirror_url": "http://127.0.0.1:1/simple/"}),
        ("PATCH", "/root/pypi", {"mirror_url": "http://127.0.0.1:1/simple/"}),
        ("PATCH", "/workloads/stable", {"mirror_whitelist": ["*"]}),
        ("DELETE", "/workloads/stable", None),
        ("POST", "/+login", {"user": "root", "password": ""}),
    ],
)
def test_nobody_changes_what_is_mirrored(
    mirror: MirrorClient, method: str, path: str, body: dict[str, object] | None
) -> None:
    """Users, indexes of an inside URL, the settings of ours: 401 or 403 without the password."""
    answer = httpx.request(
        method,
        mirror.root + path,
        json=body,
        headers={"Accept": "application/json"},
        timeout=30,
        trust_env=False,
    )
    assert answer.status_code in {401, 403}, answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/root/pypi/+f/x/{hex}/..%2f..%2f..%2fdevpi%2f.nodeinfo",
        "/root/pypi/+f/..%2f..%2fdevpi/{hex}/x-1.0.tar.gz",
        "/root/pypi/+f/x/{hex}/x-1.0.tar.gz",
        "/root/pypi/+f/x/url-{hex}/x-1.0.tar.gz",
        "/workloads/stable/+simple/..%2f..%2fdevpi/",
        "/+held/pages/x.json",
        "/+held/files/../../devpi/.nodeinfo",
        "/fresh/x.json",
        "/upstream",
        "/links/x",
    ],
)
def test_no_path_leads_to_what_is_not_served(
    mirror: MirrorClient, upstream: FaultyUpstream, path: str
) -> None:
    """No file of the volume but those of pages, and no upstream URL of a client's choice."""
    before = sum(upstream.request_counts.values())
    answer = mirror.get(path.format(hex="0" * 64))
    assert answer.status_code in {400, 403, 404, 503}, answer.text
    assert sum(upstream.request_counts.values()) - before <= 1
