"""The hooks of mkdocs.yml: pages at the top level of the repository are pages of the site too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parents[1]
# file at the top level: its page
_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "report.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for name, page in _PAGES.items():
        files.append(File.generated(config, page, content=(_ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to them, and from them into docs/."""
    for name, target in _PAGES.items():
        markdown = markdown.replace(f"](../{name}", f"]({target}").replace(
            f"]({name}", f"]({target}"
        )
    return markdown.replace("](docs/", "](") if page.file.src_uri in _PAGES.values() else markdown
