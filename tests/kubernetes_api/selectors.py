"""Label selectors and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.kubernetes_api.errors import bad_request
from tests.kubernetes_api.resources import ResourceType

_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9.-]+/)?{_NAME}"
_SET = re.compile(rf"^(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(rf"^(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>({_NAME})?)$")
_EXISTS = re.compile(rf"^(?P<not>!\s*)?(?P<key>{_KEY})$")

# the fields that a selector can name beside metadata.name and metadata.namespace
_FIELDS = {
    "Pod": {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase"},
    "Event": {
        *(f"involvedObject.{key}" for key in ("kind", "namespace", "name", "uid", "apiVersion")),
        *("reason", "type", "source", "reportingComponent"),
    },
    "Secret": {"type"},
    "Namespace": {"status.phase"},
    "Node": {"spec.unschedulable"},
    "Job": {"status.successful"},
}

Matcher = Callable[[Any], bool]


def parse_label_selector(text: str) -> Matcher:
    """Return a function of an object. Raises StatusError 400 for text that is no selector."""
    tests = [_parse_requirement(part.strip()) for part in _split(text)] if text.strip() else []
    return lambda obj: all(test(obj["metadata"].get("labels") or {}) for test in tests)


def parse_field_selector(text: str, resource: ResourceType) -> Matcher:
    """Return a function of an object. Raises StatusError 400 for an unsupported field."""
    supported = {"metadata.name", *_FIELDS.get(resource.kind, ())}
    if resource.namespaced:
        supported.add("metadata.namespace")
    terms = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part.strip())
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = match.groups()
        if field not in supported:
            where = f'"{resource.api_version}, Resource={resource.plural}"'
            raise bad_request(
                f"Unable to find {where} that match label selector "
                f'"", field selector "{text}": field label not supported: {field}'
            )
        terms.append((field.split("."), operator != "!=", value))
    return lambda obj: all((_read(obj, field) == value) is equal for field, equal, value in terms)


def _split(text: str) -> list[str]:
    """Split at the commas that are not in parentheses."""
    return re.split(r",(?![^(]*\))", text)


def _parse_requirement(text: str) -> Matcher:
    if match := _SET.match(text):
        key, values = match["key"], {value.strip() for value in match["values"].split(",")}
        if match["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EQUAL.match(text):
        key, value = match["key"], match["value"]
        if match["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _EXISTS.match(text):
        key, absent = match["key"], match["not"] is not None
        return lambda labels: (key in labels) is not absent
    raise bad_request(f"unable to parse requirement: found {text!r}, expected: identifier")


def _read(obj: Any, field: list[str]) -> str:
    value = obj
    for part in field:
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
