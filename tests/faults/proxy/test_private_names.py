"""Private names, and requests that must not change or read what they should not."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest

from mirror.settings import SIMPLE_JSON
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel

PUBLIC = "99.0"  # higher than any private version


def list_versions(mirror: MirrorClient, project: str, accept: str = SIMPLE_JSON) -> set[str]:
    """Return the versions of a project that installers see."""
    response = mirror.get_page(project, {"Accept": accept})
    if response.status_code == 404:
        return set()
    return {file["filename"].split("-")[1] for file in response.raise_for_status().json()["files"]}


def test_the_next_request_after_an_upload_sees_it(
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """In both forms, although the public page of the same name was still valid."""
    upstream.add_project("ours", PUBLIC)
    assert list_versions(mirror, "ours") == {PUBLIC}
    assert PUBLIC in mirror.get_page("ours", {"Accept": "text/html"}).text
    for version in ("1.0", "1.1"):
        wheel = make_wheel(tmp_path, "ours", version, "x = 1\n")
        result = home.run_mirror("add", str(wheel))
        assert result.returncode == 0, result.stderr
        page = mirror.get_page("ours")
        assert wheel.name in page.text
        assert PUBLIC not in page.text
        html = mirror.get_page("ours", {"Accept": "text/html"}).text
        assert wheel.name in html
        assert PUBLIC not in html


def test_no_public_package_is_served_for_a_reserved_name(
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    upstream.add_project("acme-billing", PUBLIC)
    result = home.run_mirror("reserve", "Acme_Billing", "acme-auth", "-o", "json")
    assert json.loads(result.stdout) == [
        {"name": "acme-billing", "outcome": "reserved"},
        {"name": "acme-auth", "outcome": "reserved"},
    ]
    assert "present" in home.run_mirror("reserve", "acme-billing").stdout
    assert list_versions(mirror, "acme-billing") == set()
    for accept in (SIMPLE_JSON, "text/html"):
        assert PUBLIC not in mirror.get_page("acme-billing", {"Accept": accept}).text
    assert (
        home.run_mirror("add", str(make_wheel(tmp_path, "acme-billing", "1.0", ""))).returncode == 0
    )
    assert list_versions(mirror, "acme-billing") == {"1.0"}
    assert upstream.request_counts["/simple/acme-billing/"] == 0, (
        "the upstream does not learn the name"
    )


def test_a_start_adds_missing_markers(
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """As after restoring only the database from a backup."""
    upstream.add_project("restored", PUBLIC)
    assert home.run_mirror("add", str(make_wheel(tmp_path, "restored", "1.0", ""))).returncode == 0
    home.run_mirror("down")
    markers = home.root / "data/pypi-mirror/private"
    for marker in markers.iterdir():
        marker.unlink()
    (markers / "unused").touch()
    home.up()
    assert list_versions(mirror, "restored") == {"1.0"}
    assert (markers / "unused").exists(), "a restart removes no marker"


def send_delete(mirror: MirrorClient, home: MirrorHome, path: str) -> int:
    """Send a DELETE request as the mirror's root user; returns the status."""
    password = (home.root / "data/pypi-mirror/secrets/root-password").read_text().strip()
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
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """The deletion of its last file or of another project does not, and neither does a restart."""
    names = ("first", "second", "third")
    for name in names:
        upstream.add_project(name, PUBLIC)
        assert home.run_mirror("add", str(make_wheel(tmp_path, name, "1.0", ""))).returncode == 0

    def list_public() -> list[str]:
        return [name for name in names if PUBLIC in list_versions(mirror, name)]

    assert send_delete(mirror, home, "/workloads/stable/first/1.0") in {200, 201}
    assert list_versions(mirror, "first") == set()
    assert send_delete(mirror, home, "/workloads/stable/third") in {200, 201}
    assert list_public() == ["third"]
    home.run_mirror("down")
    home.up()
    assert list_public() == ["third"]
    # another spelling of the same name
    assert send_delete(mirror, home, "/workloads/stable/SECOND") in {200, 201}
    assert list_public() == ["second", "third"]


def test_a_name_stays_private_when_the_database_is_moved_away(
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """As an error message recommends: start with an empty server and upload the files again."""
    upstream.add_project("recovered", PUBLIC)
    wheel = make_wheel(tmp_path, "recovered", "1.0", "")
    assert home.run_mirror("add", str(wheel)).returncode == 0
    home.run_mirror("down")
    data = home.root / "data/pypi-mirror"
    (data / "devpi").rename(data / "devpi.broken")
    home.up()
    assert list_versions(mirror, "recovered") == set()
    assert home.run_mirror("add", str(wheel)).returncode == 0
    assert list_versions(mirror, "recovered") == {"1.0"}


def test_serves_the_core_metadata_of_a_private_wheel(
    mirror: MirrorClient, home: MirrorHome, tmp_path: Path
) -> None:
    assert home.run_mirror("add", str(make_wheel(tmp_path, "described", "1.0", ""))).returncode == 0
    page = mirror.get_page("described")
    (file,) = page.json()["files"]
    assert file["core-metadata"]
    response = mirror.get(page.url.join(file["url"] + ".metadata").path)
    assert response.status_code == 200
    assert "Name: described" in response.text


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
def test_rejects_changes_without_the_password(
    mirror: MirrorClient, method: str, path: str, body: dict[str, object] | None
) -> None:
    """New users, indexes that mirror an internal URL, and new settings of the two indexes."""
    response = httpx.request(
        method,
        mirror.root + path,
        json=body,
        headers={"Accept": "application/json"},
        timeout=30,
        trust_env=False,
    )
    assert response.status_code in {401, 403}, response.text


def test_headers_of_one_client_change_no_private_page(
    mirror: MirrorClient, home: MirrorHome, tmp_path: Path
) -> None:
    """devpi itself answers for private names: it gets none of the headers that move its links."""
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "")
    assert home.run_mirror("add", str(wheel)).returncode == 0
    evil = {
        "X-Outside-URL": "http://evil.example",
        "X-Devpi-Absolute-Urls": "1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example",
    }
    assert mirror.get_page("house-lib", {"Host": "evil.example"}).status_code == 421
    for accept in (SIMPLE_JSON, "text/html"):
        plain = mirror.get_page("house-lib", {"Accept": accept}).text
        page = mirror.get_page("house-lib", {**evil, "Accept": accept}).text
        assert wheel.name in page
        assert page == plain == mirror.get_page("house-lib", {"Accept": accept}).text
        assert "evil.example" not in page


def test_stored_pages_and_files_are_served_at_their_own_paths_only(
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream
) -> None:
    upstream.add_project("stored")
    assert mirror.get(mirror.find_file_path("stored")).status_code == 200
    public = home.root / "data/pypi-mirror/public"
    stored = [path for path in public.rglob("*") if path.is_file() and "stored" in str(path)]
    assert {path.relative_to(public).parts[0] for path in stored} >= {"files", "pages"}
    for path in stored:
        for prefix in ("/+held/", "/public/", "/"):
            response = mirror.get(f"{prefix}{path.relative_to(public)}")
            # 503 below /+held/: the proxy keeps these for itself, as if the file were just evicted
            assert response.status_code in {404, 503}, response.url
            assert path.read_bytes() not in response.content


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
def test_no_path_reaches_other_files_or_urls(
    mirror: MirrorClient, upstream: FaultyUpstream, path: str
) -> None:
    """Clients can read only files that a page lists, and cannot choose an upstream URL."""
    before = sum(upstream.request_counts.values())
    response = mirror.get(path.format(hex="0" * 64))
    assert response.status_code in {400, 403, 404, 503}, response.text
    assert sum(upstream.request_counts.values()) - before <= 1
