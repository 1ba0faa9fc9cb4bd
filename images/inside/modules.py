"""Find the modules that an application has and starts with, from the files of its image.

Only files are read here; imports.py imports what is found.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_OTHER_FOLDERS = {  # at the top of a project, these hold no package of the application
    *("tests", "test", "docs", "doc", "examples", "scripts", "build", "dist", "benchmarks"),
    *("node_modules", "venv", "env"),
}
_TEST = re.compile(r"(^|\.)(tests?|conftest|test_\w+|\w+_tests?)(\.|$)")
_MODULE = re.compile(r"[A-Za-z_][\w.]*")
_OPTIONS_WITH_MODULE = {"-m", "-A", "--app"}  # of python, celery and flask
_FOLDER_OPTIONS = {"--app-dir", "--chdir", "--workdir", "-w"}
_DJANGO = re.compile(r"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([\w.]+)[\"']")


@dataclass
class Entry:
    """What a start command runs: modules, and a script; ``folder`` is put on sys.path for it."""

    modules: list[str] = field(default_factory=list)
    scripts: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)


def read_entry(argv: Sequence[str], folder: Path) -> Entry:
    """Return what a start command runs, as far as its words show it."""
    entry = Entry()
    words = list(_split_shell(argv))
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else ""
        if word in _FOLDER_OPTIONS and (folder / following).is_dir():
            entry.folders.append(folder / following)
        elif word in _OPTIONS_WITH_MODULE and _MODULE.fullmatch(following):
            entry.modules.append(following)
        elif found := re.fullmatch(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*(\(.*\))?", word):
            entry.modules.append(found[1])
        elif word.endswith(".py") and (folder / word).is_file():
            script = (folder / word).resolve()
            entry.scripts.append(script)
            entry.folders.append(script.parent)
        elif number == 0 or words[number - 1] in ("run", "exec", "&&", ";"):
            entry.modules += find_console_script(Path(word).name)
    return entry


def _split_shell(argv: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command, with those of `sh -c` in place of its text."""
    shells = {"sh", "bash", "dash", "/bin/sh", "/bin/bash", "/usr/bin/env"}
    for number, word in enumerate(argv):
        is_script = number > 1 and argv[number - 1] in ("-c", "-lc", "-ec", "-euc", "-exc")
        if is_script and argv[number - 2] in shells:
            try:
                yield from shlex.split(word, comments=True)
            except ValueError:
                yield word
        else:
            yield word


def find_console_script(name: str) -> list[str]:
    """Return the module of an installed console script, in a list; empty if there is none."""
    for distribution in importlib.metadata.distributions():
        for point in distribution.entry_points:
            if point.group == "console_scripts" and point.name == name:
                return [point.value.partition(":")[0].strip()]
    return []


class Project:
    """The Python files of a project below some folders of sys.path."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(dict.fromkeys(root.resolve() for root in roots if root.is_dir()))

    def list_packages(self) -> list[str]:
        """Return the regular packages directly below the roots."""
        names = []
        for root in self.roots:
            if (root / "__init__.py").exists():
                continue  # the folder of a script in a package: its packages have longer names
            for path in sorted(root.glob("*/__init__.py")):
                name = path.parent.name
                is_root = name == "src" and path.parent in self.roots
                if name.isidentifier() and name not in _OTHER_FOLDERS and not is_root:
                    names.append(name)
        return list(dict.fromkeys(names))

    def find_file(self, module: str) -> Path | None:
        """Return the file or, for a namespace package, the folder of a module of the project."""
        parts = module.split(".")
        for root in self.roots:
            base = root.joinpath(*parts)
            for path in (base / "__init__.py", base.with_suffix(".py")):
                if path.is_file():
                    return path
            if base.is_dir() and ".venv" not in parts and any(base.glob("*.py")):
                return base
        return None

    def reach(self, modules: Sequence[str], scripts: Sequence[Path]) -> list[str]:
        """Return the modules of the project that some modules and scripts import, themselves too.

        Imports in functions count, because a function may run at the start.
        """
        reached: dict[str, None] = {}
        queue: list[str] = list(modules)
        for script in scripts:
            queue += _read_imports(script, "")
        while queue:
            name = queue.pop(0)
            path = self.find_file(name)
            if path is None or name in reached:
                continue
            reached[name] = None
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            if "." in name:
                queue.append(name.rpartition(".")[0])
            if path.is_file():
                queue += _read_imports(path, package)
            main = self.find_file(f"{name}.__main__")
            if main and name in modules:
                queue += _read_imports(main, name)
        return list(reached)

    def find_django_settings(self) -> str:
        """Return the settings module that manage.py, wsgi.py or asgi.py set, or ""."""
        for root in self.roots:
            for pattern in ("manage.py", "*/manage.py", "*/wsgi.py", "*/asgi.py", "*/*/wsgi.py"):
                for path in sorted(root.glob(pattern)):
                    if "site-packages" in path.parts:
                        continue
                    if found := _DJANGO.search(_read_text(path)):
                        return found[1]
        return ""


def is_test(module: str) -> bool:
    """Whether a module is a test, by its name."""
    return bool(_TEST.search(module))


def is_environment_of_alembic(path: str) -> bool:
    """Whether a file is Alembic's env.py, which only Alembic can run."""
    return os.path.basename(path) == "env.py" and os.path.exists(
        os.path.join(os.path.dirname(path), "script.py.mako")
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read_imports(path: Path, package: str) -> list[str]:
    """Return the absolute names of what a file imports; every name may be a module."""
    try:
        tree = ast.parse(_read_text(path))
    except (SyntaxError, ValueError, RecursionError):
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*filter(None, above), *filter(None, [base])])
            names.append(base)
            names += [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            # uvicorn.run("main:app"), import_module("x.y")
            text = node.args[0].value
            if isinstance(text, str) and re.fullmatch(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?", text):
                names.append(text.partition(":")[0])
    return [name for name in names if name]
