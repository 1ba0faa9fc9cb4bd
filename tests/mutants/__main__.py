"""`python -m tests.mutants PATH… --most N`: print the faults that no test notices."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import click

from tests import REPOSITORY
from tests.mutants.covering import find_importers, record_covering_tests
from tests.mutants.operators import Fault, list_faults
from tests.mutants.planting import (
    PlantedFault,
    Planter,
    copy_files,
    list_repository_files,
)

PRODUCT = ("cli/", "deploy/", "images/", "mirror/")


def choose_faults(sources: dict[str, bytes], most: int, seed: int) -> list[tuple[str, Fault]]:
    """Return a random choice of faults, of all operators alike, and at most one on a line."""
    by_operator = defaultdict[str, list[tuple[str, Fault]]](list)
    for path, source in sorted(sources.items()):
        for fault in list_faults(source):
            by_operator[fault.operator].append((path, fault))
    chooser = random.Random(seed)
    for faults in by_operator.values():
        chooser.shuffle(faults)
    chosen: dict[tuple[str, int], tuple[str, Fault]] = {}
    while len(chosen) < most and any(by_operator.values()):
        for operator in sorted(by_operator):
            while by_operator[operator]:
                path, fault = by_operator[operator].pop()
                if (path, fault.line) not in chosen and fault.compiles(sources[path]):
                    chosen[path, fault.line] = path, fault
                    break
    return sorted(chosen.values(), key=lambda item: (item[0], item[1].line))[:most]


def list_product_files(paths: tuple[str, ...], files: list[str]) -> list[str]:
    """Return the Python files of the product at or below the given paths."""
    relative = [os.path.relpath(Path(path).resolve(), REPOSITORY) for path in paths]
    return [
        name
        for name in files
        if name.startswith(PRODUCT)
        and name.endswith(".py")
        and any(Path(name).is_relative_to(path) for path in relative)
    ]


def describe(planted: PlantedFault) -> dict[str, object]:
    """Return a planted fault for JSON."""
    return {
        "path": planted.path,
        "line": planted.fault.line,
        "operator": planted.fault.operator,
        "outcome": planted.outcome,
        "tests": planted.tests,
        "seconds": round(planted.seconds, 1),
        "diff": planted.diff,
    }


def get_cache() -> Path:
    """Return the folder of the covering tests, outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    tests = os.environ.get("MIRROR_TEST_CACHE") or f"{base}/pypi-mirror-tests"
    return Path(tests) / "covering"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--most", default=20, show_default=True, help="Plant at most this many faults.")
@click.option("--seed", default=0, show_default=True, help="Choose other faults.")
@click.option(
    "--tests",
    multiple=True,
    default=["tests/unit"],
    show_default=True,
    help="Folder or file of tests that may notice them.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def main(paths: tuple[str, ...], most: int, seed: int, tests: tuple[str, ...], output: str) -> None:
    """Plant faults below PATHS, one at a time, and print those that no test notices.

    Exit codes: 0 all were noticed, 1 some were not, 2 wrong input.
    """
    files = list_repository_files(REPOSITORY)
    product = list_product_files(paths, files)
    if not product:
        raise click.UsageError(f"no Python file of the product is at {', '.join(paths)}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder).resolve()
        copy_files(REPOSITORY, copy, files)
        covering = record_covering_tests(copy, files, list(tests), get_cache())
        for test in covering.list_failed():
            click.echo(f"fails without a fault, not used: {test}", err=True)
        planter, results = Planter(copy), []
        sources = {
            name: (copy / name).read_bytes()
            for name in files
            if name.startswith(PRODUCT) and name.endswith(".py")
        }
        texts = {name: source.decode() for name, source in sources.items()}
        for path, fault in choose_faults({name: sources[name] for name in product}, most, seed):
            importers = find_importers(path, texts) if fault.at_import else []
            chosen = covering.find(path, fault, importers)
            result = planter.plant_and_test(path, fault, chosen, covering.sum_seconds(chosen))
            results.append(result)
            click.echo(
                f"{result.outcome:<10}{path}:{fault.line}  {fault.operator}  "
                f"({result.tests} tests, {result.seconds:.0f} s)",
                err=True,
            )
    missed = [result for result in results if result.outcome != "caught"]
    if output == "json":
        click.echo(json.dumps([describe(result) for result in results], indent=2))
    else:
        for result in missed:
            click.echo(f"\n{result.path}:{result.fault.line}: {result.outcome}\n{result.diff}")
        click.echo(f"{len(results) - len(missed)} of {len(results)} faults noticed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
