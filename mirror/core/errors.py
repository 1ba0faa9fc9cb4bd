"""The errors shown to users: what happened, why, and what to do next.

The command line prints the three parts and exits with the code of the class; nothing else chooses
an exit code. Exit codes: 1 failed, 2 invalid usage or input, 3 the environment does not meet the
requirements, 4 timed out, 5 refused to protect data, 130 interrupted.
"""

from __future__ import annotations

from mirror.core.credentials import hide_credentials


class MirrorError(Exception):
    """Base class of all errors shown to users without a traceback.

    ``what`` is one line that names the object, ``why`` the cause (of several lines, if it is the
    end of a log), ``next_step`` a command or an action.
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
    """A value that the user passed cannot be used."""

    exit_code = 2


class UnfitError(MirrorError):
    """The cluster, the Docker engine or this machine does not meet a requirement."""

    exit_code = 3


class ClusterError(UnfitError):
    """The cluster cannot be reached, or denies a request."""


class EngineError(UnfitError):
    """The Docker engine cannot be reached, or reported an error."""


class DeliveryError(UnfitError):
    """An image cannot be delivered to the nodes."""


class WaitTimeout(MirrorError):
    """A condition was not met in time."""

    exit_code = 4


class RefusedError(MirrorError):
    """Continuing could lose data, or change something that belongs to somebody else."""

    exit_code = 5


class MirrorIndexError(MirrorError):
    """The package index responded with an error, or not at all."""


class IndexTimeout(MirrorIndexError):
    """The package index did not respond before the deadline of the command."""

    exit_code = 4


class ProgramError(MirrorError):
    """A program failed, or could not be started."""


def format_error(error: MirrorError) -> str:
    """Format an error as the programs in pods print it: what, why and the next step."""
    text = f"error: {error.what}\n  why: {error.why}\n  next: {error.next_step}"
    return hide_credentials(text)
