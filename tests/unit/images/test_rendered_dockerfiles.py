"""Every step of the rendered Dockerfiles, as tests/unit/cases/dockerfiles writes it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from images.application_dockerfile import (
    render_application_dockerfile,
    render_base_dockerfile,
    render_label_dockerfile,
)
from images.application_recipe import load_application_recipe
from images.mirror_dockerfile import render_mirror_dockerfile
from images.mirror_recipe import load_mirror_recipe
from images.recipes import RECIPES

CASES = Path(__file__).parents[1] / "cases/dockerfiles"


def render() -> dict[str, str]:
    mirror = load_mirror_recipe()
    chronicle = load_application_recipe(RECIPES / "chronicle.toml")

    def render_application(*members: str) -> str:
        return render_application_dockerfile(
            chronicle,
            build_base="build-base:1",
            run_base="run-base:1",
            index="http://mirror:3141/index/",
            members=members,
        )

    with_steps = replace(
        chronicle,
        workdir="web",
        build_steps=(("python3", "manage.py", "collectstatic"),),
        build_environment={"KEY": "only in the build"},
    )
    return {
        "application-with-steps": render_application_dockerfile(
            with_steps,
            build_base="build-base:1",
            run_base="run-base:1",
            index="http://mirror:3141/index/",
            members=("web",),
            versions={"PBR_VERSION": "1.8"},
        ),
        "mirror": render_mirror_dockerfile(mirror, base="base:1", architecture="amd64", ca=False),
        "mirror-with-ca": render_mirror_dockerfile(
            mirror, base="base:1", architecture="arm64", ca=True
        ),
        "base": render_base_dockerfile(
            chronicle, base="base:1", packages=("gcc", "git"), apt_mirror="http://debian.example/"
        ),
        "base-without-mirror": render_base_dockerfile(
            chronicle, base="base:1", packages=(), apt_mirror=None
        ),
        "application": render_application(".", "packages/one"),
        "application-without-project": render_application(),
        "labels": render_label_dockerfile("app:1", {"a": "one\ntwo", "b": 'quote " and $HOME'}),
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.Dockerfile")))
def test_renders_exactly_these_steps(name: str) -> None:
    expected = (CASES / f"{name}.Dockerfile").read_text().splitlines()
    assert render()[name].splitlines() == expected


def test_every_dockerfile_is_written_out() -> None:
    assert set(render()) == {path.stem for path in CASES.glob("*.Dockerfile")}
