"""Evidence as JSON and back: frozen dataclasses by their type hints, nothing by hand."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from mirror.core.errors import InputError

T = TypeVar("T")


def dump(value: Any) -> Any:
    """A dataclass, and what it is made of, as JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: dump(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [dump(one) for one in value]
    return value.value if isinstance(value, Enum) else value


def load(kind: type[T], told: Any, where: str = "$") -> T:
    """JSON types as ``kind``. Raises InputError that names the place that does not fit.

    Of a union the alternative that fits is taken: dataclasses are told apart by their fields.
    """
    return typing.cast("T", _load(kind, told, where))


def _load(kind: Any, told: Any, where: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _load_record(typing.cast("type", kind), told, where)
    if origin in {typing.Union, types.UnionType}:
        return _load_one_of(inner, told, where)
    if origin is tuple and isinstance(told, list):
        return tuple(_load(inner[0], one, f"{where}[{n}]") for n, one in enumerate(told))
    if origin is typing.Literal and told in inner:
        return told
    if kind is float and isinstance(told, int | float) and not isinstance(told, bool):
        return float(told)
    if isinstance(kind, type) and issubclass(kind, Enum) and _may_be(kind, told):
        return kind(told)
    if type(told) is kind:
        return told
    raise _misfit(where, f"{type(told).__name__} {str(told)[:60]!r}")


def _load_record(kind: type, told: Any, where: str) -> Any:
    if not _may_be(kind, told):
        raise _misfit(where, f"no {kind.__name__}")
    hints = _hints(kind)
    return kind(**{name: _load(hints[name], one, f"{where}.{name}") for name, one in told.items()})


def _load_one_of(kinds: tuple[Any, ...], told: Any, where: str) -> Any:
    for kind in kinds:
        if _may_be(kind, told):
            return _load(kind, told, where)
    raise _misfit(where, f"none of {', '.join(getattr(k, '__name__', str(k)) for k in kinds)}")


def _may_be(kind: Any, told: Any) -> bool:
    """Whether it has the outer shape."""
    if dataclasses.is_dataclass(kind):
        fields = dataclasses.fields(kind)
        needed = {one.name for one in fields if one.default is dataclasses.MISSING}
        known = {one.name for one in fields}
        return isinstance(told, Mapping) and needed <= told.keys() <= known
    if typing.get_origin(kind) is tuple:
        return isinstance(told, list)
    if typing.get_origin(kind) is typing.Literal:
        return told in typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return told in [one.value for one in kind]
    return type(told) is kind


def _misfit(where: str, found: str) -> InputError:
    return InputError(
        f"not evidence: {where} is {found}",
        next_step="give a file that `mirror doctor --save FILE` of this version wrote",
    )


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
