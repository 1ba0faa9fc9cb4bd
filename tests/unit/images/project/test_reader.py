"""What is concluded from a project's own files, and what is listed as not taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from images.project.reader import find_port, read_project
from images.project.reading import ProjectReading
from mirror.core.errors import InputError
from tests.images.projects import run_git, write_files

PYPROJECT = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'


def read(
    folder: Path, dockerfile: str = "", base: str | None = None, **files: str
) -> ProjectReading:
    """Read a project; ``files`` maps names to texts, with __ for / and _dot_ for a dot."""
    (folder / "pyproject.toml").write_text(PYPROJECT)
    if dockerfile:
        (folder / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_project(folder, base=base)


def list_lines(reading: ProjectReading) -> list[str]:
    return [str(entry) for entry in reading.not_taken]


def test_joins_entrypoint_and_command(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "FROM python:3.12-slim\nWORKDIR /srv/shop\nCOPY . .\n"
        'ENTRYPOINT ["python", "-m"]\nCMD ["shop", "--port", "8080"]\n',
    )
    (start,) = reading.recipe.starts
    assert start.argv == ("python", "-m", "shop", "--port", "8080")
    assert start.port == 8080
    assert reading.recipe.folder == "/srv/shop"


@pytest.mark.parametrize(
    ("lines", "argv"),
    [
        ("CMD python -m shop", ("python", "-m", "shop")),
        ("CMD exec python -m shop", ("python", "-m", "shop")),
        ('CMD python -m shop "a b"', ("python", "-m", "shop", "a b")),
        ("CMD migrate && serve --all", ("/bin/sh", "-c", "migrate && serve --all")),
        ("CMD serve --port $PORT", ("/bin/sh", "-c", "serve --port $PORT")),
        ("CMD serve *.py", ("/bin/sh", "-c", "serve *.py")),
        ("CMD MODE=fast serve", ("/bin/sh", "-c", "MODE=fast serve")),
        ("CMD serve > /tmp/log", ("/bin/sh", "-c", "serve > /tmp/log")),
        ('SHELL ["/bin/bash", "-c"]\nCMD a | b', ("/bin/bash", "-c", "a | b")),
        ('ENTRYPOINT serve --all\nCMD ["ignored"]', ("serve", "--all")),
        ('ENTRYPOINT ["a"]\nCMD b $C', ("a", "/bin/sh", "-c", "b $C")),
        ('CMD ["early"]\nCMD ["late"]', ("late",)),
        ('cmd ["small"]', ("small",)),
    ],
)
def test_starts_a_command_as_docker_does(tmp_path: Path, lines: str, argv: tuple[str, ...]) -> None:
    reading = read(tmp_path, f"FROM python:3.12-slim\n{lines}\n")
    assert reading.recipe.starts[0].argv == argv


@pytest.mark.parametrize(
    ("lines", "argv"),
    [
        ('ENTRYPOINT ["uv", "run"]', None),
        ('ENTRYPOINT ["uv", "run", "--no-sync", "--package", "shop"]', None),
        ("CMD poetry run", None),
        ('ENTRYPOINT ["uv", "run", "--extra", "web"]\nCMD ["shop"]', 5),
        ('CMD ["uv", "run", "-m", "shop"]', 4),
    ],
)
def test_a_runner_alone_is_no_start(tmp_path: Path, lines: str, argv: int | None) -> None:
    reading = read(tmp_path, f"FROM python:3.12-slim\n{lines}\n")
    if argv is None:
        assert reading.recipe.starts == ()
        assert [text for text in list_lines(reading) if "names no program" in text]
        assert [text for text in reading.unknown if text.startswith("the start command")]
    else:
        assert len(reading.recipe.starts[0].argv) == argv


def test_a_root_dockerfile_chooses_the_member_that_it_installs(tmp_path: Path) -> None:
    dockerfile = 'FROM python:3.12\nARG PART=api\nRUN uv sync --package=$PART\nCMD ["api"]\n'
    member = '[project]\nname = "api"\nversion = "1"\n'
    write_files(tmp_path, {"src/api/pyproject.toml": member})
    workspace = '[tool.uv.workspace]\nmembers = ["src/*"]\n'
    reading = read(tmp_path, dockerfile)
    assert reading.recipe.package == "", "it is no workspace"
    (tmp_path / "pyproject.toml").write_text(PYPROJECT + workspace)
    reading = read_project(tmp_path)
    assert reading.recipe.package == "api"
    assert read_project(tmp_path, "src/api").recipe.starts[0].argv == ("api",)
    (tmp_path / "Dockerfile").write_text(dockerfile.replace("PART=api", "PART=other"))
    assert read_project(tmp_path).recipe.package == ""
    assert read_project(tmp_path, "src/api").recipe.starts == ()


@pytest.mark.parametrize(
    ("runs", "is_installed"),
    [
        ("RUN poetry install --no-root", False),
        ("RUN pdm sync --no-self", False),
        ("RUN poetry install --no-root\nCOPY . .\nRUN poetry install", True),
        ("RUN uv sync --no-install-project", True),  # `uv run` installs it later
        ("RUN poetry install --no-root && pip install .", True),
        ("RUN poetry install --no-root && pip install -e .[web]", True),
        ("RUN poetry install --no-root && pip install gunicorn", False),
        ("RUN pip install -r requirements.txt", True),
    ],
)
def test_installs_the_project_as_its_dockerfile_does(
    tmp_path: Path, runs: str, is_installed: bool
) -> None:
    reading = read(tmp_path, f'FROM python:3.12-slim\n{runs}\nCMD ["shop"]\n')
    assert reading.recipe.install_project is is_installed


def test_the_requirements_of_a_branch_do_not_count(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "FROM python:3.12-slim\nRUN pip install -r requirements/all.txt\nARG DEV\n"
        'RUN if [ -n "$DEV" ]; then pip install -r requirements/dev.txt; fi\nCMD ["shop"]\n',
        requirements__all_dot_txt="",
        requirements__dev_dot_txt="",
    )
    assert reading.recipe.lock == "requirements/all.txt"


@pytest.mark.parametrize(
    ("command", "file", "text", "port"),
    [
        ("gunicorn --config conf/g.py shop", "conf/g.py", 'bind = "0.0.0.0:8123"', 8123),
        ("gunicorn -c conf/g.py shop", "conf/g.py", "workers = 2\nbind = ['[::]:8123']", 8123),
        ("gunicorn shop", "gunicorn.conf.py", 'bind = ":8123"', 8123),
        ("gunicorn shop", "gunicorn.conf.py", "# bind = ':8123'", 8000),
        ("gunicorn -b :9000 shop", "gunicorn.conf.py", "bind = ':8123'", 9000),
        ("uwsgi /app/u.ini", "u.ini", "[uwsgi]\nhttp = 0.0.0.0:8123\n", 8123),
        ("uwsgi --ini=u.ini", "u.ini", "http-socket=:8123\n", 8123),
        ("serve conf/g.py", "conf/g.py", 'bind = ":8123"', 0),
    ],
)
def test_finds_the_port_in_the_file_of_the_server(
    tmp_path: Path, command: str, file: str, text: str, port: int
) -> None:
    write_files(tmp_path, {file: text})
    dockerfile = f"FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nCMD {command}\n"
    assert read(tmp_path, dockerfile).recipe.starts[0].port == port
    (tmp_path / "Dockerfile").unlink()
    (tmp_path / "Procfile").write_text(f"web: {command}\n")
    # without a port of its own, a web process gets that of the platform
    assert read_project(tmp_path).recipe.starts[0].port == (port or 8000)


@pytest.mark.parametrize(
    ("files", "argv"),
    [
        ({"main.py": "x = 1\napp = FastAPI(\n)"}, ["uvicorn", "main:app", "--host", "0.0.0.0"]),
        ({"app.py": "api: X = f.Starlette()"}, ["uvicorn", "app:api", "--host", "0.0.0.0"]),
        (
            {"app.py": "app = Flask(__name__)"},
            ["flask", "--app", "app", "run", "--host", "0.0.0.0"],
        ),
        ({"manage.py": ""}, ["python", "manage.py", "runserver", "0.0.0.0:8000"]),
        ({"main.py": 'if __name__ == "__main__":'}, ["python", "main.py"]),
        ({"main.py": "", "other.py": ""}, None),
    ],
)
def test_a_missing_start_is_suggested(
    tmp_path: Path, files: dict[str, str], argv: list[str] | None
) -> None:
    write_files(tmp_path, files)
    (line,) = [line for line in read(tmp_path).unknown if line.startswith("the start command")]
    _, _, assignment = line.partition("perhaps --set ")
    assert (json.loads(assignment.strip("'").partition("=")[2]) if assignment else None) == argv


def test_a_program_of_the_project_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'{PYPROJECT}[project.scripts]\nshop = "shop:run"\n')
    (line,) = [x for x in read_project(tmp_path).unknown if x.startswith("the start command")]
    assert line.endswith("--set 'starts.main.argv=[\"shop\"]'")


def test_a_python_that_is_too_old_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "Dockerfile").write_text('FROM python:3.7-alpine\nCMD ["python", "x.py"]\n')
    with pytest.raises(InputError, match="a Python that cannot be used") as refused:
        read_project(tmp_path).check()
    assert refused.value.why.startswith("Dockerfile:1: FROM python:3.7-alpine;")
    base = refused.value.next_step.partition("--base ")[2]
    read_project(tmp_path, base=base).check()


def test_an_entrypoint_removes_the_command_of_an_earlier_stage(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        'FROM python:3.12 AS base\nCMD ["inherited"]\nFROM base\nENTRYPOINT ["python", "x.py"]\n',
    )
    assert reading.recipe.starts[0].argv == ("python", "x.py")


def test_takes_packages_of_the_right_stage_and_no_comments(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "FROM node:22 AS ui\nRUN apt-get update && apt-get install -y ruby\n"
        "FROM python:3.12-slim AS builder\nRUN apt-get update && apt-get install -y gcc libpq-dev\n"
        'FROM python:3.12-slim AS run\nARG MORE="tzdata media-types"\n'
        "RUN --mount=type=cache,target=/x \\\n    apt-get update && apt-get -qq install -y \\\n"
        "      # not screen\n      libmagic1=5.* `# nor tree` \\\n      -t bookworm-backports \\\n"
        "      ${MORE} curl $(cat others) ./own.deb docker-ce-cli \\\n"
        "    && rm -rf /var/lib/apt/lists/*\n"
        "COPY --from=builder /venv /venv\nCOPY --from=ui /ui /ui\n"
        'CMD ["python", "-m", "shop"]\nFROM run AS tests\nRUN apt-get install -y strace\n'
        'CMD ["pytest"]\n',
    )
    recipe = reading.recipe
    assert recipe.build_packages == ("gcc", "libpq-dev")
    assert recipe.run_packages == ("libmagic1", "tzdata", "media-types", "curl")
    assert recipe.starts[0].argv == ("python", "-m", "shop")
    text = "\n".join(list_lines(reading))
    for part in ("libmagic1=5.*", "$(cat others)", "./own.deb", "docker-ce-cli", "stage ui"):
        assert part in text
    assert "stage tests" in text
    assert "screen" not in text


@pytest.mark.parametrize(
    ("run", "packages"),
    [
        ("RUN <<EOF\napt-get update\napt-get install -y curl # tree\nEOF", ("curl",)),
        ('RUN ["apt-get", "install", "-y", "curl"]', ("curl",)),
        ("RUN apt update && apt install --no-install-recommends -y curl", ("curl",)),
        ("RUN bash -c 'apt-get install -y curl'", ("curl",)),
        ("RUN if true; then apt-get install -y curl; fi", ("curl",)),
        ("RUN DEBIAN_FRONTEND=noninteractive apt-get install -y curl", ("curl",)),
        ("RUN apt-get install -y curl/bookworm libpq5:arm64", ("curl",)),
        ("RUN apt-get remove -y curl", ()),
        ("RUN xargs -a list apt-get install -y", ()),
        ("RUN python3 <<EOF\nprint('apt-get install -y tree')\nEOF", ()),
        ("RUN echo 'apt-get install -y tree'", ()),
        ("RUN apk add curl", ()),
    ],
)
def test_finds_installations_in_every_form(
    tmp_path: Path, run: str, packages: tuple[str, ...]
) -> None:
    reading = read(tmp_path, f'FROM python:3.12-slim\n{run}\nCMD ["python"]\n')
    assert reading.recipe.run_packages == packages


def test_a_single_stage_gets_libraries_and_leaves_headers_to_the_build(tmp_path: Path) -> None:
    run = "RUN apt-get install -y build-essential libpq-dev libffi-dev ffmpeg python3-pip"
    recipe = read(tmp_path, f"FROM python:3.12-slim\n{run}\n").recipe
    assert recipe.build_packages == ("build-essential", "libpq-dev", "libffi-dev")
    assert recipe.run_packages == ("libpq5", "libffi8", "ffmpeg")


def test_reads_variables_ports_and_health(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        'ARG VERSION=3.13\nFROM python:${VERSION}-slim\nARG P=9000\nENV PORT=$P A="x y" \\\n'
        "    B='$PORT'\nENV OLD form here\nENV PATH=/x:$PATH UV_X=1\nEXPOSE 7000 $PORT/tcp\n"
        "HEALTHCHECK --interval=5s CMD curl -f http://localhost:$PORT/healthz || exit 1\n"
        "USER www\nVOLUME /data\nCMD serve --port $PORT\n",
    )
    recipe = reading.recipe
    assert recipe.base == "python:3.13-slim"
    assert recipe.environment == {"PORT": "9000", "A": "x y", "B": "$PORT", "OLD": "form here"}
    assert (recipe.starts[0].port, recipe.starts[0].health) == (9000, "/healthz")
    text = "\n".join(list_lines(reading))
    for part in ("EXPOSE 7000", "USER www", "VOLUME /data", "ENV PATH", "ENV UV_X"):
        assert part in text


def test_puts_paths_of_copied_files_where_our_image_has_them(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "FROM python:3.12-slim\nWORKDIR /code\nCOPY docker/start.sh /start.sh\nCOPY src /code\n"
        'ENV PYTHONPATH=/code\nENTRYPOINT ["/start.sh"]\nCMD ["python", "/code/serve.py"]\n',
        docker__start_dot_sh='#!/usr/bin/env bash\nexec "$@"\n',
        src__serve_dot_py="",
    )
    assert reading.recipe.folder == "/code"
    # the script is not executable in the project: its own interpreter starts it
    expected = ("bash", "/code/docker/start.sh", "python", "/code/src/serve.py")
    assert reading.recipe.starts[0].argv == expected


@pytest.mark.parametrize(
    ("lines", "argv"),
    [
        ('RUN python3 -m venv /opt/shop\nCMD ["/opt/shop/bin/shop", "-v"]', ("shop", "-v")),
        ('WORKDIR /code\nRUN uv venv own\nCMD ["/code/own/bin/shop"]', ("shop",)),
        ('ENV VIRTUAL_ENV=/env\nCMD ["/env/bin/shop", "/env/x"]', ("shop", "/env/x")),
        ('CMD ["/srv/.venv/bin/python", "x.py"]', ("python", "x.py")),
        ('CMD ["/usr/local/bin/gunicorn", "shop"]', ("gunicorn", "shop")),
        ('CMD ["/root/.local/bin/shop"]', ("shop",)),
        ("CMD a && /opt/venv/bin/shop", ("/bin/sh", "-c", "a && shop")),
        ('COPY run.sh /usr/local/bin/\nCMD ["/usr/local/bin/run.sh"]', ("/bin/sh", "/app/run.sh")),
        ('CMD ["/opt/shop/bin/shop"]', ("/opt/shop/bin/shop",)),
        ('CMD ["/usr/bin/shop", "/usr/local/bin/x/y"]', ("/usr/bin/shop", "/usr/local/bin/x/y")),
    ],
)
def test_programs_of_a_virtual_environment_are_found_on_path(
    tmp_path: Path, lines: str, argv: tuple[str, ...]
) -> None:
    reading = read(tmp_path, f"FROM python:3.12-slim\n{lines}\n", run_dot_sh="#!/bin/sh\n")
    assert reading.recipe.starts[0].argv == argv


def test_starts_in_the_working_folder_of_the_dockerfile(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        'FROM python:3.12\nCOPY . /opt/shop\nWORKDIR /opt/shop/web\nCMD ["python", "serve.py"]\n',
        web__serve_dot_py="",
    )
    assert (reading.recipe.folder, reading.recipe.workdir) == ("/opt/shop", "web")


def test_runs_django_steps_and_lists_other_steps(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "FROM python:3.12\nENV SECRET=x\nCOPY . /app\n"
        "RUN pip install -r requirements.txt gunicorn\n"
        "RUN KEY=y python manage.py collectstatic --noinput\nRUN npm ci && python make_data.py\n"
        "RUN mkdir -p /app/media /data\nRUN python manage.py compilemessages || true\n"
        'CMD ["gunicorn", "shop.wsgi"]\n',
        manage_dot_py="",
    )
    recipe = reading.recipe
    assert recipe.build_steps == (
        ("env", "KEY=y", "python", "manage.py", "collectstatic", "--noinput"),
    )
    assert recipe.writable == ("media",)
    assert recipe.starts[0].port == 8000, "gunicorn's own"
    text = "\n".join(list_lines(reading))
    for part in ("line 6: npm ci", "line 6: python make_data.py", "pip install gunicorn", "/data"):
        assert part in text
    assert "compilemessages" in text
    assert "-r requirements.txt" not in text


@pytest.mark.parametrize("place", ["docker/Dockerfile", "deploy/web/Dockerfile", "Containerfile"])
def test_finds_a_dockerfile_in_usual_places(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('FROM python:3.12-slim\nCMD ["python", "-m", "shop"]\n')
    reading = read(tmp_path)
    assert reading.recipe.starts[0].argv == ("python", "-m", "shop")
    assert {entry.line.file for entry in reading.conclusions if "starts" in entry.key} == {place}


def test_a_dockerfile_without_python_is_not_ours(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        'FROM nginx:1\nCMD ["nginx"]\n',
        docker__Dockerfile='FROM python:3.12\nCMD ["python", "-m", "shop"]\n',
    )
    assert reading.recipe.starts[0].argv == ("python", "-m", "shop")


def test_the_order_is_dockerfile_then_compose_then_procfile(tmp_path: Path) -> None:
    procfile = (
        "web: gunicorn shop.wsgi --bind 0.0.0.0:$PORT\nworker: python w.py\n"
        "release: python manage.py migrate && true\n# web: old\n"
    )
    compose = (
        "services:\n  web:\n    build: .\n    command: uvicorn shop:app --port 9001\n"
        "    environment: [DATABASE_URL=postgres://db/shop, 'SECRET=${SECRET:-only}', 'X=$Y']\n"
        "  db: {image: postgres}\n"
    )
    reading = read(tmp_path, Procfile=procfile)
    web, worker = reading.recipe.starts
    assert web.argv == ("/bin/sh", "-c", "gunicorn shop.wsgi --bind 0.0.0.0:$PORT")
    assert (web.port, reading.recipe.environment) == (8000, {"PORT": "8000"})
    assert (worker.name, worker.argv) == ("worker", ("python", "w.py"))
    assert "line 3: release" in "\n".join(list_lines(reading))
    reading = read(tmp_path, compose_dot_yaml=compose)
    assert [start.argv for start in reading.recipe.starts] == [
        ("uvicorn", "shop:app", "--port", "9001")
    ]
    assert reading.recipe.starts[0].port == 9001
    settings = {"DATABASE_URL": "postgres://db/shop", "SECRET": "only"}
    assert reading.recipe.proof_environment == settings
    assert reading.recipe.expected_hosts == ("db",)
    reading = read(tmp_path, 'FROM python:3.12\nEXPOSE 80\nCMD ["python", "serve.py"]\n')
    assert [start.argv for start in reading.recipe.starts] == [("python", "serve.py")]
    text = "\n".join(list_lines(reading))
    assert "compose.yaml: line 4: uvicorn shop:app" in text
    assert "Procfile: line 1" in text


def test_says_where_it_looked_for_a_start_command(tmp_path: Path) -> None:
    reading = read(tmp_path, manage_dot_py="")
    assert reading.recipe.starts == ()
    (sentence,) = (text for text in reading.unknown if "start command" in text)
    for part in ("Dockerfile", "docker/Dockerfile", "Procfile", "compose.yaml", "manage.py"):
        assert part in sentence


def test_settings_of_an_example_file_are_for_the_proof_only(tmp_path: Path) -> None:
    example = "# a comment\nexport KEY='a b' # c\nEMPTY=\nURL=redis://cache:6379/0\nPATH=/x\n"
    reading = read(tmp_path, _dot_env_dot_example=example)
    assert reading.recipe.proof_environment == {"KEY": "a b", "URL": "redis://cache:6379/0"}
    assert reading.recipe.environment == {}
    assert reading.recipe.expected_hosts == ("cache",)


def test_names_file_and_line_of_each_conclusion(tmp_path: Path) -> None:
    reading = read(tmp_path, 'FROM python:3.12-slim\n\nEXPOSE 8000\nCMD ["python", "x.py"]\n')
    lines = {entry.key: str(entry.line) for entry in reading.conclusions}
    assert lines["name"] == "pyproject.toml:2"
    assert lines["starts.main"] == "Dockerfile:4"
    assert lines["starts.main.port"] == "Dockerfile:3"


@pytest.mark.parametrize(
    ("dockerfile", "version_file", "base"),
    [
        ("FROM python:3.13-slim", "", "python:3.13-slim"),
        ("FROM python:3.12.4-bookworm", "", "python:3.12.4-bookworm"),
        ("FROM python:3.13-alpine", "", "python:3.13-slim-bookworm"),
        ("FROM ghcr.io/astral-sh/uv:python3.13-trixie-slim", "", "python:3.13-slim-trixie"),
        ("FROM debian:12\nRUN apt-get install -y python3", "", "python:3.12-slim-bookworm"),
        ("", "3.14.1\n", "python:3.14-slim-bookworm"),
        ("", "cpython-3.11\n", "python:3.11-slim-bookworm"),
        ("", "", "python:3.12-slim-bookworm"),
    ],
)
def test_chooses_the_base_by_the_version_of_python(
    tmp_path: Path, dockerfile: str, version_file: str, base: str
) -> None:
    files = {"_dot_python-version": version_file} if version_file else {}
    reading = read(tmp_path, dockerfile, **files)
    assert reading.contradictions == ()
    assert reading.recipe.base == base


@pytest.mark.parametrize(
    ("requires", "base"),
    [
        (">=3.13", "python:3.13-slim-bookworm"),
        ("<3.12", "python:3.11-slim-bookworm"),
        ("==3.14.*", "python:3.14-slim-bookworm"),
        (">=3.10,!=3.12.*", "python:3.13-slim-bookworm"),
        (">=3.12.5", "python:3.12-slim-bookworm"),
    ],
)
def test_chooses_the_base_by_requires_python(tmp_path: Path, requires: str, base: str) -> None:
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "x"\nversion = "1"\nrequires-python = "{requires}"\n'
    )
    assert read_project(tmp_path).recipe.base == base


def test_a_contradiction_names_both_lines(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("3.11", "3.13"))
    (tmp_path / "Dockerfile").write_text("FROM python:3.12-slim\n")
    reading = read_project(tmp_path)
    with pytest.raises(InputError, match="two different versions of Python") as refused:
        reading.check()
    assert "pyproject.toml:4: requires-python >=3.13" in refused.value.why
    assert "Dockerfile:1: FROM python:3.12-slim" in refused.value.why
    given = read_project(tmp_path, base="python:3.12-slim")
    with pytest.raises(InputError, match=r"does not support Python 3\.12") as refused:
        given.check()
    assert "--base python:3.13-slim-bookworm" in refused.value.next_step
    read_project(tmp_path, base="python:3.14-slim").check()


def test_reads_the_version_that_poetry_asks_for(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "~3.11"\n'
    )
    assert read_project(tmp_path).recipe.base == "python:3.11-slim-bookworm"


@pytest.mark.parametrize(
    ("argv", "port"),
    [
        (("uvicorn", "a:b", "--port=8080"), 8080),
        (("gunicorn", "-b", ":5001", "a:b"), 5001),
        (("gunicorn", "--bind", "0.0.0.0:5002", "a:b"), 5002),
        (("sh", "-c", "serve --port ${PORT:-7000}"), 7000),
        (("python", "manage.py", "runserver", "0.0.0.0:8001"), 8001),
        (("python", "x.py"), 0),
        (("x", "--port", "99999"), 0),
    ],
)
def test_finds_the_port_in_a_command(argv: tuple[str, ...], port: int) -> None:
    assert find_port(argv) == port


def test_a_malformed_dockerfile_is_unknown_not_a_crash(tmp_path: Path) -> None:
    reading = read(tmp_path, "FROM python:3.12\nRUN <<EOF\nnever ends\n")
    assert any("cannot read Dockerfile" in text for text in reading.unknown)


def test_a_tracked_env_file_gives_the_variables_of_a_compose_file(tmp_path: Path) -> None:
    compose = (
        "services:\n  web:\n    build: .\n    command: [serve, --port, '${PORT?none}']\n"
        "    environment: {DB_HOST: db, USER_NAME: '${USER_NAME}', OTHER: '${OTHER}'}\n"
        "  db: {image: postgres}\n"
    )
    env = "PORT=7001\nUSER_NAME=u\nDB_HOST=localhost\n"
    reading = read(tmp_path, compose_dot_yml=compose, _dot_env=env)
    assert reading.recipe.proof_environment == {"DB_HOST": "db"}, "it may hold secrets"
    run_git(tmp_path, "init", "--quiet")
    run_git(tmp_path, "add", "--all")
    reading = read(tmp_path)
    (start,) = reading.recipe.starts
    assert (start.argv, start.port) == (("serve", "--port", "7001"), 7001)
    settings = {"PORT": "7001", "USER_NAME": "u", "DB_HOST": "db"}
    assert reading.recipe.proof_environment == settings


def test_takes_all_extras_and_the_version_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        PYPROJECT + "[project.optional-dependencies]\nfast = []\nsafe = []\n"
    )
    (tmp_path / "Dockerfile").write_text(
        "FROM python:3.12\nRUN uv sync --all-extras --group prod\n"
        "RUN apt-get install -y postgresql-client-14 g++\n"
    )
    reading = read_project(tmp_path)
    assert reading.recipe.extras == ("fast", "safe")
    assert reading.recipe.groups == ("prod",)
    assert reading.recipe.run_packages == ("postgresql-client",)
    assert reading.recipe.build_packages == ("g++",)
    assert "postgresql-client-14" in "\n".join(list_lines(reading))


@pytest.mark.parametrize(
    ("files", "base"),
    [
        ({"Pipfile": '[requires]\npython_version = "3.11"\n'}, "python:3.11-slim-bookworm"),
        ({"pylock.toml": '# by uv\nrequires-python = ">=3.13"\n'}, "python:3.13-slim-bookworm"),
        ({"runtime.txt": "python-3.11.4\n"}, "python:3.11-slim-bookworm"),
    ],
)
def test_reads_the_version_of_projects_without_pyproject(
    tmp_path: Path, files: dict[str, str], base: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert read_project(tmp_path).recipe.base == base


@pytest.mark.parametrize(
    ("install", "argv"),
    [("tini", ("tini", "--", "serve")), ("curl", ("serve",))],
)
def test_an_init_program_needs_its_package(
    tmp_path: Path, install: str, argv: tuple[str, ...]
) -> None:
    reading = read(
        tmp_path,
        f"FROM python:3.12\nRUN apt-get install -y {install}\nRUN mkdir -p /app/ /app/x\n"
        'WORKDIR /app\nENTRYPOINT ["tini", "--"]\nCMD ["serve"]\n',
    )
    assert reading.recipe.starts[0].argv == argv
    assert reading.recipe.writable == ("x",)


def test_a_member_whose_working_folder_is_its_own_is_built_from_the_root(tmp_path: Path) -> None:
    member = tmp_path / "apps/api"
    member.mkdir(parents=True)
    (member / "pyproject.toml").write_text(PYPROJECT)
    (member / "serve.py").write_text("")
    (member / "Dockerfile").write_text(
        "FROM python:3.12\nWORKDIR /srv/shop/apps/api\nCOPY . /srv/shop\n"
        'CMD ["python", "serve.py"]\n'
    )
    recipe = read_project(tmp_path, "apps/api").recipe
    assert (recipe.folder, recipe.workdir) == ("/srv/shop", "apps/api")
    assert recipe.starts[0].argv == ("python", "serve.py")
