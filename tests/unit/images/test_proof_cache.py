"""A check runs again only if something it depends on has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from images.application_recipe import ApplicationRecipe, StartCommand
from images.engine import EngineImage
from images.project_lock import ProjectLock
from images.proof import (
    Outcome,
    ProofResult,
    ProofSubject,
    SourceFacts,
    SubjectOutcome,
)
from images.proof_cache import ProofCache, run_cached
from images.sandbox import NetworkAttempt
from mirror.core.progress import SILENT
from mirror.lock import PinnedDistribution

RESULT = ProofResult(
    summary="web serves",
    faults=(),
    warnings=("x",),
    outcomes=(SubjectOutcome(name="web", outcome=Outcome.SERVED, asked_for=("a",)),),
    attempts=(NetworkAttempt(kind="dns", host="a", port=0, process="p", modules=("m",)),),
)
PIN = PinnedDistribution(name="idna", specifier="==3.10")


def make_subject(layers: tuple[str, ...] = ("base", "packages", "source", "project")) -> Any:
    image = EngineImage(id="1", architecture="amd64", size=1, labels={}, layers=layers)
    return ProofSubject(
        engine=SimpleNamespace(get=lambda _: image),  # type: ignore[arg-type]
        image="1",
        recipe=ApplicationRecipe(name="x", starts=(StartCommand(name="web", argv=("a",)),)),
        lock=ProjectLock(file="uv.lock", sha256="", pins=(PIN,), members=()),
        source=SourceFacts(metadata_sha256="m"),
        progress=SILENT,
    )


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, runs: list[str]) -> Callable[..., ProofResult]:
    cache = ProofCache(folder=tmp_path)

    def call(subject: ProofSubject, check: str, result: ProofResult = RESULT) -> ProofResult:
        def check_image() -> ProofResult:
            runs.append(check)
            return result

        return run_cached(subject, check, check_image, cache)

    return call


def test_an_unchanged_image_is_not_proved_again(
    run: Callable[..., ProofResult], runs: list[str]
) -> None:
    first, second = run(make_subject(), "starts"), run(make_subject(), "starts")
    assert runs == ["starts"]
    assert not first.reused
    assert second == replace(first, reused=True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"layers": ("base", "packages", "new", "new")}, ["imports", "starts"]),
        ({"layers": ("base", "new", "source", "project")}, None),
        ({"recipe": ApplicationRecipe(name="x")}, ["imports", "starts"]),
        ({"lock": replace(make_subject().lock, pins=())}, ["distributions", "consistency"]),
        ({"source": SourceFacts(metadata_sha256="n")}, None),
        ({"source": SourceFacts(metadata_sha256="m", folders=("a",))}, ["imports", "starts"]),
    ],
    ids=("source", "packages", "recipe", "lock", "metadata", "members"),
)
def test_a_change_repeats_the_checks_that_depend_on_it(
    run: Callable[..., ProofResult],
    runs: list[str],
    change: dict[str, Any],
    expected: list[str] | None,
) -> None:
    checks = ["distributions", "consistency", "imports", "starts"]
    for check in checks:
        run(make_subject(), check)
    runs.clear()
    layers = change.pop("layers", None)
    subject = replace(make_subject(layers) if layers else make_subject(), **change)
    for check in checks:
        run(subject, check)
    assert runs == (checks if expected is None else expected)


def test_keeps_no_failure_and_survives_a_damaged_file(
    run: Callable[..., ProofResult], runs: list[str], tmp_path: Path
) -> None:
    failed = replace(RESULT, faults=("x",))
    run(make_subject(), "starts", failed)
    run(make_subject(), "starts")
    assert runs == ["starts", "starts"]
    (path,) = tmp_path.glob("*.json")
    for text in ("{", json.dumps({"nonsense": 1})):
        path.write_text(text)
        assert not run(make_subject(), "starts").reused


def test_runs_without_a_cache(runs: list[str]) -> None:
    for _ in range(2):
        run_cached(make_subject(), "starts", lambda: runs.append("x") or RESULT, None)  # type: ignore[func-returns-value]
    assert runs == ["x", "x"]
