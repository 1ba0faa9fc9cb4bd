"""The next step fits the cause, and its change is a value of the recipe."""

from __future__ import annotations

import pytest

from images.advice import advise_on_attempt, advise_on_failure, find_templates, find_variables
from images.application_recipe import ApplicationRecipe, StartCommand
from images.failure import Cause, Failure, RaisedError
from images.recipe_changes import change_recipe
from images.sandbox import NetworkAttempt
from mirror.core.errors import InputError

RECIPE = ApplicationRecipe(
    name="x", starts=(StartCommand(name="web", argv=("a",)),), run_packages=("curl",)
)


def advise(cause: Cause, text: str = "", subject: str = "web", **error: str) -> tuple[str, ...]:
    failure = Failure(cause=cause, error=RaisedError(type="E", text=text, **error))  # type: ignore[arg-type]
    templates = {"config.yaml": "config.yaml.template", "conf/.env": "conf/.env.example"}
    advice = advise_on_failure(failure, subject=subject, folder="/app", templates=templates)
    assert advice.text
    return advice.changes


def attempt(host: str, port: int = 0) -> NetworkAttempt:
    return NetworkAttempt(kind="dns", host=host, port=port, process="", modules=())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (advise(Cause.SETTINGS, "'SECRET_KEY'"), {"SECRET_KEY": "only-in-the-proof"}),
        (
            advise(
                Cause.SETTINGS,
                "2 errors for S\nredis_url\n  Field required\nport\n  Field required",
            ),
            {"REDIS_URL": "redis://redis:6379/0", "PORT": "8000"},
        ),
    ],
)
def test_settings_are_given_to_the_proof_alone(
    changes: tuple[str, ...], expected: dict[str, str]
) -> None:
    recipe = change_recipe(RECIPE, changes)
    assert recipe.proof_environment == expected
    assert recipe.environment == {}


def test_a_missing_file_comes_from_its_template() -> None:
    changes = advise(Cause.FILE, "configuration file not found: /app/config.yaml\nPlease …")
    expected = {"config.yaml": "config.yaml.template"}
    assert change_recipe(RECIPE, changes).proof_templates == expected
    assert advise(Cause.FILE, "No such file: '/app/other.yaml'", path="/app/other.yaml") == ()


def test_other_causes_change_their_own_keys() -> None:
    changes = advise(Cause.PROGRAM, path="ffmpeg")
    assert change_recipe(RECIPE, changes).run_packages == ("curl", "ffmpeg")
    changes = advise(Cause.MODULE, "No module named 'x'", subject="app.tools", name="x")
    assert list(change_recipe(RECIPE, changes).import_failures) == ["app.tools"]
    assert advise(Cause.UNKNOWN) == ()


def test_a_host_is_a_service_or_a_download() -> None:
    advice = advise_on_attempt(attempt("postgres"), "web")
    assert change_recipe(RECIPE, advice.changes).starts[0].services == ("postgres",)
    advice = advise_on_attempt(attempt("db.example.com", 5432), "web")
    assert change_recipe(RECIPE, advice.changes).starts[0].services == ("db.example.com",)
    advice = advise_on_attempt(attempt("models.example.com", 443), "web")
    assert "download" in advice.text
    assert change_recipe(RECIPE, advice.changes).expected_hosts == ("models.example.com",)


def test_finds_templates_of_files_that_do_not_exist() -> None:
    paths = ["a.yaml.template", "conf/app.example.toml", ".env.example", "b.ini.dist", "b.ini"]
    assert find_templates(paths) == {
        "a.yaml": "a.yaml.template",
        "conf/app.toml": "conf/app.example.toml",
        ".env": ".env.example",
    }


def test_finds_the_variables_of_messages() -> None:
    assert find_variables("'API_TOKEN'") == ["API_TOKEN"]
    assert find_variables("set APP_KEY and APP_URL first") == ["APP_KEY", "APP_URL"]
    assert find_variables("Set the DJANGO_SETTINGS_MODULE") == []


def test_assignments_change_values_lists_tables_and_starts() -> None:
    recipe = change_recipe(
        RECIPE,
        (
            "base=debian-python:1",
            'run_packages=["curl", "libpq5"]',
            'environment.A="1"',
            "starts.web.port=8000",
            'starts.web.argv=["b", "c"]',
            'starts.worker.argv=["d"]',
        ),
    )
    assert (recipe.base, recipe.run_packages) == ("debian-python:1", ("curl", "libpq5"))
    assert recipe.environment == {"A": "1"}
    assert [(start.name, start.argv, start.port) for start in recipe.starts] == [
        ("web", ("b", "c"), 8000),
        ("worker", ("d",), 0),
    ]
    assert change_recipe(RECIPE, ()) is RECIPE


@pytest.mark.parametrize(
    "assignment", ["nonsense", "nonsense=1", "starts.web=1", "base=[", "run_packages=[1]", "=1"]
)
def test_refuses_assignments_that_do_not_fit(assignment: str) -> None:
    with pytest.raises(InputError):
        change_recipe(RECIPE, (assignment,))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("distutils.version", "Python 3.12 and later do not have"),
        ("telnetlib", "--base python:3.12-slim-bookworm"),
        ("pkg_resources", "setuptools<81"),
        ("urllib3.packages.six.moves", "the installed version of urllib3 does not have"),
        ("six", "add the distribution that has it"),
        ("app.inner", "add the distribution that has it"),
    ],
)
def test_a_missing_module_names_what_has_it(name: str, part: str) -> None:
    error = RaisedError(type="ModuleNotFoundError", text=f"No module named '{name}'", name=name)
    failure = Failure(cause=Cause.MODULE, error=error)
    advice = advise_on_failure(failure, subject="app.main", folder="/app", templates={})
    assert part in advice.text
    assert bool(advice.changes) is (part == "add the distribution that has it")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("cannot import name 'url_quote' from 'werkzeug.urls' (/app/…)", "limit the version of"),
        ("cannot import name 'x' from 'app.own' (/app/…)", "add the distribution that has it"),
        ("cannot import name 'x' from partially initialized module 'a'", "add the distribution"),
    ],
)
def test_a_missing_name_is_a_matter_of_versions(text: str, part: str) -> None:
    error = RaisedError(type="ImportError", text=text)
    failure = Failure(cause=Cause.MODULE, error=error)
    advice = advise_on_failure(failure, subject="app.main", folder="/app", templates={})
    assert part in advice.text


def test_an_address_to_listen_on_is_no_service() -> None:
    error = RaisedError(type="", text="Invalid address: ('::1', 8000)")
    failure = Failure(cause=Cause.ADDRESS, error=error)
    advice = advise_on_failure(failure, subject="web", folder="/app", templates={})
    assert "bind to 0.0.0.0" in advice.text
