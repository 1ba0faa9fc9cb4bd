"""`mirror doctor --from`: the report of a saved file, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.commands.doctor import doctor
from cli.output import terminal
from deploy.evidence.model import Evidence
from mirror.core.codec import load
from mirror.core.errors import InputError
from tests.unit.deploy.checks.test_cases import load_case

CASES = Path(__file__).parents[1] / "cases" / "checks"

CASE_NAMES = sorted(path.name for path in CASES.iterdir())


def ask(case: str, *options: str) -> Result:
    argv = ["--from", str(CASES / case / "evidence.json"), *options]
    return CliRunner().invoke(doctor, argv, standalone_mode=True)


def test_the_field() -> None:
    said = ask("field")
    assert said.exit_code == 1
    out = " ".join(said.stdout.split())
    assert "✗ no search domain answers for names that do not exist" in out
    assert "search domain communityfibre.co.uk is poisoned" in out
    assert "Name has no usable address" in out
    assert "no search domain answers for names that do not exist → 1" in out
    first, second = out.index("-n NAMESPACE --ndots"), out.index("mirror env --publish")
    assert first < second < out.index("mirror fix search-domains")


def test_a_healthy_cluster() -> None:
    said = ask("healthy")
    assert said.exit_code == 0
    assert "✓ dns        8\n" in said.stdout
    assert "nothing found" not in said.stdout, "it is of an older version, and saw less"


def test_what_was_left_out_is_said() -> None:
    said = ask("no-probe-image")
    assert said.exit_code == 0
    assert "not observed (18 checks): no probe image: give --image REF" in " ".join(
        said.stdout.split()
    )


def test_warnings_alone_end_with_0() -> None:
    assert ask("egress-cut").exit_code == 0


@pytest.mark.parametrize(
    ("case", "limit", "code"),
    [
        ("egress-cut", "warning", 1),
        ("egress-cut", "note", 1),
        ("node-other-search-list", "warning", 0),
        ("field", "never", 0),
    ],
)
def test_the_line_can_be_moved(case: str, limit: str, code: int, tmp_path: Path) -> None:
    told = tmp_path / "evidence.json"
    told.write_text(json.dumps(load_case(CASES / case)))
    done = CliRunner().invoke(doctor, ["--from", str(told), "--fail-on", limit])
    assert done.exit_code == code, done.stdout


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("case", CASE_NAMES)
def test_it_is_readable_at_every_width(
    case: str, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prose fits; only what is to be copied or compared (commands, names) may be longer."""
    monkeypatch.setattr(terminal.out, "width", columns)
    told = tmp_path / "evidence.json"
    told.write_text(json.dumps(load_case(CASES / case)))
    done = CliRunner().invoke(doctor, ["--from", str(told)])
    assert done.exit_code in {0, 1}, done.exception
    limit = min(max(columns, 60), 100)
    for line in done.stdout.splitlines():
        words = line.strip().split(" ")
        whole = line.lstrip().startswith(("$ ", "name tried", "index.")) or "→" in line
        whole = whole or "as in " in line or "A: " in line or max(map(len, words)) > limit - 10
        assert len(line) <= limit or whole, line


def test_json_and_saved_again(tmp_path: Path) -> None:
    saved = tmp_path / "again.json"
    said = ask("field", "-o", "json", "--save", str(saved))
    told = json.loads(said.stdout)
    assert told["findings"][0]["check"] == "dns.search-domains"
    assert told["findings"][0]["mends"][0]["reach"] == "workload"
    first = load(Evidence, json.loads((CASES / "field" / "evidence.json").read_text()))
    assert load(Evidence, json.loads(saved.read_text())) == first


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"context": 1}', "\xff"])
def test_what_is_no_evidence_is_refused(text: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    said = CliRunner().invoke(doctor, ["--from", str(bad)])
    assert isinstance(said.exception, InputError)
