"""`python -m tests.bench.images`: a baked image beside others of the same project, on this machine.

Size, time and what a node has to pull after a change of the source; seconds from a pod's creation
to its first answer. One engine, one base with the same packages, one warm mirror for all. With
--write the figures go to docs/benchmarks.md.
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
from tests.cluster.cache import cache_root
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image
from tests.conftest import CA_BUNDLE
from tests.images.chronicle_project import ChronicleProject, make_chronicle
from tests.images.projects import BASE, BuildEnvironment, build_environment, run_program

BEGIN_MARK, END_MARK = "<!-- images -->", "<!-- end of images -->"
RUNTIME_IMAGE = "bench/runtime:1"
OURS = "build-image"


@dataclass(slots=True, kw_only=True)
class BuildMeasurements:
    """Of one way to make the image: seconds by kind, bytes."""

    name: str
    size: int = 0
    pulled: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add_seconds(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(round(seconds, 2))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.images", description=__doc__)
    parser.add_argument("--repeats", type=int, default=2, help="of warm builds, changes and starts")
    parser.add_argument("--write", action="store_true", help="docs/benchmarks.md")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # engine, mirror and lab are ended
    told: dict[str, Any] = {"builds": [], "starts": {}, "load": [os.getloadavg()[0]]}
    told["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    try:
        with _workshop() as (shop, project):
            for one in _builds(shop, project, words.repeats):
                told["builds"].append(one)
            told["load"].append(os.getloadavg()[0])
            _say("starts")
            told["starts"] = pod_start.measure_pod_starts(
                shop.engine, RUNTIME_IMAGE, "bench/baked:1", max(2, words.repeats)
            )
    finally:  # a run that was ended tells what it has
        told["load"].append(os.getloadavg()[0])
        (cache_root() / "bench-images.json").write_text(json.dumps(told, indent=1, default=asdict))
        print(render_table(told))
    if words.write:
        write_table(told, Path(__file__).parents[2] / "docs/benchmarks.md")
    return 0


@contextmanager
def _workshop() -> Iterator[tuple[BuildEnvironment, ChronicleProject]]:
    root = cache_root() / f"bench-images-{os.getpid()}"
    root.mkdir()
    try:
        with docker_engine(root / "engine") as own:
            own.load(ensure_base_image())
            with build_environment(root / "mirror", run_program, own, Path(CA_BUNDLE)) as shop:
                yield shop, make_chronicle(root / "chronicle", shop.index, own)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _builds(
    shop: BuildEnvironment, project: ChronicleProject, repeats: int
) -> Iterator[BuildMeasurements]:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    _say("the distribution's packages")
    dockerfiles.build_base_images(shop.engine, recipe, BASE)
    theirs = dockerfiles.prepare_project(
        shop.engine, project.folder, project.folder.parent / "theirs"
    )
    dockerfiles.write_dockerfile(theirs, dockerfiles.RUNTIME_DOCKERFILE, shop.index)
    dockerfiles.build_image(shop.engine, theirs, RUNTIME_IMAGE)
    own = project.folder.parent / "own.toml"
    lines = (RECIPES / "chronicle.toml").read_text().splitlines(keepends=True)
    own.write_text("".join(one for one in lines if "_packages = " not in one))
    _ours(shop, project, own, "bench/warming:1")  # the mirror is warm for all of them

    def ours(tag: str, fresh: bool, figures: BuildMeasurements, kind: str) -> str:
        report = _ours(shop, project, own, tag, *(("--no-cache",) if fresh else ()))
        figures.add_seconds(f"{kind}, image alone", report["seconds"]["build"])
        return str(report["id"])

    def other(text: str) -> Callable[[str, bool, BuildMeasurements, str], str]:
        def made(tag: str, fresh: bool, figures: BuildMeasurements, kind: str) -> str:
            dockerfiles.write_dockerfile(theirs, text, shop.index)
            return dockerfiles.build_image(shop.engine, theirs, tag, fresh=fresh).image

        return made

    for name, tag, make, source in (
        (OURS, "bench/baked:1", ours, project.folder),
        (
            "one stage, as upstream",
            "bench/upstream:1",
            other(dockerfiles.UPSTREAM_DOCKERFILE),
            theirs,
        ),
        (
            "uv's multi-stage",
            "bench/recommended:1",
            other(dockerfiles.RECOMMENDED_DOCKERFILE),
            theirs,
        ),
    ):
        figures = BuildMeasurements(name=name)
        image = _timed(make, tag, True, figures, "cold")
        figures.size = int(dockerfiles.inspect_image(shop.engine, image)["Size"])
        for turn in range(repeats):
            _timed(make, tag, False, figures, "warm")
            with (source / "src/advanced_omi_backend/memory.py").open("a") as module:
                module.write(f"CHANGED_{turn} = '{name}'\n")
            changed = _timed(make, tag, False, figures, "source change")
            if not figures.pulled:
                figures.pulled = dockerfiles.count_pull_bytes(shop.engine, changed, image)
        yield figures


def _timed(
    make: Callable[[str, bool, BuildMeasurements, str], str],
    tag: str,
    fresh: bool,
    figures: BuildMeasurements,
    kind: str,
) -> str:
    _say(f"{figures.name}: {kind}")
    since = time.monotonic()
    image = make(tag, fresh, figures, kind)
    figures.add_seconds(kind, time.monotonic() - since)
    return image


def _ours(
    shop: BuildEnvironment, project: ChronicleProject, recipe: Path, tag: str, *words: str
) -> Any:
    given = ("chronicle", "--source", str(project.folder), "--recipe", str(recipe), "--tag", tag)
    base = ("--base", dockerfiles.RUN_BASE)
    done = run_program(
        *("build-image", *given, *base, *project.vendor_options, "-o", "json", *words),
        env=shop.env(),
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -- the page -------------------------------------------------------------------------------------


def write_table(told: dict[str, Any], page: Path) -> None:
    """Put the table between the page's marks; the words round it are written by hand."""
    before, _, rest = page.read_text().partition(BEGIN_MARK)
    _, _, after = rest.partition(END_MARK)
    page.write_text(f"{before}{BEGIN_MARK}\n{render_table(told)}\n{END_MARK}{after}")


def render_table(told: dict[str, Any]) -> str:
    """Markdown; in parentheses the ratio to ours."""
    load = ", ".join(f"{one:.1f}" for one in told["load"])
    lines = [f"Machine: {told['machine']}; its load at the begin, between and at the end: {load}."]
    builds: list[BuildMeasurements] = told["builds"]
    if builds:
        ours = builds[0]
        lines += ["", "| | " + " | ".join(one.name for one in builds) + " |"]
        lines += ["|---|" + "---|" * len(builds)]
        lines += [_row("size, MB", [one.size / 1e6 for one in builds], "{:.0f}")]
        kinds = [kind for kind in ours.seconds if "alone" not in kind]
        for kind in kinds:
            took = [median(one.seconds[kind]) if kind in one.seconds else 0 for one in builds]
            alone = median(ours.seconds[f"{kind}, image alone"])
            lines += [_row(f"{kind}, s, ours with its proof", took, "{:.1f}")]
            lines += [_row(f"{kind}, s, the image alone", [alone, *took[1:]], "{:.1f}")]
        pulled = [one.pulled / 1e6 for one in builds]
        lines += [_row("to pull after a source change, MB", pulled, "{:.3f}")]
    if told["starts"]:
        lines += ["", "| pod's creation → /health | s | ÷ baked |", "|---|---|---|"]
        baked = median(told["starts"]["baked"])
        for name, took in told["starts"].items():
            each = f" ({min(took):.1f}–{max(took):.1f})" if len(took) > 1 else ""
            lines += [f"| {name} | {median(took):.1f}{each} | {median(took) / baked:.1f} |"]
    return "\n".join(lines) + "\n"


def _row(title: str, values: list[float], form: str) -> str:
    first, *rest = values
    ratios = [f"{form.format(one)} ({one / first:,.2f}×)" if first else "–" for one in rest]
    return f"| {title} | " + " | ".join([form.format(first), *ratios]) + " |"


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
