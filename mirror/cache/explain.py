"""Find out which upstream a project comes from, and which rule hides it or its files."""

from __future__ import annotations

import asyncio

from mirror.cache import project_page
from mirror.cache.errors import NotFoundError, PolicyError, UnavailableError
from mirror.cache.public_index import UpstreamCache
from mirror.cache.service import CacheService
from mirror.explanation import ExplainedFile, Explanation
from mirror.volume import PRIVATE
from mirror.wheels import parse_version


async def explain_project(service: CacheService, project: str) -> Explanation:
    """Explain a project. It asks the upstreams that a request for its page asks, and no other."""
    index = service.index
    candidates = index.list_candidates(project)
    names = [upstream.name for upstream in candidates]
    upstream: UpstreamCache | None = None
    hidden_by = ""
    is_private = (service.root.parent / PRIVATE / project).exists()
    try:
        if is_private:  # its name is told to no upstream
            hidden_by = "the private project of this name: clients get its files only"
        else:
            upstream, _ = await index.find_page(project, "json", publish=False)
    except PolicyError as error:
        hidden_by = str(error)
    except UnavailableError as error:
        hidden_by = f"an upstream that does not answer, and no later one is asked: {error}"
    except NotFoundError:
        hidden_by = f"nothing: no project of this name is at {', '.join(names)}"
    files: tuple[ExplainedFile, ...] = ()
    if upstream is not None:
        loop = asyncio.get_running_loop()
        files = await loop.run_in_executor(None, _explain_files, service, upstream, project)
    place = names.index(upstream.name) if upstream else 0
    is_known = upstream is not None
    return Explanation(
        project=project,
        private=is_private,
        upstream=upstream.name if upstream else "",
        pin=index.get_pin(project),
        passed=tuple(names[:place]),
        not_asked=tuple(names[place + 1 :]) if is_known else (),
        hidden_by=hidden_by,
        rules=tuple(index.policy.rules.describe()) if index.policy else (),
        files=files,
    )


def _explain_files(
    service: CacheService, upstream: UpstreamCache, project: str
) -> tuple[ExplainedFile, ...]:
    try:
        body = upstream.store.page_path(project, "json").read_bytes()
    except OSError:  # the volume is full
        return ()
    document = project_page.load_document(body)
    policy = service.index.policy
    verdicts = policy.apply(project, document).files if policy else ()
    rules = {verdict.filename: (verdict.rule, verdict.note) for verdict in verdicts}
    return tuple(
        ExplainedFile(
            filename=filename,
            version=str(parse_version(filename, project) or ""),
            rule=rules.get(filename, ("", ""))[0],
            note=rules.get(filename, ("", ""))[1],
        )
        for filename in (str(file["filename"]) for file in document["files"])
    )
