"""`mirror manifests --kustomize DIR --helm DIR`: which files are written, and over which."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.cli.run_command import CommandResult, run_command

BASE = [
    "configmap-front.yaml",
    "kustomization.yaml",
    "namespace.yaml",
    "networkpolicy.yaml",
    "persistentvolumeclaim-data.yaml",
    "service.yaml",
    "statefulset.yaml",
]
HEADER = "# Written by `mirror manifests`: change its options, not this file.\n"


def write_base(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> CommandResult:
    words = ("mirror", "manifests", "--image", "m:1", "--kustomize", str(folder), *options)
    return run_command(monkeypatch, *words)


def list_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_writes_a_base_and_prints_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = write_base(monkeypatch, tmp_path / "base")
    assert done.code == 0
    assert list_names(tmp_path / "base") == BASE
    assert sorted(done.out.split()) == [str(tmp_path / "base" / name) for name in BASE]
    text = (tmp_path / "base/kustomization.yaml").read_text()
    assert text.startswith(HEADER)
    assert yaml.safe_load(text)["resources"] == [
        "namespace.yaml",
        "configmap-front.yaml",
        "persistentvolumeclaim-data.yaml",
        "service.yaml",
        "networkpolicy.yaml",
        "statefulset.yaml",
    ]


def test_writes_a_chart_beside_a_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = write_base(monkeypatch, tmp_path / "base", "--helm", str(tmp_path / "chart"))
    assert done.code == 0
    assert list_names(tmp_path / "base") == BASE
    assert list_names(tmp_path / "chart") == sorted(
        [
            "Chart.yaml",
            "values.yaml",
            "values.schema.json",
            "templates/NOTES.txt",
            *(f"templates/{name}" for name in BASE if name != "kustomization.yaml"),
        ]
    )


def test_a_later_run_updates_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca = "/etc/ssl/certs/ca-certificates.crt"
    assert write_base(monkeypatch, tmp_path, "--ca-bundle", ca).code == 0
    assert "configmap-ca.yaml" in list_names(tmp_path)
    assert write_base(monkeypatch, tmp_path, "--node", "ra").code == 0
    assert list_names(tmp_path) == BASE, "without --ca-bundle its ConfigMap is gone"
    assert "kubernetes.io/hostname: ra" in (tmp_path / "statefulset.yaml").read_text()


def test_a_folder_with_other_files_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "patch.yaml").write_text("mine\n")
    done = write_base(monkeypatch, tmp_path)
    assert done.code == 5
    assert f"error: {tmp_path} has other files: patch.yaml\n" in done.err
    assert done.get_line("next").endswith(f"ls -A {tmp_path}")
    assert list_names(tmp_path) == ["patch.yaml"]
    assert (tmp_path / "patch.yaml").read_text() == "mine\n"


def test_one_folder_for_both_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = write_base(monkeypatch, tmp_path, "--helm", f"{tmp_path}/.")
    assert done.code == 2
    assert "cannot write the same folder" in done.err
    assert list_names(tmp_path) == []
