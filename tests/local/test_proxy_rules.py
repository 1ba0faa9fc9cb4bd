"""What the real nginx does with the mirror's configuration; devpi and the cache are stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.core.wait import Deadline, wait_until
from mirror.settings import OWN_USER_AGENT, SIMPLE_JSON
from tests.local.nginx_stand import NginxStand, run_nginx

PAGE = "/workloads/stable/+simple/lib/"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxStand]:
    folder = tmp_path_factory.mktemp("proxy")
    with run_nginx(folder / "data", folder / "scratch") as stand:
        stand.publish("lib", "as JSON", "as HTML")
        (stand.data / "private/ours").touch()
        yield stand


@pytest.fixture(autouse=True)
def forget(proxy: NginxStand) -> None:
    proxy.cache.requests.clear()
    proxy.devpi.requests.clear()


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "$HOME and ${x}",
        "'single' \"double\"",
        "semi;colon",
        "{braces}",
        "back\\slash\\n",
        "# no comment",
        "ünïcode",
    ],
)
def test_serves_from_folders_with_any_name(tmp_path: Path, name: str) -> None:
    with run_nginx(tmp_path / name / "data", tmp_path / name / "run") as stand:
        stand.publish("lib", "as JSON", "as HTML")
        (stand.data / "private/ours").touch()
        assert stand.get(PAGE, Accept=SIMPLE_JSON).text == "as JSON"
        assert stand.get("/workloads/stable/+simple/ours/").text == "devpi"
        file = stand.data / f"public/files/lib/{'a' * 64}/lib-1.tar.gz"
        file.parent.mkdir(parents=True)
        file.write_text("content")
        assert stand.get(f"/root/pypi/+f/lib/{'a' * 64}/lib-1.tar.gz").text == "content"


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (SIMPLE_JSON, "as JSON"),
        (SIMPLE_JSON.upper(), "as JSON"),
        (
            f"{SIMPLE_JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
            "as JSON",
        ),
        (f"text/html;q=0.2 , {SIMPLE_JSON}", "as JSON"),
        ("text/html", "as HTML"),
        ("Text/HTML", "as HTML"),
        ("*/*", "as HTML"),
        ("", "as HTML"),
        (f"{SIMPLE_JSON};q=0", "cache"),
        (f"{SIMPLE_JSON};q=0.1, text/html", "cache"),
        ("application/vnd.pypi.simple.latest+json", "cache"),
        ("application/*", "cache"),
        (f"{SIMPLE_JSON}x", "cache"),
    ],
)
def test_the_cache_decides_where_q_values_count(
    proxy: NginxStand, accept: str, answer: str
) -> None:
    assert proxy.get(PAGE, Accept=accept).text == answer
    if answer == "cache":
        ((_, headers),) = proxy.cache.requests
        assert headers["accept"] == accept


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:3141", 200),
        ("10.152.183.7", 200),
        ("[::1]:3141", 200),
        ("localhost", 200),
        ("LOCALHOST:3141", 200),
        ("pypi-mirror", 200),
        ("pypi-mirror.pypi-mirror.svc", 200),
        ("pypi-mirror.pypi-mirror.svc.cluster.local:3141", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example:3141", 421),
        ("svc.evil.example", 421),
        ("cluster.local.evil.example", 421),
    ],
)
def test_private_pages_only_for_known_hosts(proxy: NginxStand, host: str, status: int) -> None:
    """The name of an attacker's web site may lead here: DNS rebinding."""
    for path in ("/workloads/stable/+simple/ours/", "/workloads/stable/+f/a/b/ours-1.tar.gz"):
        assert proxy.get(path, Host=host).status_code == status
    assert proxy.get(PAGE, Host=host).status_code == 200, "public pages are no secret"


@pytest.mark.parametrize(
    "path",
    [
        "/root/pypi/lib",
        "/root/pypi/lib/1.0",
        "/root/pypi/+simple/",
        "/root/pypi/+f/ab/cdef/lib-1.tar.gz",
        "//root//pypi/lib",
        "/root/./pypi/lib",
        "/root/pypi/%6Cib",
        "/x/../root/pypi/lib",
    ],
)
def test_devpi_is_not_asked_for_public_packages(proxy: NginxStand, path: str) -> None:
    """It would ask the upstream, in one of its few threads."""
    assert proxy.get(path).status_code == 404
    assert proxy.devpi.requests == []


@pytest.mark.parametrize("path", ["/root/pypi", "/root/pypi/+api", "/+api", "/workloads/stable"])
def test_devpi_answers_for_indexes(proxy: NginxStand, path: str) -> None:
    assert proxy.get(path).text == "devpi"


@pytest.mark.parametrize("path", ["/workloads/stable/+simple//{}/", "/root//pypi/+simple/{}/"])
def test_double_slashes_mean_the_same_warm_and_cold(proxy: NginxStand, path: str) -> None:
    assert proxy.get(path.format("lib"), Accept=SIMPLE_JSON).text == "as JSON"
    assert proxy.get(path.format("cold"), Accept=SIMPLE_JSON).text == "cache"
    assert proxy.cache.requests[0][0] == "/workloads/stable/+simple/cold/"


def test_logs_each_request_of_a_client_with_its_kind(tmp_path: Path) -> None:
    """The cache counts these lines; probes and our own requests are none of them."""
    with run_nginx(tmp_path / "data", tmp_path / "scratch") as stand:
        stand.publish("lib", "as JSON", "as HTML")
        (stand.data / "private/ours").touch()
        log = tmp_path / "scratch/requests.log"
        file = f"/root/pypi/+f/lib/{'e' * 64}/lib-1.tar.gz"
        stand.get(PAGE, Accept=SIMPLE_JSON)
        stand.get("/workloads/stable/+simple/new/", Accept=SIMPLE_JSON)
        stand.get(file)
        stand.get("/workloads/stable/+simple/ours/")
        stand.get("/+mirror/status")
        stand.get("/metrics")
        for path in (PAGE, file, "/workloads/stable/+simple/ours/"):
            stand.get(path, User_Agent=OWN_USER_AGENT)
        stand.get(PAGE, User_Agent="the last one")

        def is_complete() -> bool:
            return log.read_text().count("\n") >= 5

        wait_until(is_complete, deadline=Deadline.after(30), what="nginx has written its buffers")
        assert sorted(log.read_text().splitlines()) == [
            "file 200 5 200",
            "page 200 5 200",
            "page 200 7 -",
            "page 200 7 -",
            "private 200 5 200",
        ]


def test_answers_under_the_name_of_an_ingress(tmp_path: Path) -> None:
    hosts = ("packages.corp.example",)
    with run_nginx(tmp_path / "data", tmp_path / "scratch", allowed_hosts=hosts) as stand:
        (stand.data / "private/ours").touch()
        page = "/workloads/stable/+simple/ours/"
        for name in ("packages.corp.example", "Packages.Corp.Example:8443"):
            assert stand.get(page, Host=name).text == "devpi"
        for name in ("packagesxcorp.example", "a.packages.corp.example", "packages.corp.example.x"):
            assert stand.get(page, Host=name).status_code == 421


def test_the_root_is_a_page_for_browsers_and_devpis_for_its_clients(proxy: NginxStand) -> None:
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    assert proxy.get("/?q=x", Accept=browser).text == "cache"
    ((path, headers),) = proxy.cache.requests
    assert path == "/?q=x"
    assert headers["x-mirror-host"] == proxy.url.removeprefix("http://")
    for accept in ("application/json", "*/*", ""):
        assert proxy.get("/", Accept=accept).text == "devpi"
    assert proxy.get("/", Accept=browser, Host="evil.example").status_code == 421
