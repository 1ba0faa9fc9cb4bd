"""Lists of a recipe, changed by `build-image --set`."""

from __future__ import annotations

import pytest

from images.application_recipe import ApplicationRecipe
from images.recipe_changes import change_recipe

RECIPE = ApplicationRecipe(name="x", run_packages=("curl", "git"), build_steps=(("make",),))


@pytest.mark.parametrize(
    ("assignment", "packages"),
    [
        ('run_packages=["tini"]', ("curl", "git", "tini")),
        ('run_packages=["-curl"]', ("git",)),
        ('run_packages=["-curl", "tini"]', ("git", "tini")),
        ('run_packages=["-unknown"]', ("curl", "git")),
        ("run_packages=[]", ()),
    ],
)
def test_adds_and_removes(assignment: str, packages: tuple[str, ...]) -> None:
    assert change_recipe(RECIPE, (assignment,)).run_packages == packages


def test_clears_steps() -> None:
    assert change_recipe(RECIPE, ("build_steps=[]",)).build_steps == ()
