"""Parse project pages of an upstream and rewrite their links to the mirror. Pure functions.

Pages are kept as JSON (PEP 691); their HTML form (PEP 503) is rendered from that. The upstream's
own JSON is kept byte for byte, except for the start of each link, if all files of the page lie
below one folder and have their BLAKE2b-256 in their path.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from packaging.utils import canonicalize_name

from mirror.cache.errors import InvalidPageError
from mirror.cache.names import (
    DISTRIBUTION_SUFFIXES,
    is_distribution_filename,
    is_http_url,
    is_sha256,
    quote_filename,
)
from mirror.cache.package_paths import PACKAGES_PATH, are_package_urls, find_origin
from mirror.policy import POLICY_KEY
from mirror.settings import MIRROR_INDEX, SIMPLE_JSON
from mirror.volume import URL_PREFIX, PageKind

FILES_PATH = f"{MIRROR_INDEX}/+f"  # of cached files, below the server's root URL

FOREIGN_FILES = "+f"  # the same, below the path of another upstream
_TO_ROOT = "../../../.."  # from /user/index/+simple/project/
_JSON_URL = re.compile(rb'"url": ?"([^"\\]+)"')
_ORIGIN = re.compile(rb'"url": ?"(https?://[^\s"\\#?]+/packages/)')
_METADATA_KEYS = ("core-metadata", "data-dist-info-metadata")
_STATUS_NAMES = {"pypi:project-status": "status", "pypi:project-status-reason": "reason"}
_HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha224": 56, "sha384": 96, "sha512": 128}


_HEX = re.compile(r"[0-9a-f]+")
_JSON_TYPES = {SIMPLE_JSON, "application/vnd.pypi.simple.latest+json", "application/json"}
_HTML_TYPES = {
    "text/html",
    "application/vnd.pypi.simple.v1+html",
    "application/vnd.pypi.simple.latest+html",
}


class _FileEntry(msgspec.Struct, gc=False):
    filename: str
    url: str
    signature: None = msgspec.field(default=None, name="gpg-sig")  # they are not served


class _Meta(msgspec.Struct):
    api_version: str = msgspec.field(name="api-version")


class _Page(msgspec.Struct):
    name: str
    meta: _Meta
    files: list[_FileEntry]


_DECODER = msgspec.json.Decoder(_Page)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPage:
    """A project page with links to the mirror, as JSON (PEP 691).

    ``origin`` is set if the links are reversible: each is PACKAGES_PATH plus what follows
    ``origin`` in the upstream's URL, and that holds the file's BLAKE2b-256. Otherwise ``links``
    records where the files come from, one per line: folder, filename as in a URL, the upstream's
    URL, the SHA-256 of the core metadata (``?`` if they have no hash, ``-`` if there are none), and
    if there are hashes besides SHA-256, these as ALGORITHM=HEX, separated by commas.
    """

    links: str
    body: bytes
    origin: str = ""

    @property
    def document(self) -> Mapping[str, Any]:
        return load_document(self.body)


def parse_page(
    body: bytes, *, content_type: str, url: str, project: str, prefix: str = ""
) -> ProjectPage:
    """Parse the response of ``url`` as the page of a project; raises InvalidPageError.

    ``prefix`` is where the mirror has the files of an upstream besides the default one.
    """
    kind = content_type.partition(";")[0].strip().lower() or _guess_content_type(body)
    try:
        if kind in _JSON_TYPES:
            return _redirect_links(body, project, prefix) or _rewrite(
                _parse_json(body, project), url, project, body, prefix
            )
        if kind in _HTML_TYPES:
            return _rewrite(_parse_html(body, url, project), url, project, b"", prefix)
    except UnicodeError as error:  # a lone surrogate, which JSON allows
        raise InvalidPageError("it has text that is not Unicode") from error
    raise InvalidPageError(f"its content type is {kind[:80]!r}")


def _guess_content_type(body: bytes) -> str:
    """Return the content type of a page that came without one."""
    start = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"{"):
        return SIMPLE_JSON
    return "text/html" if start.startswith((b"<!doctype html", b"<html")) else ""


def _redirect_links(body: bytes, project: str, prefix: str) -> ProjectPage | None:
    """Replace what precedes the paths of all files; None if that cannot be done for each.

    The new page is decoded only as far as needed to check that it is the page of this project and
    that every link leads to the mirror; everything else stays as the upstream sent it.
    """
    first = _ORIGIN.match(body, body.find(b'"url":'))
    if first is None:
        return None
    start = f"{_TO_ROOT}/{prefix}{PACKAGES_PATH}/"
    new = f'"url":"{start}'.encode()
    redirected = body.replace(first[0], new)
    try:
        page = _DECODER.decode(redirected)
    except (msgspec.DecodeError, UnicodeError):
        return None  # _parse_json tells why
    if not page.meta.api_version.startswith("1.") or canonicalize_name(page.name) != project:
        return None
    if _count_replaced(body, redirected, first[0], new) != len(page.files):
        return None
    urls = [file.url for file in page.files]
    filenames = [file.filename for file in page.files]
    if not are_package_urls(urls, filenames, start):
        return None
    return ProjectPage(links="", body=redirected, origin=first[1].decode())


def _count_replaced(body: bytes, redirected: bytes, old: bytes, new: bytes) -> int:
    """Return how many times ``old`` was replaced by ``new``."""
    shrunk = len(old) - len(new)
    if shrunk == 0:
        return body.count(old)
    return (len(body) - len(redirected)) // shrunk


def load_document(body: bytes) -> Mapping[str, Any]:
    """Load the document of a stored page."""
    document: Mapping[str, Any] = json.loads(body)
    return document


def render_form(document: Mapping[str, Any], kind: PageKind) -> bytes:
    """Render a page in one of its two forms."""
    if kind == "html":
        return render_html(document)
    return json.dumps(document, separators=(",", ":")).encode()


def render_html(document: Mapping[str, Any]) -> bytes:
    """Render a page for clients that do not accept JSON."""
    title = f"Links for {escape(str(document['name']))}"
    lines = [
        "<!DOCTYPE html>",
        '<html><head><meta name="pypi:repository-version" content="1.0">'
        f"{_render_status(document)}<title>{title}</title></head><body><h1>{title}</h1>",
    ]
    lines += [f"<p>{escape(line)}</p>" for line in _describe_policy(document)]
    lines += [
        f"<a {_render_attributes(file)}>{escape(file['filename'])}</a><br>"
        for file in document["files"]
    ]
    lines.append("</body></html>\n")
    return "\n".join(lines).encode()


def _describe_policy(document: Mapping[str, Any]) -> list[str]:
    """Return what the mirror's policy has done to a page, in sentences."""
    policy = document.get(POLICY_KEY)
    if not isinstance(policy, dict):
        return []
    # another mirror's page may have the key, too
    rules = [str(rule) for rule in policy.get("rules") or ()]
    notes = [str(note) for note in policy.get("notes") or ()]
    hidden = policy.get("hidden", 0)
    return [f"Files hidden by the mirror's policy ({', '.join(rules)}): {hidden}", *notes]


def _render_status(document: Mapping[str, Any]) -> str:
    """Render the project's status (PEP 792), empty if it has none."""
    status = document.get("project-status")
    if not isinstance(status, dict):
        return ""
    return "".join(
        f'<meta name="{name}" content="{escape(status[key])}">'
        for name, key in _STATUS_NAMES.items()
        if isinstance(status.get(key), str)
    )


def _render_attributes(file: Mapping[str, Any]) -> str:
    hashes = file.get("hashes") or {}
    known = {key: value for key, value in hashes.items() if isinstance(value, str)}
    fragment = next((f"#{k}={known[k]}" for k in ("sha256", *known) if k in known), "")
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
    try:
        parser.feed(body.decode("utf-8", "replace"))
    except AssertionError as error:  # HTMLParser meets a broken declaration, such as "<![ "
        raise InvalidPageError(f"its HTML is broken: {error}") from error
    files = [f for f in parser.files if canonicalize_name(f["filename"]).startswith(project)]
    if not files and (parser.files or not parser.is_simple):
        raise InvalidPageError("it is an HTML page that lists no file of the project")
    status = {"project-status": parser.status} if parser.status else {}
    return {"meta": {"api-version": "1.0"}, "name": project, **status, "files": files}


def _rewrite(
    document: dict[str, Any], base: str, project: str, body: bytes, prefix: str
) -> ProjectPage:
    """Point each file's URL to the mirror; drops files whose names cannot become paths.

    ``base`` is the URL of relative links, ``body`` the page as JSON if it came as JSON.
    """
    files, urls = [], []
    for file in document["files"]:
        url = _read_url(file, base)
        if url:
            files.append(file)
            urls.append(url)
    if document["files"] and not files:
        raise InvalidPageError("none of its files has a usable name and URL")
    if len(files) != len(document["files"]):
        body = b""
    document["files"] = files
    for file in files:
        if _normalize_entry(file):
            body = b""
    origin = find_origin(urls, [file["filename"] for file in files])
    files_path = f"{prefix}{FOREIGN_FILES}" if prefix else FILES_PATH
    lines: list[str] = [""]
    new_urls: dict[bytes, bytes] = {}
    for file, url in zip(files, urls, strict=True):
        old_url = file["url"]
        if origin:
            file["url"] = f"{_TO_ROOT}/{prefix}{PACKAGES_PATH}/{url.removeprefix(origin)}"
        else:
            folder, hashes = _choose_folder(file["hashes"], url)
            name = quote_filename(file["filename"])
            file["url"] = f"{_TO_ROOT}/{files_path}/{project}/{folder}/{name}"
            fields = (folder, name, url, _describe_metadata(file), hashes)
            lines.append(" ".join(filter(None, fields)))
        new_urls[old_url.encode()] = file["url"].encode()
    lines.append("")
    new_body = _replace_urls(body, new_urls) if body else b""
    if new_body.count(f'"url":"{_TO_ROOT}/'.encode()) != len(files) or not body:
        new_body = json.dumps(document, separators=(",", ":")).encode()
    links = "" if origin else "\n".join(lines)
    return ProjectPage(links=links, body=new_body, origin=origin)


def _read_url(file: object, base: str) -> str:
    """Return the absolute URL of a file that can be served; empty for any other entry."""
    if not isinstance(file, dict):
        return ""
    filename, url = file.get("filename"), file.get("url")
    if not (isinstance(filename, str) and isinstance(url, str)):
        return ""
    if not is_distribution_filename(filename):
        return ""
    if not is_http_url(url) or "[" in url:
        try:
            url = urljoin(base, url).partition("#")[0]
        except ValueError:
            return ""
    return url if is_http_url(url) else ""


def _normalize_entry(file: dict[str, Any]) -> bool:
    """Drop hashes that are none and signatures, which are not served; returns whether it did."""
    hashes = file.get("hashes")
    known = {}
    if isinstance(hashes, dict):
        known = {key: value for key, value in hashes.items() if isinstance(value, str) and value}
    had_signature = bool(file.pop("gpg-sig", None))
    is_changed = known != hashes or had_signature
    file["hashes"] = known
    return is_changed


def _choose_folder(hashes: Mapping[str, str], url: str) -> tuple[str, str]:
    """Return the folder of a file, and the hashes besides SHA-256 that its bytes must have."""
    others = ",".join(
        f"{algorithm}={digest.lower()}"
        for algorithm, digest in hashes.items()
        if len(digest) == _HASH_LENGTHS.get(algorithm) and _HEX.fullmatch(digest.lower())
    )
    digest = hashes.get("sha256", "").lower()
    if is_sha256(digest):
        return digest, others
    return f"{URL_PREFIX}{hashlib.sha256(url.encode()).hexdigest()}", others


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
        self.status: dict[str, str] = {}  # PEP 792
        self._base = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        href = attributes.get("href")
        if tag == "meta" and attributes.get("name") == "pypi:repository-version":
            self.is_simple = True
        elif tag == "meta" and attributes.get("name") in _STATUS_NAMES:
            self.status[_STATUS_NAMES[str(attributes["name"])]] = attributes.get("content") or ""
        elif tag == "base" and href:
            with suppress(ValueError):  # no URL, such as "http://["
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
