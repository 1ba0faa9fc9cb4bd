"""`mirror explain`: which upstream a project comes from, and what hides it or its files."""

from __future__ import annotations

import click
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from cli.index_session import open_reader
from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.core.codec import dump
from mirror.core.errors import InputError, UnfitError
from mirror.explanation import ExplainedFile, Explanation
from mirror.settings import normalize_project_name


@click.command()
@click.argument("requirement", metavar="NAME[==VERSION]")
@local_option
@cluster_options("1m")
@output_option
def explain(requirement: str, local: bool, target: ClusterOptions, output: OutputFormat) -> None:
    """Say where a project comes from, and what hides it.

    It names the rule or upstream that hides the project, or files of it. It asks the upstreams as a
    request for the project's page does, and no others. Exits with 1 if nothing is served.

    \b
    mirror explain torch
    mirror explain 'requests==2.32.0' --local
    """
    name, versions = _parse(requirement)
    with open_reader(local, target) as client:
        explanation = client.explain(name)
    if explanation is None:
        raise UnfitError(
            "the mirror cannot explain its pages",
            why="without nginx, devpi serves alone, and images before version 0.2 do not know how",
            next_step="install nginx, then mirror up --local" if local else "mirror up",
        )
    files = [file for file in explanation.files if _is_of(file, versions)]
    if output != "table":
        terminal.document({**dump(explanation), "files": dump(files)}, output)
    else:
        _print(explanation, files, versions)
    is_served = explanation.private or any(not file.rule for file in files)
    click.get_current_context().exit(0 if is_served else 1)


def _parse(requirement: str) -> tuple[str, SpecifierSet | None]:
    position = next((n for n, letter in enumerate(requirement) if letter in "<>=!~ "), None)
    name = requirement if position is None else requirement[:position]
    try:
        versions = SpecifierSet(requirement[len(name) :]) if position is not None else None
    except InvalidSpecifier as error:
        raise InputError(
            f"not a requirement: {requirement[:80]!r}",
            why=str(error),
            next_step="give a name, or one with a version, such as requests==2.32.0",
        ) from error
    return normalize_project_name(name), versions


def _is_of(file: ExplainedFile, versions: SpecifierSet | None) -> bool:
    if versions is None:
        return True
    return bool(file.version) and versions.contains(Version(file.version), prereleases=True)


def _print(
    explanation: Explanation, files: list[ExplainedFile], versions: SpecifierSet | None
) -> None:
    hidden = [file for file in files if file.rule]
    rows = [
        ("upstream", explanation.upstream or "-"),
        ("pinned to", explanation.pin),
        ("not at", ", ".join(explanation.passed)),
        ("not asked", ", ".join(explanation.not_asked)),
        ("hidden by", explanation.hidden_by),
        ("policy", ", ".join(explanation.rules)),
        ("files", f"{len(files)}, of which {len(hidden)} are hidden" if files else ""),
    ]
    title = explanation.project + (str(versions) if versions is not None else "")
    terminal.facts(title, [row for row in rows if row[1]])
    for note in sorted({file.note for file in files if file.note}):
        click.echo(f"note: {note}")
    if hidden:
        terminal.table(("hidden", "by"), [(file.filename, file.rule) for file in hidden])
    if versions is not None and not files and explanation.upstream:
        click.echo(f"the upstream {explanation.upstream} has no file of this version")
