"""What a build of the engine says: its steps, the images between them, and its last lines."""

from __future__ import annotations

import re

_TAIL = 15  # lines of a failed build's log that its error shows
_KEPT = 8000  # characters of it that are kept for that
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_IMAGE = re.compile(r"^ ---> ([0-9a-f]{12})$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ENGINES_OWN = (" ---> ", "Removing intermediate container", "The command '")
_FULL = (
    "make room where the engine keeps its data (docker system df, docker image prune), run again"
)


class BuildLog:
    """Fed with pieces: programs' lines are cut anywhere."""

    def __init__(self) -> None:
        self._text = ""
        self.step = ""
        self.intermediate_images: list[str] = []  # made or taken from before, in their order

    def append(self, text: str) -> tuple[int, int] | None:
        """Number of the step that begins, and of all."""
        self._text = (self._text + _COLOUR.sub("", text))[-_KEPT:]
        if found := _IMAGE.search(text):
            self.intermediate_images.append(found[1])
        if not (now := _STEP.match(text)):
            return None
        self.step = now[3].strip()
        return int(now[1]), int(now[2])

    @property
    def tail(self) -> str:
        """The last lines of the last step's own."""
        lines = [line for line in self._text.splitlines() if line.strip()]
        begun = max((n for n, line in enumerate(lines) if _STEP.match(line)), default=-1)
        own = [one for one in lines[begun + 1 :] if not one.startswith(_ENGINES_OWN)]
        return "\n".join(own[-_TAIL:])


def shorten_step(step: str) -> str:
    """The start of a Dockerfile's line."""
    return step if len(step) < 100 else f"{step[:100]} …"


def disk_full_advice(why: str) -> str:
    """What to do about a full disk; empty where that is not why."""
    return _FULL if "no space left on device" in why.lower() else ""
