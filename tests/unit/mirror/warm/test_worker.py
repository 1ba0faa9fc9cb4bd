"""The warm worker against an index on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirror.warm import worker
from mirror.warm.request import RequestedRelease, WarmProgress, WarmReport, WarmRequest
from mirror.wheels import TargetEnvironment
from tests.faults.faulty_upstream import FaultyFile, FaultyProject, FaultyUpstream

TARGET = TargetEnvironment(pythons=("3.12",), machines=("x86_64",))


@pytest.fixture
def index() -> Iterator[FaultyUpstream]:
    index = FaultyUpstream()
    yield index
    index.stop()


def run_warm(
    index: FaultyUpstream, *releases: RequestedRelease
) -> tuple[WarmReport, list[WarmProgress]]:
    messages: list[WarmProgress] = []
    request = WarmRequest(releases=releases, target=TARGET)
    return worker.warm(index.url, request, on_progress=messages.append), messages


def test_fetches_the_newest_allowed_release(index: FaultyUpstream) -> None:
    index.add_project("lib", "1.0", "2.0", "3.0rc1", "4.0")
    report, messages = run_warm(index, RequestedRelease(name="lib", specifier="<4"))
    assert (report.files, report.misses) == (1, ())
    assert index.count_downloads() == {"/files/lib/lib-2.0-py3-none-any.whl": 1}
    assert [(message.step, message.done, message.total) for message in messages] == [
        ("pages", 1, 1),
        ("files", 1, 1),
    ]


def test_fetches_a_prerelease_only_if_nothing_else_matches(index: FaultyUpstream) -> None:
    """As pip and uv do."""
    index.add_project("lib", "1.0", "2.0rc1", "2.0rc2")
    for specifier, version in ((">=1", "1.0"), (">1", "2.0rc2"), ("==2.0rc1", "2.0rc1")):
        index.request_counts.clear()
        report, _ = run_warm(index, RequestedRelease(name="lib", specifier=specifier))
        assert report.files == 1, report
        assert index.count_downloads() == {f"/files/lib/lib-{version}-py3-none-any.whl": 1}


def page_entry(version: str, **fields: object) -> dict[str, object]:
    filename = f"lib-{version}-py3-none-any.whl"
    return {"filename": filename, "url": f"../../f/{filename}", "hashes": {}, **fields}


def select_versions(
    specifier: str, pythons: tuple[str, ...], *entries: dict[str, object]
) -> list[str]:
    """Return the versions of the files that a run would fetch, from a page with these entries."""
    page = worker._parse_page("http://index.invalid/simple/lib/", {"files": list(entries)})
    target = TargetEnvironment(pythons=pythons, machines=("x86_64",))
    files = worker._select_files(page, RequestedRelease(name="lib", specifier=specifier), target)
    return sorted(file.filename.split("-")[1] for file in files)


ENTRIES = (
    page_entry("1.0", **{"requires-python": ">=3.8"}),
    page_entry("2.0", **{"requires-python": ">=3.12"}),
    page_entry("3.0", yanked="broken, do not use"),
    page_entry("4.0", **{"requires-python": ">=3.99"}),
)


@pytest.mark.parametrize(
    ("specifier", "pythons", "versions"),
    [
        ("", ("3.9",), ["1.0"]),
        ("", ("3.12",), ["2.0"]),
        ("", ("3.9", "3.13"), ["1.0", "2.0"]),
        ("==3.0", ("3.9",), ["3.0"]),
        (">=2.5,<4", ("3.12",), None),
        ("==2.0", ("3.9",), None),
        ("==4.0", ("3.13",), None),
    ],
)
def test_selects_what_an_installer_takes(
    specifier: str, pythons: tuple[str, ...], versions: list[str] | None
) -> None:
    """Requires-python counts for each Python; a yanked file is taken only for its exact version."""
    if versions is None:
        with pytest.raises(worker._NotAvailable):
            select_versions(specifier, pythons, *ENTRIES)
    else:
        assert select_versions(specifier, pythons, *ENTRIES) == versions


def test_explains_what_the_index_does_not_have(index: FaultyUpstream) -> None:
    index.add_project("lib", "1.0")
    index.projects["native"] = FaultyProject(
        files={"native-1.0-cp312-cp312-win_amd64.whl": FaultyFile(content=b"x")}
    )
    index.projects["wrong"] = FaultyProject(
        files={"wrong-1.0-py3-none-any.whl": FaultyFile(content=b"x", sha256="0" * 64)}
    )
    report, _ = run_warm(
        index,
        RequestedRelease(name="absent", specifier="==1.0"),
        RequestedRelease(name="lib", specifier="==9"),
        RequestedRelease(name="lib", specifier="==1.0", hashes=("f" * 64,)),
        RequestedRelease(name="native"),
        RequestedRelease(name="wrong"),
    )
    assert report.files == 0
    reasons = [(miss.name, miss.why) for miss in report.misses]
    assert ("absent==1.0", "no index has a project of this name") in reasons
    assert ("lib==9", "the index has no release ==9") in reasons
    assert any(name == "lib==1.0" and "has a hash of the lock" in why for name, why in reasons)
    assert ("native", "no wheel for Python 3.12 on Linux x86_64, and no sdist") in reasons
    assert any(name == "wrong-1.0-py3-none-any.whl" for name, _ in reasons)


def test_retries_until_the_time_is_over(
    index: FaultyUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_RETRY_SECONDS", 0.5)
    index.add_project("lib")
    with index.inject_fault("503"):
        report, _ = run_warm(index, RequestedRelease(name="lib"))
    assert [miss.name for miss in report.misses] == ["lib"]
    assert index.request_counts["/simple/lib/"] > 1


def test_asks_the_upstream_of_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    def read_page(url: str) -> list[worker.IndexFile]:
        urls.append(url)
        return []

    monkeypatch.setattr(worker, "_read_page", read_page)
    releases = (RequestedRelease(name="tensor", upstream="cpu"), RequestedRelease(name="lib"))
    request = WarmRequest(releases=releases, target=TARGET)
    index = "http://10.1.2.3:3141/workloads/stable/+simple/"
    worker.warm(index, request, on_progress=lambda _: None)
    assert sorted(urls) == [
        "http://10.1.2.3:3141/+upstream/cpu/+simple/tensor/",
        "http://10.1.2.3:3141/workloads/stable/+simple/lib/",
    ]
