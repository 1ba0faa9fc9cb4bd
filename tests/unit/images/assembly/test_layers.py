"""Which distribution is in which layer, and what each layer has around its segments."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from images.application_recipe import ApplicationRecipe
from images.assembly.cache import LayerCache, Segment
from images.assembly.image import ImageLayer
from images.assembly.install import InstalledParts
from images.assembly.layers import LayerWriter, group_distributions
from images.assembly.segment import LayerEntry

MEGABYTE = 1000**2


def segment(name: str, size: int) -> Segment:
    return Segment(key=name, stamp="s", path=Path(name), size=size, facts={})


def group(sizes: dict[str, int]) -> list[tuple[str, list[str]]]:
    parts = {name: segment(name, size) for name, size in sizes.items()}
    return [(text, [part.key for part in parts]) for text, parts in group_distributions(parts)]


def test_large_distributions_have_layers_of_their_own_the_largest_first() -> None:
    assert group({"small": 1, "torch": 900 * MEGABYTE, "large": 8 * MEGABYTE, "tiny": 0}) == [
        ("dependency torch", ["torch"]),
        ("dependency large", ["large"]),
        ("dependencies", ["small", "tiny"]),
    ]


def test_a_little_growth_does_not_change_the_order_of_large_ones() -> None:
    before = group({"a": 9 * MEGABYTE, "b": 10 * MEGABYTE})
    assert before == group({"a": 11 * MEGABYTE, "b": 10 * MEGABYTE})
    assert [names for _, names in before] == [["a"], ["b"]]


def test_a_changed_distribution_changes_one_layer() -> None:
    sizes = {f"package-{number}": 3 * MEGABYTE for number in range(36)}
    before, after = group(sizes), group({**sizes, "package-7": 4 * MEGABYTE})
    assert before == after
    assert len(before) == 8
    assert sorted(name for _, names in before for name in names) == sorted(sizes)
    one_more = group({**sizes, "another": 1})
    assert sum(layer not in before for layer in one_more) == 1


def make(cache: LayerCache, key: str, *names: str) -> Segment:
    with cache.stage() as staged:
        for name in names:
            staged.open(key).add(LayerEntry(name=name))
        staged.commit({})
    return cache.get(key)


def read(layer: ImageLayer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(layer.read()))) as archive:
        members = {member.name: member for member in archive}
        assert len(members) == len(archive.getmembers())
    return members


def test_every_layer_has_the_folders_above_its_files(tmp_path: Path) -> None:
    cache = LayerCache(folder=tmp_path)
    recipe = ApplicationRecipe(name="x", folder="/srv/app", writable=("data/in",), workdir="web")
    parts = InstalledParts(
        uv=make(cache, "uv", "usr/local/bin/uv"),
        environment=make(cache, "environment", "srv/app/.venv/pyvenv.cfg"),
        distributions={"one": make(cache, "one", "srv/app/.venv/one")},
        source=make(cache, "source", "srv/app/main.py"),
        project=make(cache, "project", "srv/app/.venv/built-with"),
        folders={"srv": (0o750, 1, 2), "usr": (0o755, 0, 0), "usr/local": (0o2775, 0, 50)},
        built=("b 1",),
        builders=("z 1", "a 1"),
    )
    layers = LayerWriter(recipe, parts, cache).write()
    texts = [layer.text for layer in layers]
    assert texts == ["uv", "dependencies", "environment", "source", "project"]
    uv, dependencies, environment, source, project = map(read, layers)
    assert (uv["usr/local"].mode, uv["usr/local"].gid) == (0o2775, 50)
    assert uv["usr/local/bin"].mode == 0o755
    for members in (dependencies, environment, source, project):
        srv, app = members["srv"], members["srv/app"]
        assert (srv.mode, srv.uid, srv.gid) == (0o750, 1, 2)
        assert (app.mode, app.uid, app.gid) == (0o755, 10001, 10001)
    for name in ("data", "data/in", "web"):
        assert source[f"srv/app/{name}"].isdir()
        assert source[f"srv/app/{name}"].uid == 10001
    assert environment["srv/app/.venv/built-with"].size == len("a 1\nz 1\n")
    assert environment["srv/app/.venv/built-from-sdist"].size == len("b 1\n")
    assert environment["srv/app/.venv/.lock"].mode == 0o666
    again = LayerWriter(recipe, parts, cache).write()
    assert [layer.digest for layer in again] == [layer.digest for layer in layers]
