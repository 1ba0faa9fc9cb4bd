"""A cache with a policy: what its clients get, and how locks make files exempt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from mirror.cache.scrubber import Scrubber
from mirror.core.codec import load
from mirror.exemptions import ExemptionRequest, Exemptions, add_exemptions
from mirror.explanation import Explanation
from mirror.policy import Policy, parse_age, parse_rule
from mirror.settings import SIMPLE_JSON
from tests.faults.cache_process import CacheClient, run_cache
from tests.faults.faulty_upstream import FaultyUpstream


def format_age(**age: int) -> str:
    return (datetime.now(UTC) - timedelta(**age)).isoformat()


class PolicyStand:
    """A cache of one upstream: ``lib`` 1.0 is a year old, 2.0 a day."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.index = FaultyUpstream()
        self.old = self.index.add_package("lib", "1.0", uploaded=format_age(days=365))
        self.new = self.index.add_package("lib", "2.0", uploaded=format_age(days=1))
        self._running = ExitStack()
        self.cache: CacheClient

    def start(self, *, min_age: str = "0", deny: str = "", allow: str = "") -> None:
        self._running.close()
        policy = Policy(
            min_age=parse_age(min_age),
            deny=tuple(map(parse_rule, deny.split())),
            allow=tuple(map(parse_rule, allow.split())),
        )
        cache = run_cache(self.data / "public", self.index.url, Scrubber(self.data), policy=policy)
        self.cache = self._running.enter_context(cache)

    def get(self, path: str, accept: str = SIMPLE_JSON) -> httpx.Response:
        headers = {"Accept": accept}
        return httpx.get(self.cache.url + path, headers=headers, trust_env=False, timeout=60)

    def read_page(self, project: str = "lib", accept: str = SIMPLE_JSON) -> bytes:
        response = self.get(f"/workloads/stable/+simple/{project}/", accept)
        return self.cache.read_body(response)

    def list_versions(self) -> list[str]:
        page = json.loads(self.read_page())
        html = self.read_page(accept="text/html").decode()
        versions = [file["filename"].split("-")[1] for file in page["files"]]
        assert [v for v in ("1.0", "2.0") if f">lib-{v}-py3" in html] == versions
        return versions

    def explain(self, project: str) -> Explanation:
        document: Any = self.get(f"/+mirror/explain/{project}").json()
        return load(Explanation, document)

    def close(self) -> None:
        self._running.close()
        self.index.stop()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[PolicyStand]:
    stand = PolicyStand(tmp_path / "data")
    yield stand
    stand.close()


def test_young_files_are_hidden_in_both_forms(stand: PolicyStand) -> None:
    stand.start(min_age="7d")
    assert stand.list_versions() == ["1.0"]
    published = json.loads((stand.data / "public/fresh/lib.json").read_bytes())
    assert [file["filename"] for file in published["files"]] == ["lib-1.0-py3-none-any.whl"]
    assert "min-age 7d" in stand.read_page(accept="text/html").decode()


def test_a_lock_may_still_name_a_young_file(stand: PolicyStand) -> None:
    stand.start(min_age="7d")
    stand.list_versions()
    assert stand.cache.read_body(stand.get(f"/packages/{stand.new.path}")) == stand.new.content


def test_another_policy_needs_no_new_page(stand: PolicyStand) -> None:
    stand.start()
    assert stand.list_versions() == ["1.0", "2.0"]
    for options, versions in (
        ({"min_age": "7d"}, ["1.0"]),
        ({"deny": "lib==1.0"}, ["2.0"]),
        ({}, ["1.0", "2.0"]),
        ({"allow": "lib<2"}, ["1.0"]),
    ):
        stand.start(**options)
        assert stand.list_versions() == versions
    assert stand.index.request_counts["/simple/lib/"] == 1


def test_hashes_of_a_warmed_lock_become_visible_at_once(stand: PolicyStand) -> None:
    stand.start(min_age="7d")
    assert stand.list_versions() == ["1.0"]
    request = ExemptionRequest(lock="a1", sha256=(stand.new.sha256,), projects=("Lib", "../x"))
    assert add_exemptions(stand.data, request) == 1
    assert not (stand.data / "public/fresh/lib.json").exists(), "nginx asks the cache again"
    assert stand.list_versions() == ["1.0", "2.0"]
    (file,) = (file for file in stand.explain("lib").files if file.version == "2.0")
    assert "a lock that was warmed" in file.note
    request = ExemptionRequest(lock="a1", sha256=(), projects=("lib",))
    add_exemptions(stand.data, request)
    assert stand.list_versions() == ["1.0"], "the same lock without it"


def test_a_file_appears_when_it_is_old_enough(
    stand: PolicyStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.start(min_age="7d")
    assert stand.list_versions() == ["1.0"]

    class WeekLater(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> WeekLater:
            return super().now(tz) + timedelta(days=7)

    monkeypatch.setattr("mirror.cache.page_policy.datetime", WeekLater)
    stand.start(min_age="7d")
    assert stand.list_versions() == ["1.0", "2.0"]


def test_a_denied_project_is_403_and_says_the_rule(stand: PolicyStand) -> None:
    stand.index.add_package("evil")
    stand.start(deny="evil lib==2.0")
    for path in ("/workloads/stable/+simple/evil/", "/+upstream/default/+simple/evil/"):
        response = stand.get(path)
        assert (response.status_code, response.text) == (
            403,
            "the mirror's policy hides evil: deny evil\n",
        )
    assert stand.get(f"/packages/{stand.new.path}").status_code == 403
    assert stand.get(f"/packages/{stand.old.path}").status_code == 200
    assert stand.index.request_counts["/simple/evil/"] == 0
    assert 'pypi_mirror_policy_refusals_total{rule="deny"} 3.0' in stand.get("/metrics").text
    assert stand.cache.read_status()["policy"] == ["deny evil", "deny lib==2.0"]


def test_a_full_volume_gets_around_no_rule(
    stand: PolicyStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.start(min_age="7d")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mirror.cache.page_store.PageStore._write", fail)
    assert stand.list_versions() == ["1.0"]


def test_damaged_shown_pages_are_written_anew(stand: PolicyStand) -> None:
    from mirror.store.verify import verify_files

    stand.start(min_age="7d")
    stand.list_versions()
    (stand.data / "public/shown/lib.json").write_bytes(b"{")
    (flaw,) = verify_files(stand.data, repair=True).flaws
    assert flaw.file == "public/shown/lib.json"
    assert stand.list_versions() == ["1.0"]


def test_explains_what_hides_what(stand: PolicyStand) -> None:
    stand.index.add_package("plain")
    stand.start(min_age="7d", deny="evil")
    explanation = stand.explain("lib")
    assert (explanation.upstream, explanation.hidden_by) == ("default", "")
    assert explanation.rules == ("min-age 7d", "deny evil")
    assert [(file.version, file.rule.split(":")[0]) for file in explanation.files] == [
        ("1.0", ""),
        ("2.0", "min-age 7d"),
    ]
    (file,) = stand.explain("plain").files
    assert file.note == "min-age 7d does not apply: its index gives no upload time"
    assert stand.explain("evil").hidden_by == "the mirror's policy hides evil: deny evil"
    assert stand.explain("nobody").hidden_by == "nothing: no project of this name is at default"
    (stand.data / "private").mkdir()
    (stand.data / "private/secret").touch()
    assert stand.explain("secret").private
    assert stand.index.request_counts["/simple/secret/"] == 0, "its name is told to nobody"
    with stand.index.inject_fault("500"):
        assert "does not answer" in stand.explain("unknown").hidden_by
    assert stand.get("/+mirror/explain/..%2f").status_code == 404


def test_reads_exemptions_only_when_they_change(tmp_path: Path) -> None:
    exemptions = Exemptions(tmp_path / "public")
    assert exemptions.read() == frozenset()
    version = exemptions.version
    exemptions.read()
    assert exemptions.version == version
    digest = "ab" * 32
    request = ExemptionRequest(lock="1", sha256=(digest.upper(), "x" * 64, "../y"), projects=())
    assert add_exemptions(tmp_path, request) == 1
    assert exemptions.read() == {digest}
    assert exemptions.version == version + 1
