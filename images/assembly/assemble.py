"""Assemble an application's image in an engine: install, arrange layers, load, run build_steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from images.application_dockerfile import (
    default_command,
    run_environment,
    search_path,
    workdir_path,
)
from images.application_recipe import ApplicationRecipe
from images.assembly.build_steps import run_build_steps
from images.assembly.cache import MAX_BYTES, LayerCache
from images.assembly.image import (
    AssembledImage,
    BaseLayers,
    ImageLayer,
    describe_image,
    write_archive,
)
from images.assembly.install import InstallRequest, PartInstaller
from images.assembly.layers import LayerWriter, describe_layer
from images.assembly.steps import AssemblySteps
from images.engine import EngineClient, EngineImage
from images.engine.leftovers import unfinished_name
from mirror.core.errors import EngineError, UnfitError
from mirror.core.progress import Progress


def check_engine(engine: EngineClient) -> None:
    """Raise UnfitError for an engine that images cannot be assembled for."""
    if engine.uses_containerd_store():
        raise UnfitError(
            "this Docker engine takes no assembled image",
            why="it keeps images in containerd's store, which takes no image without the layers of "
            "its base",
            next_step="build with --builder dockerfile",
        )


class Assembler:
    """Assembles the image of one build. Unfinished images have a name until the end of ``hold``."""

    def __init__(
        self,
        engine: EngineClient,
        base: EngineImage,
        request: InstallRequest,
        cache: LayerCache,
        progress: Progress,
        *,
        label: str,
    ) -> None:
        """``label`` is one of all finished images: what the engine has of them is not loaded."""
        self._engine, self._request, self._cache = engine, request, cache
        self._label = label
        self._recipe, self._progress = request.recipe, progress
        self._base = BaseLayers(
            name=self._recipe.base,
            architecture=base.architecture,
            layers=base.layers,
            config=base.config,
        )
        self._layers: tuple[ImageLayer, ...] = ()
        self._names: list[str] = []
        self._loaded: tuple[str, ...] = ()

    def assemble(self, steps: AssemblySteps) -> str:
        """Return the id of the image, without our labels."""
        self._progress.step("build")
        parts = PartInstaller(self._request, self._cache, steps).install()
        self._layers = LayerWriter(self._recipe, parts, self._cache).write()
        image = self._load({})
        if self._recipe.build_steps:
            fresh = self._request.fresh
            changed = run_build_steps(self._recipe, image, self._cache, steps, fresh=fresh)
            layer = describe_layer("build steps", [changed], self._cache)
            self._layers = (*self._layers, layer)
            image = self._load({})
        self._cache.trim(MAX_BYTES)
        return image

    def add_labels(self, labels: Mapping[str, str]) -> str:
        """Return the id of the same image with labels; no layer is added."""
        return self._load({key: " ".join(value.split()) for key, value in labels.items()})

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Remove the names of unfinished images at the end of a block."""
        try:
            yield
        finally:
            for name in self._names:
                with suppress(EngineError):
                    self._engine.untag(name)

    def _load(self, labels: Mapping[str, str]) -> str:
        image = describe(self._recipe, self._base, self._layers, labels)
        name = unfinished_name()
        self._names.append(name)
        if self._engine.find(image.id):
            self._engine.tag(image.id, name)
        else:
            if not self._loaded:
                self._progress.step("load the layers into the engine")
            present = max(
                len(image.base.layers),
                sum(
                    1
                    for pair in zip(image.digests, self._loaded, strict=False)
                    if len({*pair}) == 1
                ),
                self._engine.count_present(image.digests, self._label),
            )
            self._engine.load(write_archive(image, name, present), name)
        self._loaded = image.digests
        return image.id


def describe(
    recipe: ApplicationRecipe,
    base: BaseLayers,
    layers: tuple[ImageLayer, ...],
    labels: Mapping[str, str],
) -> AssembledImage:
    """Return the image of a recipe."""
    return describe_image(
        base,
        layers,
        environment={"PATH": search_path(recipe), **run_environment(recipe)},
        user=f"{recipe.user_id}:{recipe.user_id}",
        workdir=workdir_path(recipe),
        command=default_command(recipe),
        labels=labels,
    )
