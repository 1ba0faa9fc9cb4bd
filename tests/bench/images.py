"""`python -m tests.bench.images`: the image of build-image next to those of other Dockerfiles.

Measures size, build time and what a node has to pull after a change of the source, and the
seconds from the creation of a pod to its first answer. All images use one engine, one base with the
same packages, and one warm mirror. --write puts the results into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from images.application_recipe import load_application_recipe
from images.recipes import RECIPES
from tests.bench import dockerfiles, pod_start
from tests.bench.report import print_status, replace_section
from tests.cluster.cache import cache_root
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image
from tests.conftest import CA_BUNDLE
from tests.images.chronicle_project import ChronicleProject, make_chronicle
from tests.images.projects import BASE, BuildEnvironment, build_environment, run_program

BEGIN_MARK, END_MARK = "<!-- images -->", "<!-- end of images -->"
OURS = "build-image"
OUR_IMAGE = "bench/application:1"
RUNTIME_IMAGE = "bench/runtime:1"


@dataclass(slots=True, kw_only=True)
class BuildMeasurements:
    """The measurements of one way to build the image: sizes in bytes, seconds by kind of build."""

    name: str
    size: int = 0
    pulled: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add_seconds(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(round(seconds, 2))


# builds the image with a tag, without a cache if asked to; returns the image's id
Build = Callable[[str, bool, BuildMeasurements, str], str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.images", description=__doc__)
    parser.add_argument("--repeats", type=int, default=2, help="of warm builds, changes and starts")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stop engine, mirror and lab
    results: dict[str, Any] = {"builds": [], "starts": {}, "load": [os.getloadavg()[0]]}
    results["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    try:
        with _environment() as (environment, project):
            for measurements in _measure_builds(environment, project, options.repeats):
                results["builds"].append(measurements)
            results["load"].append(os.getloadavg()[0])
            print_status("pod starts")
            results["starts"] = pod_start.measure_pod_starts(
                environment.engine, RUNTIME_IMAGE, OUR_IMAGE, max(2, options.repeats)
            )
    finally:  # an interrupted run reports what it has measured
        results["load"].append(os.getloadavg()[0])
        text = json.dumps(results, indent=1, default=asdict)
        (cache_root() / "bench-images.json").write_text(text)
        print(render_table(results))
    if options.write:
        page = Path(__file__).parents[2] / "docs/benchmarks.md"
        replace_section(page, BEGIN_MARK, render_table(results), END_MARK)
    return 0


@contextmanager
def _environment() -> Iterator[tuple[BuildEnvironment, ChronicleProject]]:
    root = cache_root() / f"bench-images-{os.getpid()}"
    root.mkdir()
    try:
        with docker_engine(root / "engine") as engine:
            engine.load(ensure_base_image())
            with build_environment(
                root / "mirror", run_program, engine, Path(CA_BUNDLE)
            ) as environment:
                yield environment, make_chronicle(root / "chronicle", environment.index, engine)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _measure_builds(
    environment: BuildEnvironment, project: ChronicleProject, repeats: int
) -> Iterator[BuildMeasurements]:
    engine, index = environment.engine, environment.index
    print_status("base images")
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    dockerfiles.build_base_images(engine, recipe, BASE)
    folder = project.folder.parent
    peer_project = dockerfiles.prepare_project(engine, project.folder, folder / "theirs")
    dockerfiles.write_dockerfile(peer_project, dockerfiles.RUNTIME_DOCKERFILE, index)
    dockerfiles.build_image(engine, peer_project, RUNTIME_IMAGE)
    our_recipe = folder / "own.toml"
    lines = (RECIPES / "chronicle.toml").read_text().splitlines(keepends=True)
    our_recipe.write_text("".join(line for line in lines if "_packages = " not in line))
    # the mirror is warm for all builds
    _run_build_image(environment, project, our_recipe, "bench/warming:1")

    def build_ours(tag: str, fresh: bool, measurements: BuildMeasurements, kind: str) -> str:
        flags = ("--no-cache",) if fresh else ()
        report = _run_build_image(environment, project, our_recipe, tag, *flags)
        measurements.add_seconds(f"{kind}, image alone", report["seconds"]["build"])
        return str(report["id"])

    def peer_build(dockerfile: str) -> Build:
        def build(tag: str, fresh: bool, measurements: BuildMeasurements, kind: str) -> str:
            dockerfiles.write_dockerfile(peer_project, dockerfile, index)
            return dockerfiles.build_image(engine, peer_project, tag, fresh=fresh).image

        return build

    upstream = peer_build(dockerfiles.UPSTREAM_DOCKERFILE)
    recommended = peer_build(dockerfiles.RECOMMENDED_DOCKERFILE)
    for name, tag, build, source in (
        (OURS, OUR_IMAGE, build_ours, project.folder),
        ("one stage, as upstream", "bench/upstream:1", upstream, peer_project),
        ("uv's multi-stage", "bench/recommended:1", recommended, peer_project),
    ):
        measurements = BuildMeasurements(name=name)
        image = _time_build(build, tag, True, measurements, "cold")
        measurements.size = int(dockerfiles.inspect_image(engine, image)["Size"])
        for turn in range(repeats):
            _time_build(build, tag, False, measurements, "warm")
            with (source / "src/advanced_omi_backend/memory.py").open("a") as module:
                module.write(f"CHANGED_{turn} = '{name}'\n")
            changed = _time_build(build, tag, False, measurements, "source change")
            if not measurements.pulled:
                measurements.pulled = dockerfiles.count_pull_bytes(engine, changed, image)
        yield measurements


def _time_build(
    build: Build, tag: str, fresh: bool, measurements: BuildMeasurements, kind: str
) -> str:
    print_status(f"{measurements.name}: {kind}")
    start = time.monotonic()
    image = build(tag, fresh, measurements, kind)
    measurements.add_seconds(kind, time.monotonic() - start)
    return image


def _run_build_image(
    environment: BuildEnvironment, project: ChronicleProject, recipe: Path, tag: str, *flags: str
) -> Any:
    """Run `build-image chronicle` and return its report."""
    result = run_program(
        *("build-image", "chronicle", "--source", str(project.folder), "--recipe", str(recipe)),
        *("--tag", tag, "--base", dockerfiles.RUN_BASE, *project.vendor_options),
        *("-o", "json", *flags),
        env=environment.env(),
        timeout=1200,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def render_table(results: dict[str, Any]) -> str:
    """Return the results as Markdown, with the ratio to build-image in parentheses."""
    load = ", ".join(f"{average:.1f}" for average in results["load"])
    machine = results["machine"]
    lines = [f"Machine: {machine}; its load at the start, in between and at the end: {load}."]
    builds: list[BuildMeasurements] = results["builds"]
    if builds:
        ours = builds[0]
        lines += ["", "| | " + " | ".join(build.name for build in builds) + " |"]
        lines += ["|---|" + "---|" * len(builds)]
        lines += [_render_row("size, MB", [build.size / 1e6 for build in builds], "{:.0f}")]
        for kind in (kind for kind in ours.seconds if "alone" not in kind):
            medians = [median(build.seconds.get(kind, [0])) for build in builds]
            alone = median(ours.seconds[f"{kind}, image alone"])
            lines += [_render_row(f"{kind}, s, ours with its proof", medians, "{:.1f}")]
            row = _render_row(f"{kind}, s, the image alone", [alone, *medians[1:]], "{:.1f}")
            lines += [row]
        pulled = [build.pulled / 1e6 for build in builds]
        lines += [_render_row("to pull after a source change, MB", pulled, "{:.3f}")]
    if results["starts"]:
        lines += ["", f"| pod's creation → /health | s | ÷ {OURS} |", "|---|---|---|"]
        ours_median = median(results["starts"][OURS])
        for name, seconds in results["starts"].items():
            span = f" ({min(seconds):.1f}–{max(seconds):.1f})" if len(seconds) > 1 else ""
            ratio = median(seconds) / ours_median
            lines += [f"| {name} | {median(seconds):.1f}{span} | {ratio:.1f} |"]
    return "\n".join(lines) + "\n"


def _render_row(title: str, values: list[float], form: str) -> str:
    first, *rest = values
    ratios = [f"{form.format(value)} ({value / first:,.2f}×)" if first else "–" for value in rest]
    return f"| {title} | " + " | ".join([form.format(first), *ratios]) + " |"


if __name__ == "__main__":
    sys.exit(main())
