"""The parts of a build that need no engine: context, name, CA file, and no engine."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from images import build_mirror
from images.build_mirror import collect_context_files, plan_mirror, read_ca_bundle
from images.engine import EngineClient, EngineImage, _split_reference
from images.mirror_recipe import load_mirror_recipe
from mirror.core.errors import EngineError, InputError, UnfitError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline

BASE = EngineImage(id="sha256:1", architecture="amd64", size=1, labels={})


class OneImageEngine:
    """An engine that finds the same image by every name."""

    def __init__(self, image: EngineImage) -> None:
        self.image = image

    def find(self, reference: str) -> EngineImage:
        return self.image


def plan(image: EngineImage = BASE, base: str | None = None) -> build_mirror.MirrorImagePlan:
    return plan_mirror(cast("EngineClient", OneImageEngine(image)), base=base, progress=SILENT)


def test_the_context_has_the_code_but_no_bytecode() -> None:
    names = collect_context_files(load_mirror_recipe()).keys()
    assert "mirror/store/prepare.py" in names
    assert "mirror_system.sh" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("/")]


def test_every_input_changes_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan()
    assert first.reference == f"pypi-mirror:{first.version}-{first.inputs_sha256[:12]}"
    assert plan().reference == first.reference
    others = [plan(replace(BASE, id="sha256:2")), plan(base="other:1")]
    files = collect_context_files(first.recipe)
    for changed in ("mirror_system.sh", "mirror/settings.py", "mirror-requirements.txt"):
        with monkeypatch.context() as patched:
            more = {**files, changed: files[changed] + b"\n"}
            patched.setattr(build_mirror, "collect_context_files", lambda _, more=more: more)
            others.append(plan())
    assert len({first.reference, *(other.reference for other in others)}) == 6


def test_refuses_an_architecture_without_probe_programs() -> None:
    with pytest.raises(UnfitError, match="no mirror image for s390x"):
        plan(replace(BASE, architecture="s390x"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("", "no -----BEGIN CERTIFICATE"),
        ("not a certificate", "no -----BEGIN CERTIFICATE"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ],
)
def test_refuses_a_bad_ca_file(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="bad CA file") as bad:
        read_ca_bundle(path)
    assert str(path) in bad.value.what
    assert why in bad.value.why
    assert "--ca-bundle" in bad.value.next_step


def test_takes_only_the_certificates_from_a_ca_file(tmp_path: Path) -> None:
    own = tmp_path / "both.pem"
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    names = ("-nodes", "-subj", "/CN=own", "-keyout", tmp_path / "key", "-out", own)
    subprocess.run((*words, *names), check=True, capture_output=True, timeout=60)
    own.write_text("# Société\n" + (tmp_path / "key").read_text() + own.read_text())
    assert "PRIVATE KEY" in own.read_text()
    text = read_ca_bundle(own)
    assert text.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" not in text


def test_names_the_engine_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(EngineError, match="no Docker engine to build with") as absent:
        EngineClient.connect(Deadline.after(5))
    assert str(tmp_path) in absent.value.what
    assert absent.value.why
    assert "DOCKER_HOST" in absent.value.next_step


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("a", ("a", "latest")),
        ("a:1", ("a", "1")),
        ("host:5000/a", ("host:5000/a", "latest")),
        ("host:5000/b/a:1", ("host:5000/b/a", "1")),
    ],
)
def test_splits_references(reference: str, parts: tuple[str, str]) -> None:
    assert _split_reference(reference) == parts
