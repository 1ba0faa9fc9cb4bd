"""`mirror doctor --watch` on a cluster in memory that changes while it looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import doctor_watch
from tests.kubernetes_api import on
from tests.unit.cli.whole_cluster import WholeClusterLab, run_whole_cluster

WATCH = ("doctor", "--watch", "--category", "nodes", "--interval", "7s")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        yield lab


def set_cordoned(lab: WholeClusterLab, value: bool) -> None:
    lab.api.edit(
        "Node", "ra", "", lambda node: node.setdefault("spec", {}).update({"unschedulable": value})
    )


def play(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> list[float]:
    """Run one step in each pause; Ctrl-C comes in the one after the last. Return the pauses."""
    left, pauses = list(steps), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    monkeypatch.setattr(doctor_watch, "pause", pause)
    return pauses


def test_prints_only_changes_and_ends_with_the_verdict(
    lab: WholeClusterLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = play(
        monkeypatch,
        lambda: None,
        lambda: set_cordoned(lab, True),
        lambda: None,
        lambda: set_cordoned(lab, False),
    )
    result = lab.run(*WATCH)
    assert result.code == 0, result.err
    assert pauses == [7] * 5
    assert result.out.count("memory, ") + result.out.count("nodes ") >= 1
    assert result.out.count(" new:\n") == 1
    assert result.out.count("no new pod is scheduled on ra (cordoned)") == 2, "new, then gone"
    assert result.out.count(" gone: no new pod is scheduled on ra (cordoned)") == 1
    assert result.out.count("kubectl uncordon ra") == 1
    assert result.out.count("verdict: ") + result.out.count("not (fully) observed") >= 2
    assert result.out.index(" new:") < result.out.index(" gone:")


def test_the_exit_code_is_that_of_the_last_report(
    lab: WholeClusterLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, lambda: set_cordoned(lab, True))
    result = lab.run(*WATCH, "--fail-on", "warning")
    assert result.code == 1
    assert result.out.endswith(
        "verdict: pods may fail: no new pod is scheduled on ra (cordoned)\n"
        "next: kubectl uncordon ra\n"
    )


def test_goes_on_when_the_cluster_does_not_answer_for_a_while(
    lab: WholeClusterLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(
        monkeypatch,
        lambda: lab.api.failures.refuse(on("GET"), 500, times=None),
        lambda: None,
        lab.api.failures.revive,
    )
    result = lab.run(*WATCH)
    assert result.code == 0, result.err
    assert result.err.count("refused by the test") == 1, "said once"
    assert result.err.count("look at context") == 1, "no progress of what is repeated"
    assert "the cluster answers again" in result.err


def test_prints_each_report_that_differs_as_json(
    lab: WholeClusterLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, lambda: None, lambda: set_cordoned(lab, True), lambda: None)
    result = lab.run(*WATCH, "-o", "json")
    decoder, text, reports = json.JSONDecoder(), result.out.strip(), []
    while text:
        report, end = decoder.raw_decode(text)
        reports.append(report)
        text = text[end:].strip()
    assert [[finding["check"] for finding in report["findings"]] for report in reports] == [
        [],
        ["nodes.cordoned"],
    ]


def test_fails_at_once_if_the_first_look_does(
    lab: WholeClusterLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch)
    lab.api.failures.refuse(on("GET"), 500, times=None)
    assert lab.run(*WATCH).code == 3


@pytest.mark.parametrize("option", ["--save", "--bundle"])
def test_writes_no_file(option: str, lab: WholeClusterLab, tmp_path: Path) -> None:
    result = lab.run(*WATCH, option, str(tmp_path / "file"))
    assert result.code == 2
    assert f"{option} cannot be used with --watch" in result.err
