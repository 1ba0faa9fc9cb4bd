"""Which faults the planter makes of a piece of code."""

from __future__ import annotations

import pytest

from tests.mutants.operators import list_faults


def plant_all(source: str, operator: str) -> list[str]:
    """Return the source once with each fault of an operator."""
    encoded = source.encode()
    return [
        fault.plant(encoded).decode()
        for fault in list_faults(encoded)
        if fault.operator == operator and fault.compiles(encoded)
    ]


@pytest.mark.parametrize(
    ("operator", "source", "faulty"),
    [
        ("comparison", "a = b < c", ["a = b <= c"]),
        ("comparison", "a = b is not c", ["a = b is c"]),
        ("comparison", "a = b not in c", ["a = b in c"]),
        ("bound", "a = b < 10", ["a = b < 9"]),
        ("and/or", "a = b and c or d", ["a = b or c or d", "a = b and c and d"]),
        ("negation", "a = not b", ["a = bool(b)"]),
        ("negation", "if a(): b()", ["if (not (a())): b()"]),
        ("condition", "a = [b for b in c if b.ok]", ["a = [b for b in c if True]"]),
        ("constant", "a = 0o600", ["a = 0o644"]),
        ("constant", "a = 0o700", ["a = 0o755"]),
        ("constant", "a = 3141", ["a = 3142"]),
        ("constant", "a = 600", ["a = 601"]),
        ("constant", "a = True", ["a = False"]),
        ("constant", "a = 'Retry-After'", ["a = 'Retry-After-planted'"]),
        ("constant", 'a = "127.0.0.1"', ['a = "0.0.0.0"']),
        ("constant", "a = 'words for people'", []),
        ("constant", "def a(b=2): pass", ["def a(b=3): pass"]),
        ("constant", "def a(b: 'B') -> 'C':\n    'doc'", []),
        ("constant", "class A:\n    b: int = 5", ["class A:\n    b: int = 6"]),
        ("constant", "A: TypeAlias = Literal['x']", []),
        ("constant", "a = Literal['x']", []),
        ("statement", "a.b(\n  c,\n)\nd()", ["pass\nd()", "a.b(\n  c,\n)\npass"]),
        ("statement", "a[b] = c", ["pass"]),
        ("raise", "raise A('b') from c", ["pass"]),
        ("return", "def a(): return b", ["def a(): return None"]),
        ("keyword", "a(b, c=d, e=f)", ["a(b, e=f)", "a(b, c=d)"]),
        ("keyword", "a(c=d)", ["a()"]),
        ("keyword", "a(**b, help=c)", []),
        ("element", "a = [b, c, d]", ["a = [c, d]", "a = [b, d]", "a = [b, c]"]),
        ("element", "a = {b: c, d: e}", ["a = {d: e}", "a = {b: c}"]),
        ("element", "a, b, c = d", []),
    ],
)
def test_plants(operator: str, source: str, faulty: list[str]) -> None:
    assert sorted(plant_all(source, operator)) == sorted(faulty)


def test_names_the_lines_of_a_fault() -> None:
    source = b'"""\xc3\xa9"""\n\na = "\xc3\xa9\xc3\xa9" == b(\n    c=1,\n)\n'
    faults = {fault.operator: fault for fault in list_faults(source)}
    assert (faults["comparison"].line, faults["comparison"].last_line) == (3, 3)
    assert faults["comparison"].plant(source) == source.replace(b"==", b"!=")
    assert (faults["constant"].line, faults["constant"].last_line) == (4, 4)
