"""What we ask of a devpi server: login, indexes, upload. The only HTTP client of the mirror."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx

from mirror.cache_status import CacheStatus, parse_cache_status
from mirror.core.errors import InputError, MirrorIndexError, RefusedError
from mirror.core.wait import Deadline
from mirror.devpi import (
    build_mirror_index_config,
    build_workloads_index_config,
    read_default_upstream,
)
from mirror.settings import MIRROR_INDEX, WORKLOADS_INDEX

_CALL = 30.0  # seconds, the most one call may take; uploads have the whole deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResult:
    """One file and what became of it.

    ``present``: there with the same bytes; ``restored``: known with these bytes, and the file
    itself was missing; ``refused``: there with other bytes, ``why`` says it.
    """

    filename: str
    sha256: str
    outcome: Literal["added", "present", "restored", "refused"]
    why: str = ""


class IndexClient:
    """A session with one server; ``root`` is its URL without a trailing slash."""

    def __init__(self, root: str, deadline: Deadline) -> None:
        self.root_url = root
        self._deadline = deadline
        # trust_env off: a proxy of the environment must not stand before a cluster address
        self._http = httpx.Client(trust_env=False, follow_redirects=True)
        self._headers = {"Accept": "application/json"}

    def __enter__(self) -> IndexClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def is_alive(self, seconds: float = 2.0) -> bool:
        """Whether a devpi server answers here."""
        try:
            answer = self._http.get(f"{self.root_url}/+api", headers=self._headers, timeout=seconds)
            return answer.status_code == 200 and answer.json().get("type") == "apiconfig"
        except (httpx.HTTPError, ValueError):
            return False

    def get_server_version(self) -> str:
        """The version of devpi-server, e.g. 6.20.3."""
        told = self._call("GET", "/+status")
        return str(told.get("versioninfo", {}).get("devpi-server", "unknown"))

    def read_stats(self, probes: float = 0.0) -> CacheStatus | None:
        """What is kept and how it is asked for; None where there is no front."""
        told = self._send("GET", "/+mirror/status", missing_ok=True)
        counted = self._send("GET", "/+mirror/requests", missing_ok=True, accept="*/*")
        try:
            return (
                parse_cache_status(told.json(), counted.text, probe_requests=probes)
                if told and counted
                else None
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # devpi alone answers with pages of its own

    def login(self, user: str, password: str) -> None:
        """Authenticate all later calls. Raises RefusedError for a wrong password."""
        try:
            told = self._call("POST", "/+login", {"user": user, "password": password})
        except MirrorIndexError as error:
            if "401" not in error.what:
                raise
            raise RefusedError(
                f"the mirror at {self.root_url} does not accept our password of user {user}",
                why="its data were made with another password than the one that is stored",
                next_step="restore the secret that belongs to the data; `mirror down --purge` "
                "would delete every private package and release every private name",
            ) from error
        token = base64.b64encode(f"{user}:{told['password']}".encode()).decode()
        self._headers["X-Devpi-Auth"] = token

    def ensure_indexes(self, upstream: str | None, *, behind_proxy: bool = True) -> tuple[str, ...]:
        """Make the two indexes, or bring them to their settings; the names of those changed.

        ``upstream`` None means devpi's own default for a new index, and what it has for an old one.
        ``fronted``: public names are answered before devpi is asked; else it answers them itself.
        """
        changed = []
        user, _, _ = WORKLOADS_INDEX.partition("/")
        users = self._call("GET", "/")
        if user not in users:
            # nobody logs in as this user: it only owns the index
            self._call("PUT", f"/{user}", {"password": secrets.token_urlsafe(32)})
        for name in (MIRROR_INDEX, WORKLOADS_INDEX):
            owner, _, index = name.partition("/")
            now = users.get(owner, {}).get("indexes", {}).get(index)
            if name == WORKLOADS_INDEX:
                config = build_workloads_index_config(None if behind_proxy else MIRROR_INDEX)
            else:
                held = now["mirror_url"] if now else None
                config = build_mirror_index_config(upstream or held or read_default_upstream())
            if now is None:
                self._call("PUT", f"/{name}", config)
            elif any((now.get(key) or None) != (value or None) for key, value in config.items()):
                self._call("PATCH", f"/{name}", {k: v for k, v in config.items() if k != "type"})
            else:
                continue
            changed.append(name)
        return tuple(changed)

    def reserve_name(self, name: str, index: str = WORKLOADS_INDEX) -> bool:
        """Make a name private before anything is uploaded; False where it is already.

        By devpi-client's protocol: a registered release without files.
        """
        if self._send("GET", f"/{index}/{name}", missing_ok=True) is not None:
            return False
        self._send("POST", f"/{index}/", data={":action": "submit", "name": name, "version": "0"})
        return True

    def upload(self, path: Path, index: str = WORKLOADS_INDEX) -> UploadResult:
        """Upload one wheel or sdist by devpi-client's protocol.

        A file that is there with the same bytes is left alone; with other bytes it is refused: a
        published file never changes.
        """
        fields = _metadata(path)
        digest = _sha256(path)
        name, version = fields["name"], fields["version"]
        outcome: Literal["added", "restored"] = "added"
        for link in self._links(index, name, version):
            if link["basename"] != path.name:
                continue
            if link.get("sha256") == digest:
                # asked for JSON, devpi tells of a file that is not there
                held = self._send("HEAD", link["path"], missing_ok=True, accept="*/*")
                if held is not None:
                    return UploadResult(filename=path.name, sha256=digest, outcome="present")
                # devpi answers an upload of what it knows with 200 and stores nothing
                self._send("DELETE", link["path"], params={"force": ""})
                outcome = "restored"
                continue
            raise RefusedError(
                f"{path.name} is in {index} already, with other bytes",
                why=f"there sha256 {link.get('sha256')}, here {digest}",
                next_step="raise the version: a file that somebody may have locked never changes",
            )
        form: dict[str, Any] = {**fields, ":action": "file_upload", "protocol_version": "1"}
        form["sha256_digest"] = digest
        try:
            with path.open("rb") as content:
                self._send(
                    "POST",
                    f"/{index}/",
                    data=form,
                    files={"content": (path.name, content)},
                    timeout=self._deadline.remaining(),
                )
        except MirrorIndexError as error:
            told = self.read_stats()  # devpi says no more than that it failed
            if told is None or not told.is_full:
                raise
            raise MirrorIndexError(
                f"{path.name} is not stored: the mirror's volume is full",
                why=f"{told.free / 1e6:.0f} of {told.volume / 1e6:.0f} MB are free",
                next_step="`mirror status` names what to make room on; then run it again",
            ) from error
        return UploadResult(filename=path.name, sha256=digest, outcome=outcome)

    def _links(self, index: str, name: str, version: str) -> Sequence[Mapping[str, str]]:
        """The files of one private release: basename, sha256, and the path of its URL."""
        answer = self._send(
            "GET", f"/{index}/{name}/{version}", params={"ignore_bases": ""}, missing_ok=True
        )
        if answer is None:
            return ()
        links = answer.json().get("result", {}).get("+links", [])
        found = []
        for link in links:
            hashes = link.get("hashes") or {}
            spec = str(link.get("hash_spec", ""))
            sha256 = hashes.get("sha256") or spec.removeprefix("sha256=")
            place = httpx.URL(link["href"]).path
            found.append(
                {"basename": place.rpartition("/")[2], "sha256": sha256, "path": quote(place)}
            )
        return found

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self._send(method, path, json=body)
        assert answer is not None
        told = answer.json()
        return told.get("result", told) if isinstance(told, dict) else told

    def _send(
        self,
        method: str,
        path: str,
        *,
        missing_ok: bool = False,
        accept: str = "application/json",
        **words: Any,
    ) -> httpx.Response | None:
        headers = {**self._headers, "Accept": accept}
        words.setdefault("timeout", max(min(_CALL, self._deadline.remaining()), 0.5))
        if words.get("json", ...) is None:
            del words["json"]
        try:
            answer = self._http.request(method, self.root_url + path, headers=headers, **words)
        except httpx.HTTPError as broken:
            raise MirrorIndexError(
                f"the mirror at {self.root_url} does not answer",
                why=f"{type(broken).__name__}: {broken}",
                next_step="see `mirror status`",
            ) from broken
        if answer.status_code == 404 and missing_ok:
            return None
        if answer.status_code >= 400:
            raise MirrorIndexError(
                f"the mirror refused {method} {path} ({answer.status_code})", why=_reason(answer)
            )
        return answer


def _reason(answer: httpx.Response) -> str:
    try:
        return str(json.loads(answer.text).get("message", ""))[:500]
    except (ValueError, AttributeError):
        return answer.text.strip()[:300]


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check_distribution(path: Path) -> None:
    """Raise InputError for what could not be uploaded, before anything is."""
    _metadata(path)


def _metadata(path: Path) -> dict[str, Any]:
    """The core metadata as the upload form has it, read by devpi-client's own code."""
    from devpi.upload import get_pkginfo
    from devpi_common.metadata import get_pyversion_filetype

    if not path.is_file():
        raise InputError(f"no such file: {path}", next_step="give a wheel or an sdist")
    try:
        info = get_pkginfo(path)
        pyversion, filetype = get_pyversion_filetype(path.name)
    except Exception as broken:
        raise InputError(
            f"neither a wheel nor an sdist: {path}",
            why=f"{type(broken).__name__}: {broken}",
            next_step="give a .whl or a .tar.gz that a build made",
        ) from broken
    if not getattr(info, "name", None) or not getattr(info, "version", None):
        raise InputError(
            f"neither a wheel nor an sdist: {path}",
            why="it names no project and version in its metadata",
            next_step="give a .whl or a .tar.gz that a build made",
        )
    fields = {attr: getattr(info, attr) for attr in info}
    fields |= {"pyversion": pyversion, "filetype": filetype}
    return {key: value for key, value in fields.items() if value not in (None, "", (), [])}
