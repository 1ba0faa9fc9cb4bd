"""What an installer asks of the mirror: a page, then its files, whole and with their hashes."""

from __future__ import annotations

import hashlib
from urllib.parse import urljoin

import httpx

from tests.faults.counting_upstream import SIMPLE_JSON
from tests.local.mirror_home import MirrorHome


def get_page(place: MirrorHome, project: str) -> httpx.Response:
    url = f"http://127.0.0.1:{place.port}/workloads/stable/+simple/{project}/"
    return httpx.get(
        url, headers={"Accept": SIMPLE_JSON}, timeout=60, trust_env=False, follow_redirects=True
    )


def find_file_url(place: MirrorHome, project: str) -> str:
    """The URL of a project's only file."""
    answer = get_page(place, project)
    answer.raise_for_status()
    (file,) = answer.json()["files"]
    return urljoin(str(answer.url), str(file["url"])).partition("#")[0]


def download_sha256(url: str) -> str:
    """SHA-256 of what stands there. Raises httpx.HTTPError for anything but a whole 200."""
    answer = httpx.get(url, timeout=60, trust_env=False, follow_redirects=True)
    answer.raise_for_status()
    return hashlib.sha256(answer.content).hexdigest()
