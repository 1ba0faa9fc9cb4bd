"""Why a program failed: a service that is not there is told from what the image lacks."""

from __future__ import annotations

import pytest

from images.failure import Cause, RaisedError, classify_error, explain_end, parse_tracebacks
from images.inside.raised import describe_chain

EXPECTED = ("mongo", "redis", "*.llm.example")


def raised(kind: type[BaseException] | str, text: str = "") -> RaisedError:
    if isinstance(kind, str):
        return RaisedError(type=kind, text=text, bases=(kind,))
    bases = tuple(base.__qualname__ for base in kind.__mro__)
    return RaisedError(type=kind.__qualname__, text=text, bases=bases)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (raised(ConnectionRefusedError, "[Errno 111] Connection refused"), Cause.SERVICE),
        (raised("ServerSelectionTimeoutError", "mongo:27017: no answer"), Cause.SERVICE),
        (raised("APIConnectionError", "Connection error."), Cause.SERVICE),
        (raised(RuntimeError, "Memory service creation failed: Connection error."), Cause.SERVICE),
        (raised("OperationalError", 'could not translate host name "db"'), Cause.SERVICE),
        (raised("OperationalError", "no such table: users"), None),
        (raised("OperationalError", "unable to open database file"), Cause.FILE),
        (raised(ModuleNotFoundError, "No module named 'yaml'"), Cause.MODULE),
        (raised(ImportError, "libGL.so.1: cannot open shared object file"), Cause.LIBRARY),
        (raised(Exception, "Could not find Opus library."), Cause.LIBRARY),
        (raised(FileNotFoundError, "[Errno 2] No such file: '/app/x.yaml'"), Cause.FILE),
        (raised(RuntimeError, "Memory configuration file not found: /app/x.yaml"), Cause.FILE),
        (raised(PermissionError, "[Errno 13] Permission denied: '/data'"), Cause.PERMISSION),
        (raised(KeyError, "'DATABASE_URL'"), Cause.SETTINGS),
        (raised(KeyError, "'name'"), None),
        (raised("ValidationError", "1 validation error\nurl\n  Field required"), Cause.SETTINGS),
        (raised("ImproperlyConfigured", "The SECRET_KEY setting is empty"), Cause.SETTINGS),
        (raised("", "set API_KEY to start the server"), Cause.SETTINGS),
        (raised(OSError, "couldn't connect to 'https://models.example.test'"), Cause.DOWNLOAD),
        (raised(OSError, "cannot connect to https://api.llm.example"), Cause.SERVICE),
        (raised("LocalEntryNotFoundError", "outgoing traffic is disabled"), Cause.DOWNLOAD),
        (raised(SyntaxError, "invalid syntax"), Cause.SYNTAX),
        (raised(OSError, "[Errno 99] Cannot assign requested address"), Cause.SERVICE),
        (raised("RedisError", "Error 99 connecting to localhost:6379."), Cause.SERVICE),
        (raised("Error", "connect EADDRNOTAVAIL ::1:5432"), Cause.SERVICE),
        (
            raised(
                "OperationalError",
                'connection to server at "localhost" (::1), port 5432 failed: '
                "Cannot assign requested address",
            ),
            Cause.SERVICE,
        ),
        (
            raised(
                OSError,
                "[Errno 99] error while attempting to bind on address ('::1', 8000, 0, 0): "
                "cannot assign requested address",
            ),
            Cause.ADDRESS,
        ),
        (raised(OSError, "[Errno 98] Address already in use"), Cause.ADDRESS),
        (raised("", "[1] [ERROR] Invalid address: ('::1', 8000)"), Cause.ADDRESS),
        (raised("", "[1] [ERROR] Can't connect to ('::1', 8000)"), Cause.ADDRESS),
        (raised("", "Can't connect to MySQL server on 'db' (111)"), Cause.SERVICE),
        (raised(RuntimeError, "startup failed"), None),
        (raised(ValueError, "bad"), None),
    ],
)
def test_an_exception_shows_its_cause(error: RaisedError, cause: Cause | None) -> None:
    assert classify_error(error, EXPECTED) is cause


def test_a_missing_program_is_not_a_missing_file() -> None:
    bases = ("FileNotFoundError", "OSError")
    program = RaisedError(type="FileNotFoundError", text="", bases=bases, path="ffmpeg")
    file = RaisedError(type="FileNotFoundError", text="", bases=bases, path="config.yaml")
    assert classify_error(program) is Cause.PROGRAM
    assert classify_error(file) is Cause.FILE


def chain_of(error: BaseException) -> tuple[RaisedError, ...]:
    """Return the chain as the hook sends it."""
    from images.failure import parse_chain

    return parse_chain(describe_chain(error))


def fail_with_service() -> BaseException:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise RuntimeError("memory cannot be created") from error
    except RuntimeError:
        try:
            raise SystemExit(1) from None
        except SystemExit as error:
            return error


def fail_with_fallback() -> BaseException:
    """A connection fails in the handler of an optional import."""
    try:
        try:
            raise ModuleNotFoundError("No module named 'uvloop'", name="uvloop")
        except ImportError:
            raise TimeoutError("timed out")  # noqa: B904 - as applications do
    except TimeoutError as error:
        return error


def test_the_cause_is_that_of_the_outermost_exception_that_shows_one() -> None:
    assert explain_end([chain_of(fail_with_service())], "").cause is Cause.SERVICE
    assert explain_end([chain_of(fail_with_fallback())], "").cause is Cause.SERVICE


def test_a_hint_at_settings_does_not_hide_a_failed_connection() -> None:
    hint = raised(RuntimeError, "no answer, check OPENAI_API_KEY and the environment variables")
    refused = raised(ConnectionRefusedError, "[Errno 111] Connection refused")
    assert explain_end([(hint, refused)], "").cause is Cause.SERVICE
    assert explain_end([(hint, raised(KeyError, "'OPENAI_API_KEY'"))], "").cause is Cause.SETTINGS
    missing = raised(RuntimeError, "file not found: /app/weights.bin")
    assert explain_end([(missing, refused)], "").cause is Cause.FILE


def test_an_exception_that_shows_nothing_is_not_explained_by_an_earlier_line() -> None:
    """Hiding a failed download behind a generic error must not look like a missing service."""
    log = "WARNING redis: connection refused, no cache\n"
    generic = chain_of(RuntimeError("startup failed"))
    assert explain_end([generic], log, EXPECTED).cause is Cause.UNKNOWN
    traceback = log + 'Traceback (most recent call last):\n  File "a"\nRuntimeError: no start\n'
    assert explain_end([], traceback, EXPECTED).cause is Cause.UNKNOWN


def test_a_program_that_only_exits_is_explained_by_its_log() -> None:
    log = "starting\nLLM provider unavailable\nexiting\n"
    assert explain_end([chain_of(SystemExit(1))], log).cause is Cause.SERVICE
    assert explain_end([], "starting\nexiting\n").cause is Cause.UNKNOWN


LOG = """\
INFO start
Traceback (most recent call last):
  File "/app/a.py", line 3, in <module>
    connect()
httpx.ConnectError: [Errno -2] Name or service not known

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/main.py", line 9, in <module>
    create()
app.errors.StartError: cannot start
ERROR: Application startup failed. Exiting.
"""


def test_reads_the_chain_of_a_traceback_in_a_log() -> None:
    (chain,) = parse_tracebacks(LOG)
    assert [error.type for error in chain] == ["StartError", "ConnectError"]
    assert explain_end([], LOG).error.text == "[Errno -2] Name or service not known"


def test_describes_hidden_causes_groups_and_cycles() -> None:
    try:
        try:
            raise KeyError("X")
        except KeyError:
            raise ValueError("hidden") from None
    except ValueError as error:
        assert [entry["type"] for entry in describe_chain(error)] == ["ValueError", "KeyError"]
    group = ExceptionGroup("several", [ConnectionResetError("x")])
    assert [entry["type"] for entry in describe_chain(group)][1] == "ConnectionResetError"
    cycle = ValueError("a")
    cycle.__context__ = RuntimeError("b")
    cycle.__context__.__context__ = cycle
    assert len(describe_chain(cycle)) == 2
