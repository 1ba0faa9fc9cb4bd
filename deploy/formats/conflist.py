"""CNI configurations, edited in place: what is not changed keeps every byte. Pure.

Calico's template (calico-config) is no JSON until its placeholders are filled in, some of which
stand unquoted (``"mtu": __CNI_MTU__``): they are read as values like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DISABLE_IPV6_KEY = "net.ipv6.conf.all.disable_ipv6"
# two entries: the plugin sets its keys in no order, and `all` takes ::1 away
TUNING_PLUGINS: tuple[Mapping[str, Any], ...] = (
    {
        "type": "tuning",
        "sysctl": {DISABLE_IPV6_KEY: "1", "net.ipv6.conf.default.disable_ipv6": "1"},
    },
    {"type": "tuning", "sysctl": {"net.ipv6.conf.lo.disable_ipv6": "0"}},
)

_SPACE = re.compile(r"[ \t\r\n]*")
_BARE = re.compile(r"__[A-Z0-9_]+__|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_DEEPEST = 50


class ConflistError(ValueError):
    """The text is no CNI configuration list; its text says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSpan:
    """A value and where it stands: text[start:end]. Objects have fields, arrays items."""

    start: int
    end: int
    fields: Mapping[str, JsonSpan] = field(default_factory=dict)
    items: tuple[JsonSpan, ...] = ()


def disable_ipv6(text: str) -> str:
    """With tuning right behind the first plugin, which makes the interface; other plugins stay."""
    plugins = _plugins(text)
    if disables_ipv6(text):
        return text
    first = plugins[0]
    line = text.rfind("\n", 0, first.start) + 1
    lead = text[line : first.start]
    ending = "\r\n" if text[:line].endswith("\r\n") else "\n"
    between = f",{ending}{lead}" if line and not lead.strip() else ", "
    added = "".join(between + json.dumps(one) for one in TUNING_PLUGINS)
    return text[: first.end] + added + text[first.end :]


def disables_ipv6(text: str) -> bool:
    """Whether new pods get ``disable_ipv6 = 1``. Raises ConflistError."""
    for plugin in _plugins(text):
        sysctl = plugin.fields.get("sysctl")
        if _told(text, plugin, "type") == "tuning" and sysctl is not None:
            value = sysctl.fields.get(DISABLE_IPV6_KEY)
            if value and text[value.start : value.end].strip('"') == "1":
                return True
    return False


def assigns_ipv6(text: str) -> bool:
    """Whether calico-ipam is asked for IPv6 addresses. Raises ConflistError."""
    return any(_is(text, value, "true") for value in _assign(text))


def stop_assigning_ipv6(text: str) -> str:
    """With ``assign_ipv6`` false wherever it is true."""
    for value in reversed(_assign(text)):
        if _is(text, value, "true"):
            old = text[value.start : value.end]
            text = text[: value.start] + old.replace("true", "false") + text[value.end :]
    return text


def read_plugin_types(text: str) -> tuple[str, ...]:
    """The types of the plugins, in their order. Raises ConflistError."""
    return tuple(_told(text, plugin, "type") for plugin in _plugins(text))


def _assign(text: str) -> list[JsonSpan]:
    ipams = [plugin.fields.get("ipam") for plugin in _plugins(text)]
    return [
        ipam.fields["assign_ipv6"]
        for ipam in ipams
        if ipam is not None and "assign_ipv6" in ipam.fields
    ]


def _is(text: str, value: JsonSpan, word: str) -> bool:
    return text[value.start : value.end].strip('"').lower() == word


def _told(text: str, plugin: JsonSpan, key: str) -> str:
    value = plugin.fields.get(key)
    return text[value.start : value.end].strip('"') if value else ""


def _plugins(text: str) -> tuple[JsonSpan, ...]:
    at = _space(text, 1 if text.startswith("\ufeff") else 0)
    whole = _value(text, at, 0)
    if _space(text, whole.end) != len(text):
        raise ConflistError(f"{_where(text, whole.end)}: something stands behind its end")
    found = whole.fields.get("plugins")
    if found is None or not found.items:
        raise ConflistError('it has no list of "plugins"')
    if any(text[one.start] != "{" for one in found.items):
        raise ConflistError("one of its plugins is no object")
    return found.items


def _value(text: str, at: int, depth: int) -> JsonSpan:
    if depth > _DEEPEST:
        raise ConflistError(f"{_where(text, at)}: nested too deep")
    if text.startswith("{", at):
        return _object(text, at, depth)
    if text.startswith("[", at):
        return _array(text, at, depth)
    found = _STRING.match(text, at) or _BARE.match(text, at)
    if found is None:
        raise ConflistError(f"{_where(text, at)}: no value where one has to be")
    return JsonSpan(start=at, end=found.end())


def _object(text: str, start: int, depth: int) -> JsonSpan:
    fields: dict[str, JsonSpan] = {}
    at = _space(text, start + 1)
    while not text.startswith("}", at):
        key = _STRING.match(text, at)
        if key is None:
            raise ConflistError(f"{_where(text, at)}: no key where one has to be")
        at = _space(text, _expect(text, _space(text, key.end()), ":"))
        name = key[0][1:-1]
        if name in fields:
            raise ConflistError(f"{_where(text, at)}: {key[0]} stands twice")
        fields[name] = _value(text, at, depth + 1)
        at = _next(text, fields[name].end, "}")
    return JsonSpan(start=start, end=at + 1, fields=fields)


def _array(text: str, start: int, depth: int) -> JsonSpan:
    items: list[JsonSpan] = []
    at = _space(text, start + 1)
    while not text.startswith("]", at):
        items.append(_value(text, at, depth + 1))
        at = _next(text, items[-1].end, "]")
    return JsonSpan(start=start, end=at + 1, items=tuple(items))


def _next(text: str, at: int, end: str) -> int:
    """Behind a comma and at a further entry, or at the end."""
    at = _space(text, at)
    if text.startswith(end, at):
        return at
    at = _space(text, _expect(text, at, ","))
    if text.startswith(end, at):
        raise ConflistError(f"{_where(text, at)}: nothing behind a comma")
    return at


def _expect(text: str, at: int, sign: str) -> int:
    if not text.startswith(sign, at):
        raise ConflistError(f"{_where(text, at)}: no {sign} where one has to be")
    return at + 1


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _where(text: str, at: int) -> str:
    row = text.count("\n", 0, at) + 1
    return f"line {row}, column {at - text.rfind(chr(10), 0, at)}"
