"""What the rules hide, by whole pages: literal files in, literal verdicts out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mirror.core.errors import InputError
from mirror.policy import Policy, parse_age, parse_rule

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OLD, NEW = "2026-11-01T00:00:00.000000Z", "2026-11-27T12:00:00Z"


def build_page(**times: str) -> dict[str, Any]:
    """Return a page of ``lib`` with a wheel for each version (its dots are underscores)."""
    files = []
    for version, uploaded in times.items():
        number = version.strip("v").replace("_", ".")
        file: dict[str, Any] = {
            "filename": f"lib-{number}-py3-none-any.whl",
            "url": "x",
            "hashes": {"sha256": number[0] * 64},
        }
        files.append(file | ({"upload-time": uploaded} if uploaded else {}))
    versions = [version.strip("v").replace("_", ".") for version in times]
    return {"meta": {"api-version": "1.1"}, "name": "lib", "versions": versions, "files": files}


def list_shown(policy: Policy, page: dict[str, Any], *exempt: str) -> list[str]:
    document = policy.apply("lib", page, exempt, NOW).document
    return [file["filename"].split("-")[1] for file in document["files"]]


def rules(**lists: str) -> Policy:
    """Return a policy from words."""
    age = lists.pop("min_age", "0")
    parsed = {key: tuple(map(parse_rule, text.split())) for key, text in lists.items()}
    return Policy(min_age=parse_age(age), **parsed)


def test_hides_files_that_are_too_young_and_says_until_when() -> None:
    page = build_page(v1_0=OLD, v2_0=NEW)
    verdict = rules(min_age="7d").apply("lib", page, (), NOW)
    assert [file["filename"] for file in verdict.document["files"]] == ["lib-1.0-py3-none-any.whl"]
    assert verdict.document["versions"] == ["1.0"]
    assert verdict.document["_policy"] == {"rules": ["min-age 7d"], "hidden": 1}
    assert verdict.files[1].rule == "min-age 7d: uploaded 2026-11-27 12:00+00:00"
    assert verdict.next_change == datetime(2026, 12, 4, 12, tzinfo=UTC).timestamp()
    assert len(page["files"]) == 2, "the page itself stays"


@pytest.mark.parametrize(
    ("age", "shown"), [("24h", ["1.0", "2.0"]), ("25h", ["1.0"]), ("0", ["1.0", "2.0"])]
)
def test_a_file_is_old_enough_at_exactly_the_age(age: str, shown: list[str]) -> None:
    assert list_shown(rules(min_age=age), build_page(v1_0=OLD, v2_0=NEW)) == shown


def test_without_upload_times_nothing_is_hidden_and_the_page_says_so() -> None:
    verdict = rules(min_age="7d").apply("lib", build_page(v1_0="", v2_0="yesterday"), (), NOW)
    assert len(verdict.document["files"]) == 2
    note = "min-age 7d does not apply: its index gives no upload time"
    assert verdict.document["_policy"] == {"rules": ["min-age 7d"], "hidden": 0, "notes": [note]}
    assert {file.note for file in verdict.files} == {note}
    assert verdict.next_change is None


def test_hashes_of_warmed_locks_are_exempt_from_the_age_alone() -> None:
    page = build_page(v1_0=OLD, v2_0=NEW, v3_0=NEW)
    assert list_shown(rules(min_age="7d"), page, "2" * 64) == ["1.0", "2.0"]
    assert list_shown(rules(min_age="7d", deny="lib==2.0"), page, "2" * 64) == ["1.0"]


@pytest.mark.parametrize(
    ("lists", "shown"),
    [
        ({"deny": "lib>=2"}, ["1.0"]),
        ({"deny": "lib==2.0 lib<2"}, ["3.0"]),
        ({"deny": "l*==1.0"}, ["2.0", "3.0"]),
        ({"deny": "other l"}, ["1.0", "2.0", "3.0"]),
        ({"allow": "other lib<3"}, ["1.0", "2.0"]),
        ({"allow": "LIB", "deny": "lib!=2.0"}, ["2.0"]),
        ({"allow": "other"}, []),
        ({"deny": "lib"}, []),
        ({"deny": "?ib"}, []),
        ({"deny": "*"}, []),
    ],
)
def test_lists_hide_projects_and_versions(lists: dict[str, str], shown: list[str]) -> None:
    assert list_shown(rules(**lists), build_page(v1_0=OLD, v2_0=NEW, v3_0=NEW)) == shown


def test_a_rule_for_a_project_is_not_one_for_its_versions() -> None:
    policy = rules(allow="acme-* lib", deny="acme-evil lib>9")
    assert policy.find_project_rule("acme-billing") == ""
    assert policy.find_project_rule("acme-evil") == "deny acme-evil"
    assert policy.find_project_rule("lib") == ""
    assert policy.find_project_rule("other") == "allow: it is not in the list"
    assert policy.find_file_rule("lib", "lib-10.0.tar.gz") == "deny lib>9"
    assert policy.find_file_rule("lib", "lib-1.0.tar.gz") == ""


def test_a_file_without_a_version_is_of_any() -> None:
    assert rules(deny="lib>=2").find_file_rule("lib", "lib-whatever.exe") == "deny lib>=2"


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("7d", timedelta(days=7)),
        ("36h", timedelta(hours=36)),
        ("90m", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("3", timedelta(days=3)),
        ("0", timedelta()),
    ],
)
def test_reads_ages(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "d", "-1d", "1.5d", "7 d", "7y", "999999d", "١d"])
def test_refuses_other_ages(text: str) -> None:
    with pytest.raises(InputError, match="not an age"):
        parse_age(text)


@pytest.mark.parametrize("text", ["", "../x", "lib==", "lib==x y", "a/b", "-lib", "lib[x]"])
def test_refuses_what_is_no_rule(text: str) -> None:
    with pytest.raises(InputError, match="not a rule"):
        parse_rule(text)


def test_describes_its_rules() -> None:
    policy = rules(min_age="36h", allow="a* b", deny="c<2")
    assert policy.describe() == ["min-age 36h", "allow a*", "allow b", "deny c<2"]
    assert not policy.is_empty
    assert Policy().is_empty
