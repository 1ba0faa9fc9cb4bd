"""The configuration of an assembled image, and the archive that engines load."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from images.assembly.cache import LayerCache
from images.assembly.image import AssembledImage, BaseLayers, describe_image, write_archive
from images.assembly.layers import describe_layer
from images.assembly.segment import LayerEntry

BASE = BaseLayers(
    name="debian:1",
    architecture="arm64",
    layers=("sha256:" + "b" * 64,),
    config={
        "Env": ["PATH=/bin", "LANG=C"],
        "Cmd": ["sh"],
        "Entrypoint": ["/entry"],
        "Labels": {"base": "1", "own": "old"},
        "Hostname": "of the engine",
    },
)


def make_image(folder: Path, *texts: str, labels: dict[str, str] | None = None) -> AssembledImage:
    cache = LayerCache(folder=folder)
    layers = []
    for text in texts:
        with cache.stage() as staged:
            content = text.encode()
            staged.open(text).add(LayerEntry(name=text, size=len(content)), io.BytesIO(content))
            staged.commit({})
        layers.append(describe_layer(text, [cache.get(text)], cache))
    return describe_image(
        BASE,
        layers,
        environment={"PATH": "/app/bin", "A": "a=b"},
        user="10001:10001",
        workdir="/app",
        command=["python3"],
        labels={"own": "new"} if labels is None else labels,
    )


def open_archive(image: AssembledImage, present: int = 1) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(b"".join(write_archive(image, "x:1", present))))


def read(archive: tarfile.TarFile, name: str) -> bytes:
    opened = archive.extractfile(name)
    assert opened
    return opened.read()


def test_the_configuration_extends_that_of_the_base(tmp_path: Path) -> None:
    document = json.loads(make_image(tmp_path, "one").config)
    assert document["config"] == {
        "Env": ["PATH=/app/bin", "LANG=C", "A=a=b"],
        "Cmd": ["python3"],
        "Labels": {"base": "1", "own": "new"},
        "User": "10001:10001",
        "WorkingDir": "/app",
    }
    assert (document["architecture"], document["os"]) == ("arm64", "linux")
    assert document["created"] == "1980-01-01T00:00:00Z"
    assert len(document["history"]) == len(document["rootfs"]["diff_ids"]) == 2


def test_digests_are_those_of_the_content(tmp_path: Path) -> None:
    image = make_image(tmp_path, "one", "two")
    with open_archive(image) as archive:
        (manifest,) = json.loads(read(archive, "manifest.json"))
        assert manifest["RepoTags"] == ["x:1"]
        config = read(archive, manifest["Config"])
        assert f"sha256:{hashlib.sha256(config).hexdigest()}" == image.id
        diff_ids = json.loads(config)["rootfs"]["diff_ids"]
        assert diff_ids[0] == BASE.layers[0]
        names = manifest["Layers"]
        for diff_id, name in zip(diff_ids[1:], names[1:], strict=True):
            content = read(archive, name)
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == diff_id
        layer = tarfile.open(fileobj=io.BytesIO(read(archive, names[2])))  # noqa: SIM115
        assert layer.getnames() == ["two"]


def test_leaves_out_the_layers_that_the_engine_has(tmp_path: Path) -> None:
    image = make_image(tmp_path, "one", "two")
    with open_archive(image, present=2) as archive:
        (manifest,) = json.loads(read(archive, "manifest.json"))
        assert len(manifest["Layers"]) == 3
        written = [name for name in manifest["Layers"] if name in archive.getnames()]
        assert written == manifest["Layers"][2:]
    with open_archive(image, present=3) as archive:
        assert not set(manifest["Layers"]) & set(archive.getnames())


def test_writes_a_repeated_layer_once(tmp_path: Path) -> None:
    with open_archive(make_image(tmp_path, "one", "one")) as archive:
        assert len(archive.getnames()) == len({*archive.getnames()})


def test_the_same_inputs_in_another_folder_have_the_same_id(tmp_path: Path) -> None:
    one, two = (make_image(tmp_path / name, "one", "two") for name in ("x", "y"))
    assert one.id == two.id
    assert make_image(tmp_path / "x", "one", "two", labels={"own": "other"}).id != one.id
    assert make_image(tmp_path / "x", "one", "three").id != one.id
