"""The progress of a build in plain words, and the labels of the image."""

from __future__ import annotations

import pytest

from images.application_dockerfile import render_application_dockerfile, render_label_dockerfile
from images.application_recipe import load_application_recipe
from images.build_progress import _DESCRIPTIONS, advise_on_output, describe_step
from images.recipes import RECIPES


def render_steps() -> list[str]:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    text = render_application_dockerfile(
        recipe, build_base="a", run_base="b", index="http://127.0.0.1:1/", members=(".",)
    )
    return [line for line in text.splitlines() if line]


def test_every_step_of_our_dockerfile_has_a_description() -> None:
    descriptions = [describe_step(step) for step in render_steps()]
    assert set(_DESCRIPTIONS.values()) <= set(descriptions)
    assert not [text for text in descriptions if text.startswith("RUN")]
    assert max(len(text) for text in descriptions) <= 50


def test_a_source_change_rebuilds_only_the_last_two_layers() -> None:
    """The first copy of the source in a stage comes last in it."""
    last = render_steps()[-2:]
    assert [describe_step(step) for step in last] == [
        "copy the source into the run stage",
        "copy what the project added",
    ]


def test_labels_are_one_step() -> None:
    text = render_label_dockerfile("sha256:1", {"a": 'says "$HOME"\nand more', "b": "2"})
    assert text == 'FROM sha256:1\nLABEL a="says \\"\\$HOME\\" and more" b="2"\n'


@pytest.mark.parametrize(
    ("output", "part", "changes"),
    [
        (
            "× Failed to build `psycopg2==2.9.9`\nError: pg_config executable not found.",
            "psycopg2 is compiled",
            ('build_packages=["libpq-dev"]', 'run_packages=["libpq5"]'),
        ),
        (
            "× Failed to build `x==1`\nerror: command 'gcc' failed: No such file or directory",
            "build-essential",
            ('build_packages=["build-essential"]',),
        ),
        ("fatal error: odd/thing.h: No such file or directory", "apt-file search odd/thing.h", ()),
        ("× Failed to build `x==1`\nerror: broken", "--vendor x=WHEEL", ()),
        ("Hash mismatch for x", "mirror verify", ()),
        (
            "× Failed to build `shop @ file:///project`\nRuntimeError: non-package mode",
            "the project shop itself cannot be installed",
            ("install_project=false",),
        ),
        (
            'File "/app/manage.py", line 1\n'
            "PermissionError: [Errno 13] Permission denied: '/app/.venv/lib/x.css'",
            "writes into its packages",
            (),
        ),
    ],
)
def test_advice_on_a_failed_step_fits_what_it_printed(
    output: str, part: str, changes: tuple[str, ...]
) -> None:
    advice = advise_on_output(output)
    assert advice
    assert part in advice.text
    assert advice.changes == changes


def test_has_no_advice_on_what_it_does_not_know() -> None:
    assert advise_on_output("Traceback: odd") is None


def test_a_backend_that_is_pinned_at_another_version_names_the_change() -> None:
    output = "cause: Because you require cython<3.0 and cython==3.3.1, we can conclude that your"
    advice = advise_on_output(output)
    assert advice is not None
    compiler = 'build_packages=["build-essential"]'
    assert advice.changes == ('build_constraints=["cython<3.0"]', compiler)
    advice = advise_on_output(output.replace("cython", "wheel"))
    assert advice is not None
    assert advice.changes == ('build_constraints=["wheel<3.0"]',)
