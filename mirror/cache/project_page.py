"""Parse project pages of an upstream and rewrite their links to the mirror. Pure functions.

Pages are kept as JSON (PEP 691); their HTML form (PEP 503) is rendered from that.
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

from packaging.utils import canonicalize_name

from mirror.cache.errors import InvalidPageError
from mirror.cache.names import (
    DISTRIBUTION_SUFFIXES,
    is_distribution_filename,
    is_http_url,
    is_sha256,
    quote_filename,
)
from mirror.settings import MIRROR_INDEX, SIMPLE_JSON
from mirror.volume import URL_PREFIX

FILES_PATH = f"{MIRROR_INDEX}/+f"  # of cached files, below the server's root URL

_TO_ROOT = "../../../.."  # from /user/index/+simple/project/
_JSON_URL = re.compile(rb'"url": ?"([^"\\]+)"')
_METADATA_KEYS = ("core-metadata", "data-dist-info-metadata")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPage:
    """A project page with links to the mirror.

    ``document`` is the PEP 691 document, ``body`` the same as JSON. ``links`` records where the
    files come from, one per line: folder, filename as in a URL, the upstream's URL, and the SHA-256
    of the core metadata (``?`` if they have no hash, ``-`` if there are none).
    """

    document: Mapping[str, Any]
    links: str
    body: bytes


def parse_page(body: bytes, *, content_type: str, url: str, project: str) -> ProjectPage:
    """Parse the response of ``url`` as the page of a project; raises InvalidPageError."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in {SIMPLE_JSON, "application/json"}:
        return _rewrite(_parse_json(body, project), url, project, body)
    if kind in {"text/html", "application/vnd.pypi.simple.v1+html"}:
        return _rewrite(_parse_html(body, url, project), url, project, b"")
    raise InvalidPageError(f"its content type is {kind[:80]!r}")


def load_document(body: bytes) -> Mapping[str, Any]:
    """Load the document of a stored page."""
    document: Mapping[str, Any] = json.loads(body)
    return document


def render_html(document: Mapping[str, Any]) -> bytes:
    """Render a page for clients that do not accept JSON."""
    title = f"Links for {escape(str(document['name']))}"
    lines = [
        "<!DOCTYPE html>",
        '<html><head><meta name="pypi:repository-version" content="1.0">'
        f"<title>{title}</title></head><body><h1>{title}</h1>",
    ]
    lines += [
        f"<a {_render_attributes(file)}>{escape(file['filename'])}</a><br>"
        for file in document["files"]
    ]
    lines.append("</body></html>\n")
    return "\n".join(lines).encode()


def _render_attributes(file: Mapping[str, Any]) -> str:
    hashes = file.get("hashes") or {}
    fragment = next((f"#{k}={hashes[k]}" for k in ("sha256", *hashes) if k in hashes), "")
    attributes = {"href": file["url"] + fragment}
    if file.get("requires-python"):
        attributes["data-requires-python"] = str(file["requires-python"])
    if file.get("yanked"):
        attributes["data-yanked"] = "" if file["yanked"] is True else str(file["yanked"])
    metadata = next((file[key] for key in _METADATA_KEYS if file.get(key)), None)
    if metadata:
        value = "true"
        if isinstance(metadata, dict):
            value = next((f"{k}={v}" for k, v in metadata.items()), value)
        attributes |= {f"data-{_METADATA_KEYS[0]}": value, _METADATA_KEYS[1]: value}
    return " ".join(f'{key}="{escape(value)}"' for key, value in attributes.items())


def _parse_json(body: bytes, project: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidPageError(f"it is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("files"), list):
        raise InvalidPageError("its JSON is not a project page")
    meta = document.get("meta")
    version = meta.get("api-version") if isinstance(meta, dict) else ""
    if not str(version).startswith("1."):
        raise InvalidPageError(f"its api-version is {str(version)[:20]!r}")
    name = document.get("name")
    if not isinstance(name, str) or canonicalize_name(name) != project:
        raise InvalidPageError(f"it is the page of {str(name)[:60]!r}")
    return document


def _parse_html(body: bytes, url: str, project: str) -> dict[str, Any]:
    parser = _LinkParser(url)
    parser.feed(body.decode("utf-8", "replace"))
    files = [f for f in parser.files if canonicalize_name(f["filename"]).startswith(project)]
    if not files and (parser.files or not parser.is_simple):
        raise InvalidPageError("it is an HTML page that lists no file of the project")
    return {"meta": {"api-version": "1.0"}, "name": project, "files": files}


def _rewrite(document: dict[str, Any], base: str, project: str, body: bytes) -> ProjectPage:
    """Point each file's URL to the mirror; drops files whose names cannot become paths.

    ``base`` is the URL of relative links, ``body`` the page as JSON if it came as JSON.
    """
    new_urls: dict[bytes, bytes] = {}
    files: list[dict[str, Any]] = []
    lines: list[str] = [""]
    prefix = f"{_TO_ROOT}/{FILES_PATH}/{project}/"
    for file in document["files"]:
        try:
            filename, url, hashes = file["filename"], file["url"], file.get("hashes")
            if not is_distribution_filename(filename):
                continue
            if not isinstance(hashes, dict):
                file["hashes"], hashes, body = {}, None, b""
            if not is_http_url(url):
                url = urljoin(base, url).partition("#")[0]
                if not is_http_url(url):
                    continue
            digest = hashes.get("sha256") if hashes else None
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise InvalidPageError(f"it has an invalid file entry: {str(file)[:80]}") from error
        if isinstance(digest, str) and is_sha256(digest):
            folder = digest
        else:
            folder = f"{URL_PREFIX}{hashlib.sha256(url.encode()).hexdigest()}"
        name = quote_filename(filename)
        new_url = f"{prefix}{folder}/{name}"
        new_urls[file["url"].encode()] = new_url.encode()
        file["url"] = new_url
        if file.pop("gpg-sig", None):  # signature files are not served
            body = b""
        lines.append(f"{folder} {name} {url} {_describe_metadata(file)}")
        files.append(file)
    if document["files"] and not files:
        raise InvalidPageError("none of its files has a usable name and URL")
    all_kept = len(files) == len(document["files"])
    document["files"] = files
    lines.append("")
    new_body = _replace_urls(body, new_urls) if all_kept and body else b""
    if new_body.count(prefix.encode()) != len(files):
        new_body = json.dumps(document, separators=(",", ":")).encode()
    return ProjectPage(document=document, links="\n".join(lines), body=new_body)


def _describe_metadata(file: Mapping[str, Any]) -> str:
    """Return the last field of a file's line in ``ProjectPage.links``."""
    metadata = file.get("core-metadata", file.get("data-dist-info-metadata"))
    if not metadata or metadata == "-":
        return "-"
    digest = metadata.get("sha256") if isinstance(metadata, dict) else None
    return digest if isinstance(digest, str) and is_sha256(digest) else "?"


def _replace_urls(body: bytes, new_urls: Mapping[bytes, bytes]) -> bytes:
    """Replace the URLs in a JSON text. This costs half as much as serializing it again."""
    return _JSON_URL.sub(lambda match: b'"url":"%s"' % new_urls.get(match[1], match[1]), body)


class _LinkParser(HTMLParser):
    """Collect the distribution files that an HTML page links to, as PEP 691 describes them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.files: list[dict[str, Any]] = []
        self.is_simple = False  # the page looks like one of the simple API
        self._base = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        href = attributes.get("href")
        if tag == "meta" and attributes.get("name") == "pypi:repository-version":
            self.is_simple = True
        elif tag == "base" and href:
            self._base = urljoin(self._base, href)
        elif tag == "a" and href:
            self._add_link(href, attributes)

    def handle_data(self, data: str) -> None:
        if data.lstrip().lower().startswith("links for"):
            self.is_simple = True

    def _add_link(self, href: str, attributes: Mapping[str, str | None]) -> None:
        try:
            url = urlsplit(urljoin(self._base, href))
        except ValueError:
            return
        filename = unquote(url.path.rpartition("/")[2])
        if not filename.endswith(DISTRIBUTION_SUFFIXES):
            return
        algorithm, _, digest = url.fragment.partition("=")
        file: dict[str, Any] = {
            "filename": filename,
            "url": url._replace(fragment="").geturl(),
            "hashes": {algorithm: digest.lower()} if digest else {},
        }
        if attributes.get("data-requires-python"):
            file["requires-python"] = attributes["data-requires-python"]
        if "data-yanked" in attributes:
            file["yanked"] = attributes["data-yanked"] or True
        for key in (f"data-{_METADATA_KEYS[0]}", _METADATA_KEYS[1]):
            if attributes.get(key):
                algorithm, _, digest = str(attributes[key]).partition("=")
                file["core-metadata"] = {algorithm: digest} if digest else True
                break
        self.files.append(file)
