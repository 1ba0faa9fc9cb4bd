"""What a person reads while an image is built, and the labels it ends with."""

from __future__ import annotations

from images.application_dockerfile import render_application_dockerfile, render_label_dockerfile
from images.application_recipe import load_application_recipe
from images.build_progress import _WORDS, describe_step
from images.mirror_recipe import RECIPES


def steps() -> list[str]:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    text = render_application_dockerfile(
        recipe, build_base="a", run_base="b", index="http://127.0.0.1:1/", members=(".",)
    )
    return [line for line in text.splitlines() if line]


def test_the_steps_of_our_dockerfile_are_told_in_words() -> None:
    told = [describe_step(step) for step in steps()]
    assert set(_WORDS.values()) <= set(told)
    assert not [one for one in told if one.startswith("RUN")]
    assert max(len(one) for one in told) <= 50


def test_below_the_source_only_it_is_built_anew() -> None:
    """A change of the source builds what follows the first copy of it in each stage."""
    last = steps()[-2:]
    assert [describe_step(step) for step in last] == [
        "copy the source into the run stage",
        "copy what the project added",
    ]


def test_labels_are_one_step() -> None:
    text = render_label_dockerfile("sha256:1", {"a": 'says "$HOME"\nand more', "b": "2"})
    assert text == 'FROM sha256:1\nLABEL a="says \\"\\$HOME\\" and more" b="2"\n'
