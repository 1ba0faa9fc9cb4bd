"""Client of devpi-server and the cache: log in, create indexes, upload, read the status."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from mirror import devpi
from mirror.cache_status import CacheStatus, parse_cache_status
from mirror.core.codec import load
from mirror.core.errors import IndexTimeout, MirrorIndexError, RefusedError
from mirror.core.wait import Deadline
from mirror.explanation import Explanation
from mirror.http_pool import NO_RETRIES
from mirror.settings import MIRROR_INDEX, OWN_USER_AGENT, WORKLOADS_INDEX
from mirror.store.inventory import CachedProject, PrivateProject
from mirror.upload_form import encode_form, read_metadata

_CALL_TIMEOUT = 30.0  # seconds for one call; an upload may take the whole deadline
_ANY_TYPE = {"Accept": "*/*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResult:
    """The outcome of one upload.

    ``present``: the index already had the file with the same bytes; ``restored``: the index knew
    the file with these bytes, but the file itself was missing; ``refused``: the index has the file
    with other bytes, ``why`` names both hashes.
    """

    filename: str
    sha256: str
    outcome: Literal["added", "present", "restored", "refused"]
    why: str = ""


class IndexClient:
    """A session with one server; ``root_url`` has no trailing slash."""

    def __init__(self, root_url: str, deadline: Deadline) -> None:
        self.root_url = root_url
        self._deadline = deadline
        # not ProxyPools: a proxy of the environment cannot reach a cluster address
        self._pool = urllib3.PoolManager()
        self._headers = {"Accept": "application/json", "User-Agent": OWN_USER_AGENT}

    def __enter__(self) -> IndexClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def is_alive(self, seconds: float = 2.0) -> bool:
        """Check whether a devpi server responds at this URL."""
        try:
            response = self._send("GET", "/+api", timeout=seconds)
            return bool(response.json().get("type") == "apiconfig")
        except (MirrorIndexError, ValueError):
            return False

    def get_server_version(self) -> str:
        """Return the version of devpi-server, e.g. 6.20.3."""
        status = self._call("GET", "/+status")
        return str(status.get("versioninfo", {}).get("devpi-server", "unknown"))

    def read_stats(self, probes: float = 0.0) -> CacheStatus | None:
        """Return statistics, without ``probes`` requests of Kubernetes; None without a cache."""
        status = self._send("GET", "/+mirror/status", allowed={404})
        requests = self._send("GET", "/+mirror/requests", allowed={404}, headers=_ANY_TYPE)
        try:
            return parse_cache_status(status.json(), requests.data.decode(), probe_requests=probes)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # a 404, or devpi alone, which responds with pages of its own

    def explain(self, project: str) -> Explanation | None:
        """Return why a project's page is as it is; None without a cache, or from an older image."""
        response = self._send(
            "GET", f"/+mirror/explain/{project}", allowed={404}, headers=_ANY_TYPE
        )
        try:
            return load(Explanation, response.json())
        except ValueError:
            return None

    def list_cached_projects(self) -> tuple[CachedProject, ...] | None:
        """Return the cached public projects; None without a cache, or from an older image."""
        response = self._send("GET", "/+mirror/projects", allowed={404})
        try:
            return load(tuple[CachedProject, ...], response.json())
        except ValueError:
            return None

    def list_private_projects(self, index: str = WORKLOADS_INDEX) -> tuple[PrivateProject, ...]:
        """Return the private projects with their files."""
        names = self._call("GET", f"/{index}").get("projects", ())
        return tuple(
            PrivateProject(name=n, files=self._list_files(index, n)) for n in sorted(names)
        )

    def _list_files(self, index: str, name: str) -> tuple[str, ...]:
        response = self._send("GET", f"/{index}/{name}", fields={"ignore_bases": ""}, allowed={404})
        if response.status == 404:
            return ()
        versions = response.json().get("result", {}).values()
        links = [link for version in versions for link in version.get("+links", ())]
        return tuple(sorted(unquote(link["href"].rpartition("/")[2]) for link in links))

    def login(self, user: str, password: str) -> None:
        """Authenticate all later calls. Raises RefusedError for a wrong password."""
        body = {"user": user, "password": password}
        response = self._send("POST", "/+login", allowed={401}, json=body)
        if response.status == 401:
            raise RefusedError(
                f"the mirror at {self.root_url} does not accept the stored password of user {user}",
                why="the mirror's data were created with another password",
                next_step="restore the secret that belongs to the data; `mirror down --purge` "
                "would delete every private package and release every private name",
            )
        token = base64.b64encode(f"{user}:{response.json()['result']['password']}".encode())
        self._headers["X-Devpi-Auth"] = token.decode()

    def ensure_indexes(self, upstream: str | None, *, behind_proxy: bool = True) -> tuple[str, ...]:
        """Create the two indexes, or update their settings; returns the names of changed ones.

        ``upstream`` None keeps the upstream of an existing index and uses devpi's default for a
        new one. ``behind_proxy``: nginx and the cache serve public packages; otherwise devpi does.
        """
        changed = []
        user, _, _ = WORKLOADS_INDEX.partition("/")
        users = self._call("GET", "/")
        if user not in users:
            # nobody logs in as this user: it only owns the index
            self._call("PUT", f"/{user}", {"password": secrets.token_urlsafe(32)})
        for name in (MIRROR_INDEX, WORKLOADS_INDEX):
            owner, _, index = name.partition("/")
            current = users.get(owner, {}).get("indexes", {}).get(index)
            if name == WORKLOADS_INDEX:
                config = devpi.build_workloads_index_config(None if behind_proxy else MIRROR_INDEX)
            else:
                known = current["mirror_url"] if current else None
                config = devpi.build_mirror_index_config(
                    upstream or known or devpi.read_default_upstream()
                )
            if current is None:
                self._call("PUT", f"/{name}", config)
            elif any(
                (current.get(key) or None) != (value or None) for key, value in config.items()
            ):
                self._call("PATCH", f"/{name}", {k: v for k, v in config.items() if k != "type"})
            else:
                continue
            changed.append(name)
        return tuple(changed)

    def reserve_name(self, name: str, index: str = WORKLOADS_INDEX) -> bool:
        """Make a name private as devpi-client does, without files; False if it already is."""
        if self._send("GET", f"/{index}/{name}", allowed={404}).status != 404:
            return False
        form = {":action": "submit", "name": name, "version": "0"}
        self._send("POST", f"/{index}/", fields=form, encode_multipart=False)
        return True

    def upload(self, path: Path, index: str = WORKLOADS_INDEX) -> UploadResult:
        """Upload a wheel or an sdist, named and described by its own metadata.

        A published file never changes: a file that the index already has is left alone if its
        bytes are the same, otherwise RefusedError is raised.
        """
        fields = read_metadata(path)
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        outcome: Literal["added", "restored"] = "added"
        for link in self._list_links(index, fields["name"], fields["version"]):
            if link["basename"] != path.name:
                continue
            if link["sha256"] != digest:
                raise RefusedError(
                    f"{path.name} is already in {index} with other bytes",
                    why=f"sha256 in the index: {link['sha256']}, of your file: {digest}",
                    next_step="raise the version: a published file never changes, "
                    "since a lock may name its hash",
                )
            # devpi's JSON also lists files that are missing on disk, hence the HEAD request
            response = self._send("HEAD", link["path"], allowed={404}, headers=_ANY_TYPE)
            if response.status != 404:
                return UploadResult(filename=path.name, sha256=digest, outcome="present")
            # devpi answers an upload of a file it knows with 200, but stores nothing
            self._send("DELETE", link["path"], fields={"force": ""})
            outcome = "restored"
        form = {":action": "file_upload", "protocol_version": "1", "sha256_digest": digest}
        body, headers = encode_form({**fields, **form}, path)
        timeout = self._deadline.remaining()
        try:
            self._send("POST", f"/{index}/", body=body, headers=headers, timeout=timeout)
        except MirrorIndexError as error:
            stats = self.read_stats()  # devpi says only that the upload failed
            if stats is None or not stats.is_full:
                raise
            raise MirrorIndexError(
                f"{path.name} was not stored: the mirror's volume is full",
                why=f"{stats.free / 1e6:.0f} of {stats.volume / 1e6:.0f} MB are free",
                next_step="free space as `mirror status` says, then run the command again",
            ) from error
        return UploadResult(filename=path.name, sha256=digest, outcome=outcome)

    def _list_links(self, index: str, name: str, version: str) -> list[dict[str, str]]:
        """List the files of one private release: basename, sha256, and the path of the URL."""
        url = f"/{index}/{name}/{version}"
        response = self._send("GET", url, fields={"ignore_bases": ""}, allowed={404})
        if response.status == 404:
            return []
        links = []
        for link in response.json().get("result", {}).get("+links", []):
            hash_spec = str(link.get("hash_spec", ""))
            sha256 = (link.get("hashes") or {}).get("sha256") or hash_spec.removeprefix("sha256=")
            path = urlsplit(urljoin(self.root_url, link["href"])).path
            basename = unquote(path.rpartition("/")[2])
            links.append({"basename": basename, "sha256": sha256, "path": path})
        return links

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        options: dict[str, Any] = {} if body is None else {"json": body}
        response = self._send(method, path, **options)
        document = response.json()
        return document.get("result", document) if isinstance(document, dict) else document

    def _send(
        self,
        method: str,
        path: str,
        *,
        allowed: Container[int] = (),
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; raise MirrorIndexError for a status of 400 or more not in ``allowed``."""
        options.setdefault("timeout", max(min(_CALL_TIMEOUT, self._deadline.remaining()), 0.5))
        try:
            response = self._pool.request(
                method,
                self.root_url + path,
                headers={**self._headers, **(headers or {})},
                retries=NO_RETRIES,
                **options,
            )
        except HTTPError as error:
            if self._deadline.expired:
                raise IndexTimeout(
                    f"timed out: no response to {method} {path} from the mirror",
                    why=f"{self.root_url} did not answer within --timeout",
                    next_step="give more time, such as --timeout 5m",
                ) from error
            raise MirrorIndexError(
                f"the mirror at {self.root_url} does not respond",
                why=f"{type(error).__name__}: {error}",
                next_step="see `mirror status`",
            ) from error
        if response.status >= 400 and response.status not in allowed:
            raise MirrorIndexError(
                f"the mirror refused {method} {path} ({response.status})",
                why=_read_reason(response),
            )
        return response


def _read_reason(response: urllib3.BaseHTTPResponse) -> str:
    text = response.data.decode(errors="replace")
    try:
        return str(json.loads(text).get("message", ""))[:500]
    except (ValueError, AttributeError):
        return text.strip()[:300]
