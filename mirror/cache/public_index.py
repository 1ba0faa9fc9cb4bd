"""One view of several upstreams: each project comes from exactly one of them.

The upstreams are asked in their order, and the first that has a project wins; a pinned project is
asked for at its upstream only. An upstream that does not answer is no upstream without the project:
then the request fails, and no later one is asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror.cache.errors import NotFoundError, UnavailableError
from mirror.cache.file_cache import FileCache
from mirror.cache.page_cache import MAX_AGE, PageCache
from mirror.cache.page_policy import PagePolicy
from mirror.cache.page_store import PageStore
from mirror.cache.upstream import UpstreamClient
from mirror.volume import PageKind

_MOST_ABSENT = 100_000  # remembered pairs of project and upstream


@dataclass(frozen=True, slots=True)
class UpstreamCache:
    """An upstream with its own folders: nothing of another one is in them."""

    client: UpstreamClient
    store: PageStore
    pages: PageCache
    files: FileCache

    @property
    def name(self) -> str:
        return self.client.name


class PublicIndex:
    """The public projects of all upstreams. For one event loop."""

    def __init__(
        self,
        upstreams: Sequence[UpstreamCache],
        pins: Mapping[str, str],
        policy: PagePolicy | None = None,
    ) -> None:
        self.policy = policy
        self._upstreams = tuple(upstreams)
        self._pins = dict(pins)
        # when an upstream last said that it does not have a project, by both names
        self._absent: dict[tuple[str, str], float] = {}

    def list_candidates(self, project: str) -> tuple[UpstreamCache, ...]:
        """Return the upstreams that a project may come from, in the order of asking."""
        pin = self._pins.get(project)
        if pin is None:
            return self._upstreams
        return tuple(upstream for upstream in self._upstreams if upstream.name == pin)

    def get_pin(self, project: str) -> str:
        """Return the upstream that a project is pinned to, or an empty text."""
        return self._pins.get(project, "")

    def find(self, name: str, project: str) -> UpstreamCache:
        """Return an upstream by its name. With an empty ``project``, no rule is looked at.

        Raises NotFoundError if the project is pinned to another one, PolicyError if it is hidden.
        """
        if self.policy is not None and project:
            self.policy.check_project(project)
        pin = self._pins.get(project, name)
        if pin != name:
            raise NotFoundError(f"{project} is pinned to the upstream {pin}")
        for upstream in self._upstreams:
            if upstream.name == name:
                return upstream
        raise NotFoundError("there is no upstream of this name")

    async def get(self, project: str, kind: PageKind) -> Path | bytes:
        """Return a project's page as PageCache does. Raises NotFoundError, UnavailableError."""
        _, page = await self.find_page(project, kind)
        return page

    async def find_page(
        self, project: str, kind: PageKind, *, publish: bool = True
    ) -> tuple[UpstreamCache, Path | bytes]:
        """Return the upstream that a project comes from, and its page.

        Raises NotFoundError, UnavailableError, PolicyError.
        """
        if self.policy is not None:
            self.policy.check_project(project)
        *earlier, last = self.list_candidates(project)
        for upstream in earlier:
            key = (upstream.name, project)
            since = self._absent.get(key)
            is_recent = since is not None and time.monotonic() - since < MAX_AGE
            if is_recent or (since is not None and upstream.client.is_unavailable):
                continue
            try:
                page = await upstream.pages.get(project, kind, publish=publish)
            except NotFoundError:
                self._remember_absence(key)
            except UnavailableError:
                if since is None:
                    raise
                # its last word was that it does not have the project
            else:
                self._absent.pop(key, None)
                return upstream, page
        return last, await last.pages.get(project, kind, publish=publish)

    def _remember_absence(self, key: tuple[str, str]) -> None:
        self._absent.pop(key, None)
        self._absent[key] = time.monotonic()
        if len(self._absent) > _MOST_ABSENT:
            del self._absent[next(iter(self._absent))]
