"""`kubectl mirror` names itself in help and errors, so that what it prints can be pasted."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import errors
from cli.called_name import get_called_name, name_examples, use_called_name
from cli.mirror import main, mirror
from mirror.version import VERSION


@pytest.mark.parametrize(
    ("executable", "name"),
    [
        ("/home/u/.local/bin/kubectl-mirror", "kubectl mirror"),
        ("kubectl-mirror.exe", "kubectl mirror"),
        ("/home/u/.local/bin/mirror", "mirror"),
        ("/src/cli/__main__.py", "mirror"),
    ],
)
def test_called_name(executable: str, name: str) -> None:
    assert get_called_name(executable) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run `mirror up --local`", "run `kubectl mirror up --local`"),
        (
            "mirror fix dns; then: mirror doctor",
            "kubectl mirror fix dns; then: kubectl mirror doctor",
        ),
        ("mirror --help", "kubectl mirror --help"),
        ("kubectl mirror up", "kubectl mirror up"),
        # what is no command
        ("the mirror on this machine", "the mirror on this machine"),
        ("the mirror upgrades", "the mirror upgrades"),
        ("kubectl -n pypi-mirror up", "kubectl -n pypi-mirror up"),
        ("/opt/mirror up", "/opt/mirror up"),
        ("build-image mirror --tag m:1", "build-image mirror --tag m:1"),
    ],
)
def test_commands_in_texts(text: str, expected: str) -> None:
    assert use_called_name(text, "kubectl mirror") == expected
    assert use_called_name(text, "mirror") == text


def test_help_shows_examples_as_called() -> None:
    group = name_examples(mirror, "kubectl mirror")
    overview = CliRunner().invoke(group, ["--help"], prog_name="kubectl mirror").stdout
    assert overview.startswith("Usage: kubectl mirror [OPTIONS] COMMAND")
    assert "\n  kubectl mirror doctor       why packages do not reach pods" in overview
    page = CliRunner().invoke(group, ["logs", "--help"], prog_name="kubectl mirror").stdout
    assert page.startswith("Usage: kubectl mirror logs ")
    assert "\n  kubectl mirror logs devpi --tail 500\n" in page
    # the program of the other name is unchanged
    page = CliRunner().invoke(mirror, ["logs", "--help"], prog_name="mirror").stdout
    assert "\n  mirror logs devpi --tail 500\n" in page


def run_plugin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/kubectl-mirror", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return (end.value.code, *capsys.readouterr())


def test_the_plugin_names_itself_in_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "prepare_streams", lambda: None)  # pytest's own streams
    code, _, err = run_plugin(monkeypatch, capsys, "statsu")
    assert code == 2
    assert "next: kubectl mirror status --help\n" in err
    code, _, err = run_plugin(monkeypatch, capsys, "status", "--nonsense")
    assert code == 2
    assert "next: kubectl mirror status --help\n" in err


def test_the_plugin_repeats_the_command_as_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not as one quoted word."""
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    (tmp_path / "DATA/pypi-mirror/devpi").mkdir(parents=True)
    monkeypatch.setattr(errors, "prepare_streams", lambda: None)
    monkeypatch.setattr("sys.stdin", None)
    code, _, err = run_plugin(monkeypatch, capsys, "down", "--local", "--purge")
    assert code == 2
    assert "kubectl mirror down --local --purge --yes" in err


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(errors, "prepare_streams", lambda: None)
    assert run_plugin(monkeypatch, capsys, "--version")[1] == f"kubectl mirror, version {VERSION}\n"
