"""Edit CNI configuration lists in place: everything that is not changed keeps its bytes. Pure.

Calico's template (calico-config) is not JSON until its placeholders are filled in, some of which
are unquoted (``"mtu": __CNI_MTU__``). They are read as values like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mirror.agent.allowlist import DISABLE_IPV6_ALL, DISABLE_IPV6_LOOPBACK, TUNING_PLUGINS

_BARE = re.compile(r"__[A-Z0-9_]+__|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_MAX_DEPTH = 50


class ConflistError(ValueError):
    """The text is not a CNI configuration list. The message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSpan:
    """A value at text[start:end]. An object has fields, an array has items."""

    start: int
    end: int
    fields: Mapping[str, JsonSpan] = field(default_factory=dict)
    items: tuple[JsonSpan, ...] = ()

    def find(self, outer: str, inner: str) -> JsonSpan | None:
        group = self.fields.get(outer)
        return group.fields.get(inner) if group else None


def disable_ipv6(text: str) -> str:
    """Insert tuning after the first plugin, which creates the interface. Raises ConflistError."""
    if disables_ipv6(text):
        return text
    if _read_tuning(text, DISABLE_IPV6_ALL):
        raise ConflistError(f"a plugin `tuning` of its own sets {DISABLE_IPV6_ALL} to 0")
    first = _parse_plugins(text)[0]
    line_start = text.rfind("\n", 0, first.start) + 1
    indent = text[line_start : first.start]
    newline = "\r\n" if text[:line_start].endswith("\r\n") else "\n"
    separator = f",{newline}{indent}" if line_start and not indent.strip() else ", "
    inserted = "".join(separator + json.dumps(plugin) for plugin in TUNING_PLUGINS)
    return text[: first.end] + inserted + text[first.end :]


def disables_ipv6(text: str) -> bool:
    """Return whether new pods get ``disable_ipv6 = 1``: the last plugin that sets it counts.

    Raises ConflistError, also if a later plugin turns IPv6 on again.
    """
    values = _read_tuning(text, DISABLE_IPV6_ALL)
    if "1" in values and values[-1] != "1":
        raise ConflistError(f"a later plugin `tuning` turns IPv6 on again: {DISABLE_IPV6_ALL} = 0")
    return values[-1:] == ["1"]


def disables_loopback(text: str) -> bool:
    """Return whether new pods have no ``::1`` either. Raises ConflistError."""
    return _read_tuning(text, DISABLE_IPV6_LOOPBACK)[-1:] == ["1"]


def _read_tuning(text: str, key: str) -> list[str]:
    """Return the values that plugins `tuning` set a key to, in order; `/` and `.` are the same."""
    values = []
    for plugin in _parse_plugins(text):
        sysctl = plugin.fields.get("sysctl")
        if sysctl and _read_scalar(text, plugin.fields.get("type")) == "tuning":
            settings = {name.replace("/", "."): value for name, value in sysctl.fields.items()}
            values += [_read_scalar(text, settings[key])] if key in settings else []
    return values


def assigns_ipv6(text: str) -> bool:
    """Return whether calico-ipam is asked for IPv6 addresses. Raises ConflistError."""
    return bool(_find_true_assign_ipv6(text))


def stop_assigning_ipv6(text: str) -> str:
    """Set every ``assign_ipv6`` that is true to false. Raises ConflistError."""
    for value in reversed(_find_true_assign_ipv6(text)):
        old = text[value.start : value.end]
        text = text[: value.start] + old.replace("true", "false") + text[value.end :]
    return text


def read_ipv6_pools(text: str) -> tuple[str, ...]:
    """Return the IPv6 pools, by name or CIDR, that calico-ipam is told to use."""
    lists = [plugin.find("ipam", "ipv6_pools") for plugin in _parse_plugins(text)]
    return tuple(_read_scalar(text, item) for each in lists if each for item in each.items)


def read_plugin_types(text: str) -> tuple[str, ...]:
    """Return the types of the plugins in order. Raises ConflistError."""
    return tuple(_read_scalar(text, plugin.fields.get("type")) for plugin in _parse_plugins(text))


def _find_true_assign_ipv6(text: str) -> list[JsonSpan]:
    values = [plugin.find("ipam", "assign_ipv6") for plugin in _parse_plugins(text)]
    return [value for value in values if value and _read_scalar(text, value).lower() == "true"]


def _read_scalar(text: str, value: JsonSpan | None) -> str:
    return text[value.start : value.end].strip('"') if value else ""


# -- parsing --------------------------------------------------------------------------------------


def _parse_plugins(text: str) -> tuple[JsonSpan, ...]:
    at = _skip_space(text, 1 if text.startswith("\ufeff") else 0)
    whole = _parse_value(text, at, 0)
    if _skip_space(text, whole.end) != len(text):
        raise ConflistError(f"{_locate(text, whole.end)}: more text after its end")
    plugins = whole.fields.get("plugins")
    if plugins is None or not plugins.items:
        raise ConflistError('it has no list of "plugins"')
    if any(text[plugin.start] != "{" for plugin in plugins.items):
        raise ConflistError("one of its plugins is not an object")
    return plugins.items


def _parse_value(text: str, at: int, depth: int) -> JsonSpan:
    if depth > _MAX_DEPTH:
        raise ConflistError(f"{_locate(text, at)}: nested too deeply")
    if text.startswith(("{", "["), at):
        return _parse_group(text, at, depth)
    match = _STRING.match(text, at) or _BARE.match(text, at)
    if match is None:
        raise ConflistError(f"{_locate(text, at)}: expected a value")
    return JsonSpan(start=at, end=match.end())


def _parse_group(text: str, start: int, depth: int) -> JsonSpan:
    """Parse an object or an array."""
    end = "}" if text[start] == "{" else "]"
    fields: dict[str, JsonSpan] = {}
    items: list[JsonSpan] = []
    at = _skip_space(text, start + 1)
    while not text.startswith(end, at):
        name = ""
        if end == "}":
            key = _STRING.match(text, at)
            if key is None:
                raise ConflistError(f"{_locate(text, at)}: expected a key")
            at, name = _skip_sign(text, key.end(), ":"), key[0][1:-1]
            if name in fields:
                raise ConflistError(f"{_locate(text, at)}: {key[0]} appears twice")
        value = _parse_value(text, at, depth + 1)
        if end == "}":
            fields[name] = value
        else:
            items.append(value)
        at = _skip_space(text, value.end)
        if not text.startswith(end, at):
            at = _skip_sign(text, at, ",")
            if text.startswith(end, at):
                raise ConflistError(f"{_locate(text, at)}: nothing after a comma")
    return JsonSpan(start=start, end=at + 1, fields=fields, items=tuple(items))


def _skip_sign(text: str, at: int, sign: str) -> int:
    """Return the position after the sign and the whitespace around it."""
    at = _skip_space(text, at)
    if not text.startswith(sign, at):
        raise ConflistError(f"{_locate(text, at)}: expected {sign}")
    return _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in {" ", "\t", "\r", "\n"}:
        at += 1
    return at


def _locate(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"line {line}, column {at - text.rfind(chr(10), 0, at)}"
