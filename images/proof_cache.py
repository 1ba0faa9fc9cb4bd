"""Results of earlier proofs: a check runs again only if something it depends on has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs

from images.inside import INSIDE
from images.proof import ProofResult, ProofSubject
from mirror.core.codec import DecodeError, dump, load

_KEPT = 200  # files
# the checks that look at the installed distributions alone
_OF_DISTRIBUTIONS = ("distributions", "consistency")
_PROGRAMS = ("failure.py", "import_names.py", "sandbox.py", "source_facts.py")
_SOURCE_LAYERS = 2  # the last layers hold the source, and what the project's installation added


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofCache:
    """Results in a folder, one file per check and state of what it depends on."""

    folder: Path

    @classmethod
    def of_user(cls) -> ProofCache:
        return cls(folder=platformdirs.user_state_path("pypi-mirror", appauthor=False) / "proofs")

    def find(self, key: str) -> ProofResult | None:
        """Return a result that is known; None if there is none, or it cannot be read."""
        with suppress(OSError, ValueError, DecodeError):
            path = self.folder / f"{key}.json"
            result = load(ProofResult, json.loads(path.read_text()))
            path.touch()
            return replace(result, reused=True)
        return None

    def store(self, key: str, result: ProofResult) -> None:
        """Keep a result that has passed; a folder that cannot be written is no error."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f".{key}.part"
            part.write_text(json.dumps(dump(result)))
            part.replace(self.folder / f"{key}.json")
            known = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in known[:-_KEPT]:
                path.unlink()


def run_cached(
    subject: ProofSubject,
    check: str,
    run: Callable[[], ProofResult],
    cache: ProofCache | None,
) -> ProofResult:
    """Return the earlier result of a check if nothing it depends on has changed, else run it."""
    if cache is None:
        return run()
    key = proof_key(subject, check, subject.engine.get(subject.image).layers)
    if known := cache.find(key):
        return known
    result = run()
    if not result.faults:
        cache.store(key, result)
    return result


def proof_key(subject: ProofSubject, check: str, layers: Sequence[str]) -> str:
    """Return the hash of everything that the result of a check depends on."""
    facts: dict[str, Any] = {"check": check, "programs": _hash_programs()}
    if check in _OF_DISTRIBUTIONS:
        facts |= {
            "layers": layers[:-_SOURCE_LAYERS],
            "lock": subject.lock.requirements_text,
            "project": subject.source.metadata_sha256,
            "dependencies": subject.source.dependencies,
        }
    else:
        facts |= {"layers": layers, "recipe": dump(subject.recipe), "source": dump(subject.source)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _hash_programs() -> str:
    """Return the hash of the code that a result depends on."""
    here = Path(__file__).parent
    paths = [*INSIDE.glob("*.py"), *here.glob("proof/*.py"), *(here / name for name in _PROGRAMS)]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()
