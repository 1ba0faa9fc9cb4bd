"""Relate the paths in a project's Dockerfile to the paths that our image has."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.project.dockerfile_stages import CopiedPath, Stage

DEFAULT_FOLDER = "/app"
_SYSTEM_FOLDERS = {
    *("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt"),
    *("/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/usr/local"),
    *("/usr/src", "/usr/lib", "/usr/bin", "/usr/local/bin", "/usr/share", "/build"),
}
_FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayout:
    """Where the source is in our image, and where its Dockerfile puts the same files.

    ``root`` is the folder of the source; ``context`` is the Dockerfile's build context, relative to
    it; ``folder`` is the source's place in our image.
    """

    root: Path
    context: str
    folder: str
    copied: tuple[CopiedPath, ...]

    def find(self, path: str) -> str | None:
        """Return our absolute path of an absolute path in their image, None if it is not copied."""
        for copied in reversed(self.copied):
            for source in copied.sources:
                if found := self._find_in_copy(copied, source, path):
                    return posixpath.normpath(f"{self.folder}/{found}")
        return None

    def _find_in_copy(self, copied: CopiedPath, source: str, path: str) -> str | None:
        """Return the path below ``root`` that a COPY puts at ``path``."""
        origin = posixpath.normpath(posixpath.join(self.context, source.lstrip("/")))
        target = copied.target.rstrip("/") or "/"
        if any(character in origin for character in "*?["):
            return self._find_pattern(origin, target, path)
        if origin.startswith(".."):
            return None
        local = self.root / origin
        if local.is_dir():  # COPY puts the content of a folder into the target
            rest = posixpath.relpath(path, target)
            found = posixpath.normpath(f"{origin}/{rest}")
            return found if not rest.startswith("..") and (self.root / found).exists() else None
        place = f"{target}/{posixpath.basename(origin)}".replace("//", "/")
        expected = place if copied.target.endswith("/") else target
        return origin if path == expected and local.exists() else None

    def _find_pattern(self, origin: str, target: str, path: str) -> str | None:
        if posixpath.dirname(path) != target:
            return None
        found = f"{posixpath.dirname(origin)}/{posixpath.basename(path)}".lstrip("/")
        return found if (self.root / found).exists() else None


def choose_folder(stage: Stage, root: Path, context: str) -> str:
    """Return where to put the source: where the Dockerfile puts it, if that is a usable place."""
    for copied in reversed(stage.copied):
        origins = [posixpath.normpath(posixpath.join(context, name)) for name in copied.sources]
        target = copied.target.rstrip("/")
        if "." in origins and _is_usable(target):
            return target
        for origin in origins:  # COPY backend/ /app/backend/: /app is the place of the source
            is_folder = not origin.startswith("..") and (root / origin).is_dir()
            if is_folder and target.endswith(f"/{origin}"):
                place = target.removesuffix(f"/{origin}")
                if _is_usable(place):
                    return place
    return stage.workdir if _is_usable(stage.workdir) else DEFAULT_FOLDER


def _is_usable(folder: str) -> bool:
    return folder not in _SYSTEM_FOLDERS and _FOLDER.fullmatch(folder) is not None


def find_workdir(layout: ImageLayout, workdir: str) -> str:
    """Return the working folder of the Dockerfile, relative to the source; "" for the source."""
    path = workdir
    if not path.startswith(layout.folder):
        path = layout.find(workdir) or layout.folder
    relative = posixpath.relpath(path, layout.folder)
    is_inside = relative != "." and not relative.startswith("..")
    return relative if is_inside and (layout.root / relative).is_dir() else ""


def translate_argv(argv: Sequence[str], layout: ImageLayout, workdir: str) -> tuple[str, ...]:
    """Return a command with the paths that its files have in our image.

    A script of the project that is not executable is started by its interpreter.
    """
    words = [translate_word(word, layout, workdir) for word in argv]
    if words and "/" in words[0]:
        local = _local_path(words[0], layout)
        if local and local.is_file() and not local.stat().st_mode & 0o100:
            words = [*_read_interpreter(local), *words]
    return tuple(words)


def translate_word(word: str, layout: ImageLayout, workdir: str) -> str:
    """Return a path of their image as ours; any other word as it is."""
    if " " in word or "\n" in word:  # a script: only its absolute paths
        return re.sub(
            r"(?<![\w./-])/[\w./-]+", lambda match: translate_word(match[0], layout, ""), word
        )
    if (
        word.startswith("-")
        or not re.fullmatch(r"[\w./-]+", word)
        or not ("/" in word or "." in word)
    ):
        return word
    path = posixpath.normpath(posixpath.join(workdir or "/", word))
    found = layout.find(path)
    if found is None or found == path:
        return word
    return found


def strip_environment(argv: Sequence[str], environments: Collection[str]) -> tuple[str, ...]:
    """Return a command whose programs of their virtual environments are found on PATH instead.

    ``environments`` are the folders of those with an unusual name.
    """
    places = "|".join(map(re.escape, sorted(environments))) or "/nowhere"
    program = re.compile(
        rf"(?<![\w./-])(?:{places}|(?:/[\w.-]+)+/\.?venv|/usr/local|/root/\.local"
        r"|/home/[\w-]+/\.local)/bin/([\w.-]+)(?![\w/])"
    )
    return tuple(program.sub(r"\1", word) for word in argv)


def _local_path(word: str, layout: ImageLayout) -> Path | None:
    if word.startswith(f"{layout.folder}/"):
        return layout.root / word.removeprefix(f"{layout.folder}/")
    return None if word.startswith("/") else layout.root / word


def _read_interpreter(script: Path) -> tuple[str, ...]:
    with script.open("rb") as file:
        first = file.readline(200).decode(errors="replace").strip()
    if not first.startswith("#!"):
        return ("/bin/sh",)
    words = first.removeprefix("#!").split()
    return tuple(words[1:] if words and words[0].endswith("/env") else words) or ("/bin/sh",)
