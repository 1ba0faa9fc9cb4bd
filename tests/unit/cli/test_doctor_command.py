"""`mirror doctor --from`: the report about saved evidence, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.commands.doctor import doctor
from cli.output import terminal
from deploy.doctor import explain
from deploy.evidence.model import Evidence
from mirror.core.codec import load
from mirror.core.errors import InputError
from tests.unit.deploy.checks.test_cases import load_case

CASES = Path(__file__).parents[1] / "cases" / "checks"

CASE_NAMES = sorted(path.name for path in CASES.iterdir())


def run_doctor(case: str, *options: str) -> Result:
    argv = ["--from", str(CASES / case / "evidence.json"), *options]
    return CliRunner().invoke(doctor, argv, standalone_mode=True)


def save_case(case: str, folder: Path) -> str:
    """Write the evidence of any case, also of one with like.json, and return the path."""
    path = folder / "evidence.json"
    path.write_text(json.dumps(load_case(CASES / case)))
    return str(path)


def test_reports_the_findings_of_the_field_cluster() -> None:
    result = run_doctor("field")
    assert result.exit_code == 1
    out = " ".join(result.stdout.split())
    assert "✗ 1. search domain communityfibre.co.uk is poisoned !" in out, (
        "the fault, not its check"
    )
    assert "search domain communityfibre.co.uk is poisoned" in out
    assert "Name has no usable address" in out
    assert "seen: a program of this run, a log or the state of a container shows it" in out
    works, first = out.index("mirror env --publish"), out.index("-n NAMESPACE --ndots")
    assert works < first < out.index("mirror fix search-domains"), "tried: ndots does not suffice"
    assert "but does not connect. [one workload; not enough alone]" in out
    assert result.stdout.endswith(
        "1 error, 3 warnings, 39 not (fully) observed\n"
        "verdict: pods fail: search domain communityfibre.co.uk is poisoned\n"
        "next: mirror up\n"
    )


def test_reports_a_healthy_cluster() -> None:
    result = run_doctor("healthy")
    assert result.exit_code == 0
    assert "✓ dns        10\n" in result.stdout
    assert "nothing found" not in result.stdout, "the evidence of an older version has gaps"


def test_gives_a_verdict_about_a_whole_cluster() -> None:
    result = run_doctor("whole")
    assert result.stdout.endswith("nothing found\nverdict: nothing here keeps packages from pods\n")


def test_explains_each_check() -> None:
    for check in explain.list_checks():
        result = CliRunner().invoke(doctor, ["--explain", check])
        assert result.exit_code == 0
        assert result.stdout.startswith(f"{check}\n"), check
        assert "\n## " not in result.stdout
    assert len(explain.list_checks()) > 40


def test_names_a_check_like_the_one_that_does_not_exist() -> None:
    result = CliRunner().invoke(doctor, ["--explain", "dns.search-domain"])
    assert isinstance(result.exception, InputError)
    assert result.exception.next_step == "mirror doctor --explain dns.search-domains"


def test_reports_what_was_not_observed() -> None:
    result = run_doctor("no-probe-image")
    assert result.exit_code == 0
    out = " ".join(result.stdout.split())
    assert "not observed (19 checks): no probe image: give --image REF" in out


def test_exits_with_0_if_there_are_only_warnings() -> None:
    assert run_doctor("egress-cut").exit_code == 0


@pytest.mark.parametrize(
    ("case", "severity", "exit_code"),
    [
        ("egress-cut", "warning", 1),
        ("egress-cut", "note", 1),
        ("node-other-search-list", "warning", 0),
        ("field", "never", 0),
    ],
)
def test_fail_on_sets_the_severity_that_fails(
    case: str, severity: str, exit_code: int, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        doctor, ["--from", save_case(case, tmp_path), "--fail-on", severity]
    )
    assert result.exit_code == exit_code, result.stdout


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("case", CASE_NAMES)
def test_fits_every_terminal_width(
    case: str, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prose is wrapped; only text to copy or compare (commands, names) may be longer."""
    monkeypatch.setattr(terminal.out, "width", columns)
    result = CliRunner().invoke(doctor, ["--from", save_case(case, tmp_path)])
    assert result.exit_code in {0, 1}, result.exception
    limit = min(max(columns, 60), 100)
    for line in result.stdout.splitlines():
        words = line.strip().split(" ")
        may_be_long = (
            line.lstrip().startswith(("$ ", "next: ", "name tried", "index.")) or "→" in line
        )
        may_be_long = may_be_long or "as in " in line or "A: " in line
        may_be_long = may_be_long or max(map(len, words)) > limit - 10
        assert len(line) <= limit or may_be_long, line


def test_prints_json_and_saves_the_evidence_again(tmp_path: Path) -> None:
    saved = tmp_path / "again.json"
    result = run_doctor("field", "-o", "json", "--save", str(saved))
    report = json.loads(result.stdout)
    assert report["findings"][0]["check"] == "dns.search-domains"
    assert report["findings"][0]["mends"][0]["reach"] == "namespace"
    assert report["findings"][0]["certainty"] == "seen"
    assert report["next"] == "mirror up"
    evidence = load(Evidence, json.loads((CASES / "field" / "evidence.json").read_text()))
    assert load(Evidence, json.loads(saved.read_text())) == evidence


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"context": 1}', "\xff"])
def test_rejects_a_file_that_is_not_evidence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    result = CliRunner().invoke(doctor, ["--from", str(path)])
    assert isinstance(result.exception, InputError)
