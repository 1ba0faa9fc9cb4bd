"""The Dockerfile of the mirror's image: its stages, and that no shell reads a value."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from images.mirror_dockerfile import render_mirror_dockerfile
from images.mirror_recipe import MirrorRecipe, load_mirror_recipe
from images.recipes import RECIPES


@pytest.fixture
def recipe() -> MirrorRecipe:
    return load_mirror_recipe()


def split_stages(text: str) -> list[str]:
    return [f"FROM {stage}" for stage in text.split("FROM ")[1:]]


def test_has_two_stages_on_one_base(recipe: MirrorRecipe) -> None:
    first, last = split_stages(
        render_mirror_dockerfile(recipe, base="base:1", architecture="amd64", ca=False)
    )
    assert first.startswith("FROM base:1 AS packages\n")
    assert last.startswith("FROM base:1\n")


def test_every_run_is_in_exec_form(recipe: MirrorRecipe) -> None:
    odd = replace(recipe, system_packages=("nginx; touch /hacked", 'with "quotes"'))
    text = render_mirror_dockerfile(odd, base="b", architecture="amd64", ca=False)
    runs = [line.removeprefix("RUN ") for line in text.splitlines() if line.startswith("RUN")]
    commands = [json.loads(run) for run in runs]
    assert all(isinstance(word, str) for argv in commands for word in argv)
    assert ["nginx; touch /hacked", 'with "quotes"'] in [argv[-2:] for argv in commands]


def test_only_the_first_stage_has_the_ca_file(recipe: MirrorRecipe) -> None:
    first, last = split_stages(
        render_mirror_dockerfile(recipe, base="b", architecture="amd64", ca=True)
    )
    assert "ca.pem" in first and "PIP_CERT" in first
    assert "ca.pem" not in last
    assert "ca.pem" not in render_mirror_dockerfile(
        recipe, base="b", architecture="amd64", ca=False
    )


def test_the_probe_programs_match_the_architecture(recipe: MirrorRecipe) -> None:
    assert "musllinux_1_1_aarch64" in render_mirror_dockerfile(
        recipe, base="b", architecture="arm64", ca=False
    )
    assert "musllinux_1_1_x86_64" in render_mirror_dockerfile(
        recipe, base="b", architecture="amd64", ca=False
    )


def test_the_code_comes_last(recipe: MirrorRecipe) -> None:
    _, last = split_stages(
        render_mirror_dockerfile(recipe, base="b", architecture="amd64", ca=False)
    )
    lines = last.strip().splitlines()
    assert lines[-5].startswith('COPY ["mirror/"')
    assert lines[-3:] == ["USER 10001:10001", "WORKDIR /", "STOPSIGNAL SIGINT"]


@pytest.mark.parametrize("name", ["mirror-requirements.txt", "uv.txt"])
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    text = (RECIPES / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    for line in lines:
        assert "==" in line and "--hash=sha256:" in line, line
    assert "://" not in text
