"""The mirror's own page at its root: state, search, and how to use it. Pure functions.

It needs no script. Everything that comes from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mirror.settings import WORKLOADS_INDEX

MOST_ROWS = 200  # of a table; a search finds the others
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}"
    "h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2rem}h3{font-size:1rem;margin-bottom:0}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #d8dee4;"
    "vertical-align:top;overflow-wrap:anywhere}"
    "pre{background:#f3f5f7;padding:.8rem;overflow-x:auto}"
    "input,button{font:inherit;padding:.3rem .6rem}.away{color:#b00020;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}"
    "pre{background:#161b22}th,td{border-color:#30363d}a{color:#79b8ff}.away{color:#ff8f8f}}"
)
CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
)


@dataclass(frozen=True, slots=True)
class ListedProject:
    """A row of the table: ``files`` and bytes of a cached project, 0 for a private one."""

    name: str
    is_private: bool
    files: int = 0
    size: int = 0


def render_home_page(
    *,
    root_url: str,
    status: Mapping[str, object],
    projects: Sequence[ListedProject],
    query: str,
) -> str:
    """Render the page. ``query`` limits the projects to those whose name contains it."""
    needle = query.strip().lower()
    found = [project for project in projects if needle in project.name]
    index = f"{root_url}/{WORKLOADS_INDEX}/+simple/"
    return "\n".join(
        (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Package mirror</title><style>{_STYLE}</style></head><body>",
            "<h1>Package mirror</h1>",
            f"<p>The index: <code>{escape(index)}</code></p>",
            "<h2>State</h2>",
            _render_table(("", ""), _list_state(status)),
            "<h2>Packages</h2>",
            '<form method="get" action="/"><label>Name <input type="search" name="q" '
            f'value="{escape(query[:100])}"></label> <button>Search</button></form>',
            f"<p>{_count(found, projects, needle)}</p>",
            _render_projects(found[:MOST_ROWS]),
            "<h2>How to use it</h2>",
            *_render_usage(index, root_url),
            "</body></html>\n",
        )
    )


def _list_state(status: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return rows of escaped HTML."""
    rows = []
    for upstream in _as_list(status.get("upstreams")):
        answers = "answers"
        if upstream.get("state") != "ok":
            answers = f'<span class="away">does not answer: {_text(upstream.get("error"))}</span>'
        name = f"upstream {_text(upstream.get('name'))}"
        rows.append((name, f"{_text(upstream.get('url'))}<br>{answers}"))
    volume = status.get("volume")
    if isinstance(volume, Mapping):
        free, size = (int(volume.get(key, 0)) / 1e9 for key in ("free", "size"))
        rows.append(("free", f"{free:.1f} of {size:.1f} GB"))
    rows.append(("cached", f"{_text(status.get('files'))} files of public packages"))
    rules = status.get("policy")
    if isinstance(rules, list) and rules:
        rows.append(("rules", "<br>".join(map(_text, rules))))
    return rows


def _count(found: Sequence[ListedProject], projects: Sequence[ListedProject], needle: str) -> str:
    if not projects:
        return "Nothing is cached yet: the first install fetches it."
    shown = f", the first {MOST_ROWS} are shown" if len(found) > MOST_ROWS else ""
    if needle:
        return f"{len(found)} of {len(projects)} projects{shown}."
    return f"{len(projects)} projects, private and cached{shown}."


def _render_projects(projects: Sequence[ListedProject]) -> str:
    if not projects:
        return ""
    rows = []
    for project in projects:
        href = escape(f"/{WORKLOADS_INDEX}/+simple/{project.name}/")
        kind = "private" if project.is_private else f"{project.files} files"
        size = "" if project.is_private else f"{project.size / 1e6:.1f} MB"
        rows.append((f'<a href="{href}">{escape(project.name)}</a>', kind, size))
    return _render_table(("name", "kind", "size"), rows)


def _render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table of escaped cells; a head of empty texts is left out."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    lines = [f"<tr>{titles}</tr>"] if any(head) else []
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _render_usage(index: str, root_url: str) -> list[str]:
    host = root_url.partition("://")[2].rpartition(":")[0] or root_url.partition("://")[2]
    usages = (
        ("uv", f"export UV_DEFAULT_INDEX={index}\nuv pip install fastapi"),
        ("pip", f"pip install --trusted-host {host} \\\n    --index-url {index} fastapi"),
        (
            "poetry",
            f"poetry source add --priority=primary mirror {index}\npoetry add fastapi",
        ),
        ("pdm", f"pdm config pypi.url {index}\npdm config pypi.verify_ssl false\npdm add fastapi"),
    )
    return [f"<h3>{tool}</h3><pre>{escape(text)}</pre>" for tool, text in usages]


def _as_list(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return escape(str(value if value is not None else ""))
