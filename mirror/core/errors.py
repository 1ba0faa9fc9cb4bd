"""Every failure a user can meet: what happened, why, and what to do next.

The command line prints the three parts and ends with the class's exit code; nothing else in the
project decides on exit codes. Exit codes: 1 failed, 2 bad usage or input, 3 the environment is
not fit (preflight), 4 a wait ran out, 5 refused to protect somebody's data, 130 interrupted.
"""

from __future__ import annotations


class MirrorError(Exception):
    """Base of all errors shown to users without a traceback.

    ``what`` is one line that names the object, ``why`` the cause (may have several lines, e.g.
    the last log lines of a pod), ``next_step`` a command or an action.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step

    def __str__(self) -> str:
        return " — ".join(part for part in (self.what, self.why) if part)


class InputError(MirrorError):
    """A value the user gave cannot be used."""

    exit_code = 2


class UnfitError(MirrorError):
    """Something outside (cluster, engine, machine) is not fit for the work; found before it."""

    exit_code = 3


class ClusterError(UnfitError):
    """The cluster cannot be reached, or refuses what is needed."""


class EngineError(UnfitError):
    """The Docker engine cannot be reached, or failed."""


class DeliveryError(UnfitError):
    """An image cannot be brought to the nodes."""


class WaitTimeout(MirrorError):
    """A condition did not come true in time."""

    exit_code = 4


class RefusedError(MirrorError):
    """Going on could lose or take what is not ours."""

    exit_code = 5


class MirrorIndexError(MirrorError):
    """The package index answered with an error, or not at all."""


class ProgramError(MirrorError):
    """A program ended with an error or could not be started."""
