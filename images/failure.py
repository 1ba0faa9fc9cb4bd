"""Why a program of an image failed, from its exceptions and its log. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class Cause(StrEnum):
    """What a program lacks."""

    SERVICE = "service"  # an answer from a host on the network
    DOWNLOAD = "download"
    MODULE = "module"
    LIBRARY = "library"  # a shared library of the system
    PROGRAM = "program"
    FILE = "file"
    SETTINGS = "settings"
    PERMISSION = "permission"
    ADDRESS = "address"  # one to listen on: it is not there, or in use
    SYNTAX = "syntax"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RaisedError:
    """An exception. ``bases`` are qualified class names, ``modules`` those of the traceback.

    ``name`` is the attribute of an ImportError, ``path`` that of an OSError.
    """

    type: str
    text: str
    bases: tuple[str, ...] = ()
    name: str = ""
    path: str = ""
    modules: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The exception as the last line of a traceback, at most 300 characters."""
        return f"{self.type}: {self.text}"[:300] if self.text else self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The cause of a failure, and the exception or line of a log that shows it."""

    cause: Cause
    error: RaisedError


_TYPES = (  # cause → names of exceptions: any class of the exception counts
    (Cause.MODULE, r"ModuleNotFoundError"),
    (Cause.SYNTAX, r"SyntaxError"),
    (Cause.PERMISSION, r"PermissionError"),
    (
        Cause.SETTINGS,
        r"ImproperlyConfigured|UndefinedValueError|Env(Validation|iron)?Error|SettingsError"
        r"|MissingEnvironment\w*|ConfigurationError|MissingConfig\w*",
    ),
    (Cause.DOWNLOAD, r"LocalEntryNotFoundError|OfflineModeIsEnabled"),
    (
        Cause.SERVICE,
        r"ConnectionError|TimeoutError|gaierror|herror|SSLError"
        r"|\w*(Connect|Connection|Timeout)Error|Connect(ion)?Timeout|\w*TimedOut|ReadTimeout"
        r"|ServerSelectionTimeoutError|AutoReconnect|NoBrokersAvailable|KafkaConnectionError"
        r"|ServiceUnavailable|EndpointConnectionError|ResponseHandlingException|URLError",
    ),
)
_TEXTS = (  # cause → what a message says, tried in this order
    (
        Cause.ADDRESS,
        r"\bbind(ing)?\b.*(address|errno 9[89]\b)|address already in use|\beaddrinuse\b"
        r"|(invalid address|connection in use): \(|can't connect to \('"
        r"|failed to (listen|bind)|errno 98\b",
    ),
    (
        Cause.LIBRARY,
        r"cannot open shared object file|(find|load|open|locate) \S+ (shared )?library"
        r"|library (\S+ )?(is )?(not found|could not be found|not loaded|missing)"
        r"|no \S+ library|failed to load shared library",
    ),
    (
        Cause.DOWNLOAD,
        r"\bdownload|cached files|offline mode|outgoing traffic|local entry|huggingface"
        r"|find them in the cache|nltk|model weights|failed to fetch",
    ),
    (Cause.MODULE, r"no module named|cannot import name|modulenotfound"),
    (Cause.PERMISSION, r"permission denied|read-only file system"),
    (
        Cause.SETTINGS,
        r"environment variable|env(ironment)? var\b|field required|api[_ ]key|secret_key"
        r"|(?-i:\b[A-Z][A-Z0-9]*(_[A-Z0-9]+)+\b).{0,25}(required|missing|not set|unset|undefined"
        r"|not found|not defined|not configured|must be|empty)"
        r"|(set|missing|define|provide|configure|required?:?|need)"
        r" (the |an? )?(?-i:\b[A-Z][A-Z0-9]*(_[A-Z0-9]+)+\b)",
    ),
    (Cause.PROGRAM, r": (command )?not found$|executable .*not found|not found in (\$)?path"),
    (
        Cause.FILE,
        r"no such file|file not found|file does not exist|file .* not exist|cannot find file"
        r"|filenotfound|unable to open database file|not find (the )?(config|configuration)",
    ),
    (
        Cause.SERVICE,
        r"connection (error|refused|failed|reset|aborted|closed|to server)|connect call failed"
        r"|(not|n't|cannot|unable to|fail(ed|ure)? to|failed) (connect|reach|contact|resolve)"
        r"|cannot assign requested address|name resolution|name or service not known"
        r"|translate host name|no address associated|getaddrinfo|nodename nor servname"
        r"|max retries|timed? ?out|unreachable|unavailable|not (be )?(available|reachable|reached)"
        r"|err(no|or) (99|111|-2|-3|101|113)\b|\be(addrnotavail|connrefused|hostunreach)\b"
        r"|server selection|no servers|is down\b|lost connection",
    ),
)
_URL_HOST = re.compile(r"https?://([A-Za-z0-9.-]+)")
_TRACEBACK = re.compile(r"^\s*Traceback \(most recent call last\):")
_LINKS = re.compile(
    r"The above exception was the direct cause|During handling of the above exception"
)
_ERROR_LINE = re.compile(
    r"^(?:[^\w]*\|\s*)?((?:[A-Za-z_]\w*\.)*([A-Z]\w*|[a-z]+error))(?:: (.*))?$"
)
_LOG_LINES = 15


def parse_chain(chain: Iterable[Mapping[str, Any]]) -> tuple[RaisedError, ...]:
    """Return what raised.py has described: an exception and what led to it, outermost first."""
    return tuple(
        RaisedError(
            type=str(error.get("type", "")),
            text=str(error.get("text", "")),
            bases=tuple(map(str, error.get("bases", ()))),
            name=str(error.get("name", "")),
            path=str(error.get("path", "")),
            modules=tuple(map(str, error.get("modules", ()))),
        )
        for error in chain
    )


def parse_tracebacks(log: str) -> tuple[tuple[RaisedError, ...], ...]:
    """Return the chain of each traceback in a log, in order; outermost exception first."""
    chains: list[list[RaisedError]] = []
    linked = in_traceback = False
    for raw in log.splitlines():
        if _LINKS.search(raw):
            linked = True
        elif _TRACEBACK.match(raw):
            if not linked or not chains:
                chains.append([])
            linked, in_traceback = False, True
        elif in_traceback and (found := _ERROR_LINE.match(raw.rstrip())):
            in_traceback = False
            # the log shows the innermost first
            chains[-1].insert(0, _error_of_line(found))
    return tuple(tuple(chain) for chain in chains if chain)


def _error_of_line(found: re.Match[str]) -> RaisedError:
    text = found[3] or ""
    named = re.search(r"No module named '([^']+)'", text)
    path = re.search(r"No such file or directory: '([^']+)'", text)
    return RaisedError(
        type=found[2],
        text=text[:500],
        bases=(found[1],),
        name=named[1] if named else "",
        path=path[1] if path else "",
    )


def classify_error(error: RaisedError, allowed: Sequence[str] = ()) -> Cause | None:
    """Return what an exception alone shows, None if nothing.

    ``allowed`` are patterns of hosts that the program may call: a message that names another one
    is about a download.
    """
    names = [name.rpartition(".")[2] for name in (error.type, *error.bases)]
    if any(not is_allowed(host, allowed) for host in _URL_HOST.findall(error.text)):
        return Cause.DOWNLOAD if _classify_text(error.text) else None
    if "ModuleNotFoundError" not in names and (cause := _classify_text(error.text)) in (
        *(Cause.LIBRARY, Cause.DOWNLOAD),
    ):
        return cause
    if cause := _classify_type(error):
        return cause
    if "FileNotFoundError" in names:
        # a program has neither a folder nor a suffix
        is_program = bool(error.path) and not re.search(r"[./]", error.path)
        return Cause.PROGRAM if is_program else Cause.FILE
    if "KeyError" in names and re.fullmatch(r"'[A-Z][A-Z0-9_]+'", error.text):
        return Cause.SETTINGS
    return _classify_text(error.text)


def _classify_type(error: RaisedError) -> Cause | None:
    names = [name.rpartition(".")[2] for name in (error.type, *error.bases)]
    for cause, pattern in _TYPES:
        if any(re.fullmatch(pattern, name) for name in names):
            return cause
    return None


def _classify_text(text: str) -> Cause | None:
    for cause, pattern in _TEXTS:
        if re.search(pattern, text, re.IGNORECASE):
            return cause
    return None


def is_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Whether a host matches one of the patterns."""
    return any(fnmatchcase(host.lower(), pattern.lower()) for pattern in allowed)


def find_failure(chain: Sequence[RaisedError], allowed: Sequence[str] = ()) -> Failure | None:
    """Return what a chain of exceptions shows: that of the outermost one that shows anything.

    A cause further in may be an attempt that the program could do without, such as the import of
    an optional module. But a message that asks to check the settings, because a connection has
    failed, is about the connection.
    """
    found: Failure | None = None
    for error in chain:
        cause = classify_error(error, allowed)
        if found is None and cause:
            found = Failure(cause=cause, error=error)
        is_connection = cause is Cause.SERVICE and _classify_type(error) is Cause.SERVICE
        if found and found.cause is Cause.SETTINGS and is_connection:
            return Failure(cause=Cause.SERVICE, error=error)
    return found


def explain_end(
    endings: Sequence[Sequence[RaisedError]], log: str, allowed: Sequence[str] = ()
) -> Failure:
    """Return why a program ended: from the exceptions that it reported, else from its log.

    ``endings`` are the chains that the hook has sent, in order. An exception that shows nothing is
    still the reason: what the log says before it is not.
    """
    for chain in _candidates(endings, log):
        if failure := find_failure(chain, allowed):
            return failure
        if chain[0].type not in ("", "SystemExit"):
            return Failure(cause=Cause.UNKNOWN, error=chain[0])
    lines = [line.strip() for line in log.strip().splitlines() if line.strip()]
    last = RaisedError(type="", text=lines[-1] if lines else "it printed nothing")
    return Failure(cause=Cause.UNKNOWN, error=last)


def _candidates(
    endings: Sequence[Sequence[RaisedError]], log: str
) -> Iterator[Sequence[RaisedError]]:
    """Yield what may show the cause, the most telling first."""
    yield from reversed(endings)
    yield from reversed(parse_tracebacks(log))
    lines = [line.strip() for line in log.strip().splitlines() if line.strip()]
    for line in reversed(lines[-_LOG_LINES:]):
        yield (RaisedError(type="", text=line[:500]),)
