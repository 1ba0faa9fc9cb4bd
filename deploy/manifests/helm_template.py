"""One object as a template of Helm: values and conditions in its YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from deploy.manifests.model import Object
from deploy.manifests.optional_parts import OptionalPart, Path
from deploy.manifests.yaml_text import render_yaml

# Stands for an action in the YAML. It has no space, so that no line is folded there, and begins
# with @, so that it is always quoted.
_TOKEN = re.compile(r"'@@(\d+)@@'")
_LINE = re.compile(r"^(?P<indent>\s*)(?:- )?(?:(?P<key>\w+): )?'@@(?P<number>\d+)@@'(?:: null)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    """What a token stands for. ``kind``: value, block (a list or mapping) or control (if, end)."""

    kind: str
    text: str


class HelmTemplate:
    """An object, and what is to be inserted where in its YAML."""

    def __init__(self, obj: Object) -> None:
        self.obj = obj
        self.condition: str | None = None  # of the whole object
        self._inserted: dict[Path, _Action] = {}
        self._optional: dict[Path, str] = {}  # path: condition
        self._actions: list[_Action] = []

    def make_conditional(self, condition: str, parts: Iterable[OptionalPart]) -> None:
        """Let parts be there, or have their present value, only under a condition."""
        for part in parts:
            if part.other is None:
                self._optional[part.path] = condition
            else:
                present = _get(self.obj, part.path)
                text = f"{{{{ if {condition} }}}}{present}{{{{ else }}}}{part.other}{{{{ end }}}}"
                self._inserted[part.path] = _Action(kind="value", text=text)

    def replace_scalar(self, scalar: Any, expression: str) -> None:
        """Insert an expression wherever this value is."""
        for path, value in _walk(self.obj):
            if value == scalar and type(value) is type(scalar):
                self.replace_at(path, expression)

    def replace_at(self, path: Path, expression: str) -> None:
        self._inserted[path] = _Action(kind="value", text=f"{{{{ {expression} }}}}")

    def replace_block(self, path: Path, expression: str) -> None:
        """Insert an expression whose value is a list or a mapping."""
        self._inserted[path] = _Action(kind="block", text=expression)

    def find_keys(self, key: str) -> list[Path]:
        """Return the paths that end with this key."""
        return [path for path, _ in _walk(self.obj) if path and path[-1] == key]

    def render(self) -> str:
        """Return the text of the template."""
        self._actions.clear()
        text = render_yaml([self._mark(self.obj, ())])
        lines = [self._render_line(line) for line in text.splitlines()]
        if self.condition:
            lines = [f"{{{{- if {self.condition} }}}}", *lines, "{{- end }}"]
        return "\n".join(lines) + "\n"

    def _mark(self, value: Any, path: Path) -> Any:
        """Return the value with tokens in the places of actions, and around optional parts."""
        if path in self._inserted:
            return self._new_token(self._inserted[path])
        if isinstance(value, dict):
            entries: Object = {}
            for key, item in value.items():
                child = (*path, key)
                marked = {key: self._mark(item, child)}
                if condition := self._optional.get(child):
                    start, end = self._new_controls(condition)
                    marked = {start: None, **marked, end: None}
                entries |= marked
            return entries
        if isinstance(value, list | tuple):
            items: list[Any] = []
            children = [((*path, number), item) for number, item in enumerate(value)]
            for condition, group in groupby(children, lambda each: self._optional.get(each[0])):
                marked_items = [self._mark(item, child) for child, item in group]
                if condition:
                    start, end = self._new_controls(condition)
                    marked_items = [start, *marked_items, end]
                items += marked_items
            return items
        return value

    def _new_controls(self, condition: str) -> tuple[str, str]:
        start = _Action(kind="control", text=f"{{{{- if {condition} }}}}")
        return self._new_token(start), self._new_token(_Action(kind="control", text="{{- end }}"))

    def _new_token(self, action: _Action) -> str:
        self._actions.append(action)
        return f"@@{len(self._actions) - 1}@@"

    def _render_line(self, line: str) -> str:
        found = _LINE.match(line)
        if found:
            action = self._actions[int(found["number"])]
            if action.kind == "control":
                return found["indent"] + action.text
            if action.kind == "block":
                depth = len(found["indent"]) + 2
                return (
                    f"{found['indent']}{found['key']}:\n"
                    f"{' ' * depth}{{{{- toYaml ({action.text}) | nindent {depth} }}}}"
                )
        # a template in the text itself, such as one of nginx, is no action of Helm
        plain = line.replace("{{", '{{ "{{" }}')
        return _TOKEN.sub(lambda token: self._actions[int(token[1])].text, plain)


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _walk(item, (*path, number))


def _get(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value
