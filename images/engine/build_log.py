"""Parse the output of a build: its steps, its intermediate images and its last lines."""

from __future__ import annotations

import re

_TAIL_LINES = 15  # of a failed step, for its error message
_KEPT_CHARACTERS = 64_000  # of the output
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_IMAGE = re.compile(r"^ ---> ([0-9a-f]{12})$", re.MULTILINE)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_ENGINE_LINES = (" ---> ", "Removing intermediate container", "The command '")
_DISK_FULL = (
    "make room where the engine keeps its data (docker system df, docker image prune), run again"
)


class BuildLog:
    """The output of one build. The engine sends it in pieces that may end within a line."""

    def __init__(self) -> None:
        self._text = ""
        self.step = ""  # the Dockerfile's line that is running
        self.intermediate_images: list[str] = []  # built or taken from the cache, in order

    def append(self, text: str) -> tuple[int, int] | None:
        """Add a piece. If it begins a step, return the step's number and the number of steps."""
        self._text = (self._text + _COLOR.sub("", text))[-_KEPT_CHARACTERS:]
        if image := _IMAGE.search(text):
            self.intermediate_images.append(image[1])
        if not (step := _STEP.match(text)):
            return None
        self.step = step[3].strip()
        return int(step[1]), int(step[2])

    @property
    def printed(self) -> str:
        """What the current step printed, without the engine's own lines."""
        lines = [line for line in self._text.splitlines() if line.strip()]
        step = max((n for n, line in enumerate(lines) if _STEP.match(line)), default=-1)
        return "\n".join(line for line in lines[step + 1 :] if not line.startswith(_ENGINE_LINES))

    @property
    def tail(self) -> str:
        """The last lines that the current step printed."""
        return "\n".join(self.printed.splitlines()[-_TAIL_LINES:])


def shorten_step(step: str, length: int = 100) -> str:
    """Return a Dockerfile's line, cut to a number of characters."""
    return step if len(step) <= length else f"{step[: length - 1]}…"


def disk_full_advice(why: str) -> str:
    """Return the next step if an error means that the disk is full, else an empty string."""
    return _DISK_FULL if "no space left on device" in why.lower() else ""
