"""Draw docs/architecture.svg from the code: packages by layer, and the imports between them.

`python docs/architecture.py` writes the picture; with `--check` it fails if the picture is not
current. Layers are the import contracts of pyproject.toml, texts are the first lines of docstrings.
"""

from __future__ import annotations

import ast
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGES = ("cli", "deploy", "images", "mirror")
# packages whose parts are drawn; the others are one room
DRAWN = {
    "cli": (("commands",), ("output", "options")),
    "images": (("build_application", "build_mirror"), ("proof", "sandbox", "engine", "inside")),
}
WIDTH, ROOM_HEIGHT, ROOM_GAP, ROW_GAP, MARGIN = 1180, 58, 14, 30, 16
COLORS = {"cli": "#e8e2f4", "deploy": "#dbeaf7", "images": "#e1f2e4", "mirror": "#faeedb"}


@dataclass(frozen=True, slots=True)
class Room:
    """A package or module in the picture, in pixels."""

    name: str
    text: str
    x: float
    y: float
    width: float


def read_layers(package: str) -> list[tuple[str, ...]]:
    """Return the layers of a package from the top, each a tuple of its parts."""
    if package in DRAWN:
        return list(DRAWN[package])
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract.get("containers") == [package]:
            return [
                tuple(part.strip() for part in layer.split("|")) for layer in contract["layers"]
            ]
    raise LookupError(f"pyproject.toml has no layers for {package}")


def read_summary(name: str) -> str:
    """Return the first line of the docstring of a package or module, without its full stop."""
    path = ROOT / name.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return text.partition("\n\n")[0].replace("\n", " ").removesuffix(".")


def place_rooms() -> tuple[list[Room], dict[str, tuple[float, float]], float]:
    """Return the rooms, the top and height of each package's band, and the height of it all."""
    rooms, bands, y = [], {}, float(MARGIN)
    for package in PACKAGES:
        top = y
        y += 26
        for layer in read_layers(package):
            width = (WIDTH - 2 * MARGIN - 24 - ROOM_GAP * (len(layer) - 1)) / len(layer)
            width = min(width, 360)
            indent = (WIDTH - width * len(layer) - ROOM_GAP * (len(layer) - 1)) / 2
            for number, part in enumerate(layer):
                name = f"{package}.{part}"
                x = indent + number * (width + ROOM_GAP)
                rooms.append(Room(name, read_summary(name), x, y, width))
            y += ROOM_HEIGHT + ROW_GAP
        bands[package] = (top, y - top - ROW_GAP + 12)
        y += 4
    return rooms, bands, y


def count_imports(rooms: Sequence[Room]) -> Mapping[tuple[str, str], int]:
    """Return how many imports lead from one room to another."""
    graph = grimp.build_graph(*PACKAGES)
    names = sorted((room.name for room in rooms), key=len, reverse=True)

    def find_room(module: str) -> str | None:
        return next((name for name in names if f"{module}.".startswith(f"{name}.")), None)

    counts: dict[tuple[str, str], int] = {}
    for importer in sorted(graph.modules):
        start = find_room(importer)
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            end = find_room(imported)
            if start and end and start != end:
                counts[start, end] = counts.get((start, end), 0) + 1
    return counts


def draw_arrows(rooms: Sequence[Room]) -> Iterator[str]:
    """Yield a curve per pair of rooms of one package; thicker for more imports."""
    by_name = {room.name: room for room in rooms}
    for (start, end), count in sorted(count_imports(rooms).items()):
        upper, lower = by_name[start], by_name[end]
        if start.partition(".")[0] != end.partition(".")[0] or upper.y == lower.y:
            continue
        x1, y1 = upper.x + upper.width / 2, upper.y + ROOM_HEIGHT
        x2, y2 = lower.x + lower.width / 2, lower.y
        bend = (y2 - y1) / 2
        yield (
            f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} '
            f'{x2:.0f} {y2:.0f}" stroke-width="{min(0.8 + count / 12, 3):.1f}" class="import"/>'
        )


def draw_room(room: Room) -> Iterator[str]:
    """Yield the box of a room with its name and its summary."""
    package, _, part = room.name.partition(".")
    folder = (ROOT / package / part).is_dir()
    label = f"{part}/" if folder else f"{part}.py"
    center = room.x + room.width / 2
    yield (
        f'<rect x="{room.x:.0f}" y="{room.y:.0f}" width="{room.width:.0f}" '
        f'height="{ROOM_HEIGHT}" rx="6" class="room"/>'
    )
    yield f'<text x="{center:.0f}" y="{room.y + 17:.0f}" class="name">{escape(label)}</text>'
    lines = textwrap.wrap(room.text, max(int(room.width / 5.6), 12))[:3]
    for number, line in enumerate(lines):
        y = room.y + 31 + 11 * number
        yield f'<text x="{center:.0f}" y="{y:.0f}" class="text">{escape(line)}</text>'


def draw() -> str:
    """Return the whole picture as SVG."""
    rooms, bands, height = place_rooms()
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" font-family="Helvetica, Arial, sans-serif">',
        "<title>The packages of pypi-mirror: imports lead downwards only</title>",
        "<style>.room{fill:#fff;stroke:#555}.name{font-weight:bold;font-size:13px;"
        "text-anchor:middle}.text{font-size:9.5px;text-anchor:middle;fill:#333}"
        ".band{font-size:14px;font-weight:bold;fill:#444}"
        ".import{fill:none;stroke:#6b7f99;stroke-opacity:.45}</style>",
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>',
    ]
    for package, (top, tall) in bands.items():
        lines.append(
            f'<rect x="{MARGIN / 2}" y="{top:.0f}" width="{WIDTH - MARGIN}" height="{tall:.0f}" '
            f'rx="10" fill="{COLORS[package]}"/>'
        )
        title = f"{package}/ — {read_summary(package)}"
        lines.append(f'<text x="22" y="{top + 18:.0f}" class="band">{escape(title)}</text>')
    lines += draw_arrows(rooms)
    for room in rooms:
        lines += draw_room(room)
    return "\n".join([*lines, "</svg>", ""])


def main(arguments: Sequence[str]) -> int:
    """Write the picture, or compare it; returns the exit code."""
    picture = draw()
    if "--check" not in arguments:
        PICTURE.write_text(picture)
    elif not PICTURE.exists() or PICTURE.read_text() != picture:
        print("docs/architecture.svg is out of date: python docs/architecture.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
