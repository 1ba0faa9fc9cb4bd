"""Project pages: what the upstream sent → links, and pages whose links lead to us. Pure.

The JSON form (PEP 691) is the one that is kept; the HTML form (PEP 503) is made from it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from mirror.cache.errors import InvalidPageError
from mirror.cache.names import (
    DISTRIBUTION_SUFFIXES,
    check_page_project,
    is_distribution_filename,
    is_file_folder,
    is_http_url,
    is_sha256,
    normalize,
    quote_filename,
)

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
FILES_PATH = "root/pypi/+f"  # below the server's root

_UP = "../../../.."  # from /user/index/+simple/project/
_URL_VALUE = re.compile(rb'"url": ?"([^"\\]+)"')
_METADATA_KEYS = ("core-metadata", "data-dist-info-metadata")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPage:
    """One project. ``document`` is PEP 691 with our links; ``links`` a record of theirs.

    Each line of ``links``: folder, file name as in a URL, the upstream's URL, and of the core
    metadata its sha256, ``?`` where it has no hash, ``-`` where there is none.
    """

    document: Mapping[str, Any]
    links: str
    body: bytes  # the document as JSON


def parse_page(body: bytes, *, content_type: str, url: str, project: str) -> ProjectPage:
    """The page in ``body``, which came from ``url``; NotAPage where it is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in {JSON_TYPE, "application/json"}:
        return _ours(_from_json(body, project), url, project, body)
    if kind in {"text/html", "application/vnd.pypi.simple.v1+html"}:
        return _ours(_from_html(body, url, project), url, project, b"")
    raise InvalidPageError(f"its content type is {kind[:80]!r}")


def load_document(content: bytes) -> Mapping[str, Any]:
    """The document of a page of ours."""
    document: Mapping[str, Any] = json.loads(content)
    return document


def render_html(document: Mapping[str, Any]) -> bytes:
    """The same page for clients that do not take JSON."""
    title = f"Links for {escape(str(document['name']))}"
    lines = [
        "<!DOCTYPE html>",
        '<html><head><meta name="pypi:repository-version" content="1.0">'
        f"<title>{title}</title></head><body><h1>{title}</h1>",
    ]
    lines += [
        f"<a {_attributes(one)}>{escape(one['filename'])}</a><br>" for one in document["files"]
    ]
    lines.append("</body></html>\n")
    return "\n".join(lines).encode()


def _attributes(one: Mapping[str, Any]) -> str:
    hashes = one.get("hashes") or {}
    fragment = next((f"#{k}={hashes[k]}" for k in ("sha256", *hashes) if k in hashes), "")
    told = {"href": one["url"] + fragment}
    if one.get("requires-python"):
        told["data-requires-python"] = str(one["requires-python"])
    if one.get("yanked"):
        told["data-yanked"] = "" if one["yanked"] is True else str(one["yanked"])
    metadata = one.get("core-metadata") or one.get("data-dist-info-metadata")
    if metadata:
        value = (
            next((f"{k}={v}" for k, v in metadata.items()), "true")
            if isinstance(metadata, dict)
            else "true"
        )
        told |= {f"data-{_METADATA_KEYS[0]}": value, _METADATA_KEYS[1]: value}
    return " ".join(f'{key}="{escape(value)}"' for key, value in told.items())


def _from_json(body: bytes, project: str) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as broken:
        raise InvalidPageError(f"it is no JSON: {broken}") from broken
    if not isinstance(told, dict) or not isinstance(told.get("files"), list):
        raise InvalidPageError("its JSON is no project page")
    version = told.get("meta", {}).get("api-version") if isinstance(told.get("meta"), dict) else ""
    if not str(version).startswith("1."):
        raise InvalidPageError(f"its api-version is {str(version)[:20]!r}")
    check_page_project(told.get("name"), project)
    return told


def _from_html(body: bytes, url: str, project: str) -> dict[str, Any]:
    reader = _Anchors(url)
    reader.feed(body.decode("utf-8", "replace"))
    files = [one for one in reader.files if normalize(one["filename"]).startswith(project)]
    if not files and (reader.files or not reader.is_simple):
        raise InvalidPageError("it is an HTML page that lists no file of the project")
    return {"meta": {"api-version": "1.0"}, "name": project, "files": files}


def _ours(document: dict[str, Any], base: str, project: str, body: bytes) -> ProjectPage:
    """Each file's URL turned to ours; files whose names could not be a path are left out."""
    turned: dict[bytes, bytes] = {}
    kept: list[dict[str, Any]] = []
    lines: list[str] = [""]
    start = f"{_UP}/{FILES_PATH}/{project}/"
    for one in document["files"]:
        try:
            filename, url, hashes = one["filename"], one["url"], one.get("hashes")
            if not is_distribution_filename(filename):
                continue
            if not isinstance(hashes, dict):
                one["hashes"], hashes, body = {}, None, b""
            if not is_http_url(url):
                url = urljoin(base, url).partition("#")[0]
                if not is_http_url(url):
                    continue
            folder = hashes["sha256"] if hashes and "sha256" in hashes else ""
        except (TypeError, KeyError, AttributeError, ValueError) as broken:
            raise InvalidPageError(f"a file of it is no file: {str(one)[:80]}") from broken
        if not is_file_folder(folder):
            folder = f"url-{hashlib.sha256(url.encode()).hexdigest()}"
        name = quote_filename(filename)
        ours = f"{start}{folder}/{name}"
        turned[one["url"].encode()] = ours.encode()
        one["url"] = ours
        if one.pop("gpg-sig", None):  # signature files are not served
            body = b""
        metadata = one.get("core-metadata", one.get("data-dist-info-metadata")) or "-"
        if metadata != "-":
            told = metadata.get("sha256") if isinstance(metadata, dict) else None
            metadata = told if isinstance(told, str) and is_sha256(told) else "?"
        lines.append(f"{folder} {name} {url} {metadata}")
        kept.append(one)
    if document["files"] and not kept:
        raise InvalidPageError("none of its files has a usable name and URL")
    same = len(kept) == len(document["files"])
    document["files"] = kept
    lines.append("")
    made = _turn(body, turned) if same and body else b""
    if made.count(start.encode()) != len(kept):
        made = json.dumps(document, separators=(",", ":")).encode()
    return ProjectPage(document=document, links="\n".join(lines), body=made)


def _turn(body: bytes, turned: Mapping[bytes, bytes]) -> bytes:
    """The body with other URLs: half of what it costs to write the whole document anew."""
    return _URL_VALUE.sub(lambda found: b'"url":"%s"' % turned.get(found[1], found[1]), body)


class _Anchors(HTMLParser):
    """The distribution files that an HTML page links to, as PEP 691 would write them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.files: list[dict[str, Any]] = []
        self.is_simple = False
        self._base = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "meta" and told.get("name") == "pypi:repository-version":
            self.is_simple = True
        elif tag == "base" and told.get("href"):
            self._base = urljoin(self._base, str(told["href"]))
        elif tag == "a" and told.get("href"):
            self._anchor(str(told["href"]), told)

    def handle_data(self, data: str) -> None:
        if data.lstrip().lower().startswith("links for"):
            self.is_simple = True

    def _anchor(self, href: str, told: Mapping[str, str | None]) -> None:
        try:
            url = urlsplit(urljoin(self._base, href))
        except ValueError:
            return
        filename = unquote(url.path.rpartition("/")[2])
        if not filename.endswith(DISTRIBUTION_SUFFIXES):
            return
        algorithm, _, digest = url.fragment.partition("=")
        one: dict[str, Any] = {
            "filename": filename,
            "url": url._replace(fragment="").geturl(),
            "hashes": {algorithm: digest.lower()} if digest else {},
        }
        if told.get("data-requires-python"):
            one["requires-python"] = told["data-requires-python"]
        if "data-yanked" in told:
            one["yanked"] = told["data-yanked"] or True
        for key in (f"data-{_METADATA_KEYS[0]}", _METADATA_KEYS[1]):
            if told.get(key):
                name, _, value = str(told[key]).partition("=")
                one["core-metadata"] = {name: value} if value else True
                break
        self.files.append(one)
