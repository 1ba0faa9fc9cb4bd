"""Faults of the machine and of API servers: none is called a bug, and each names its cause."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mirror.store import inventory
from tests.cluster.kubeconfig import write_kubeconfig
from tests.unit.cli.run_command import CommandResult, run_command

CASES = Path(__file__).parents[1] / "cases/checks"
PAGE = "<html><head><title>Sign in</title></head><body>Welcome</body></html>"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


# -- this machine ---------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_created(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/sys/nowhere")
    result = run_command(monkeypatch, "mirror", "up", "--local")
    assert result.code == 3
    assert "cannot use /sys/nowhere" in result.err
    assert result.get_line("next").endswith("/sys/nowhere")


@pytest.mark.parametrize("command", ["up", "down --purge --yes", "verify", "list"])
def test_a_file_in_place_of_the_data_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    data = home / "data/pypi-mirror"
    data.parent.mkdir()
    data.touch()
    result = run_command(monkeypatch, "mirror", *command.split(), "--local")
    assert result.code == 3
    assert str(data) in result.err
    assert "bug" not in result.err


def test_a_data_folder_that_cannot_be_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, permissions do not count: the system's answer is imitated."""
    data = home / "data/pypi-mirror"
    data.mkdir(parents=True)

    def refuse(_: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(data / "devpi"))

    monkeypatch.setattr(inventory, "iter_uploads", refuse)
    result = run_command(monkeypatch, "mirror", "list", "--local")
    assert (result.code, result.get_line("why")) == (3, "Permission denied")
    assert result.get_line("next") == f"see who may use it: namei -l {data}/devpi"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ('{"port": "3141"}', "$.port is str '3141', not int"),
        ('{"port": null}', "$.port is NoneType 'None', not int"),
        ('{"prot": 3141}', "unknown key prot"),
        ("[]", "it is a list"),
        ('{"upstream": 5}', "$.upstream"),
        ('{"port": 80}', "not a usable port: 80"),
        ("{", "Expecting property name"),
    ],
)
def test_settings_of_a_wrong_type(
    home: Path, monkeypatch: pytest.MonkeyPatch, settings: str, why: str
) -> None:
    path = home / "config/pypi-mirror/local.json"
    path.parent.mkdir(parents=True)
    path.write_text(settings)
    result = run_command(monkeypatch, "mirror", "status", "--local")
    assert result.code == 2
    assert str(path) in result.err
    assert why in result.get_line("why")


def run_doctor(*options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    evidence = CASES / "field/evidence.json"
    script = "import sys; from cli.mirror import main; sys.argv[0] = 'mirror'; main()"
    return subprocess.run(
        [sys.executable, "-c", script, "doctor", "--from", str(evidence), *options],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_output_in_a_narrow_encoding() -> None:
    plain = run_doctor(PYTHONIOENCODING="ascii")
    assert plain.returncode == 1
    assert b"x 1. search domain communityfibre.co.uk is poisoned" in plain.stdout
    assert plain.stdout.isascii()
    narrow = json.loads(run_doctor("-o", "json", PYTHONIOENCODING="ascii").stdout)
    assert narrow == json.loads(run_doctor("-o", "json", PYTHONIOENCODING="utf-8").stdout)


@pytest.mark.parametrize("script", ["mirror --help > /dev/full", "mirror --help >&-"])
def test_output_that_cannot_be_written(script: str) -> None:
    program = "import sys; from cli.mirror import main; sys.argv[0] = 'mirror'; main()"
    command = script.replace("mirror", f'"{sys.executable}" -c "{program}"')
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    is_full = "/dev/full" in script
    assert done.returncode == (3 if is_full else 0)
    assert ("No space left on device" in done.stderr) == is_full
    assert "Traceback" not in done.stderr


def test_output_that_cannot_be_written_at_the_end() -> None:
    """A short output waits in Python's buffer until the command has ended."""
    program = (
        "import click, sys; from cli import errors; "
        "errors.run(click.Command('x', callback=lambda: sys.stdout.write('x') and None), 'x')"
    )
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{program}" > /dev/full'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1", "TERM": "xterm"}, {"NO_COLOR": "", "TERM": "dumb"}]
)
def test_no_color_on_a_terminal(environment: dict[str, str]) -> None:
    colored = run_on_terminal({"NO_COLOR": "", "TERM": "xterm"})
    assert "\x1b[31m" in colored
    assert "error: " in run_on_terminal(environment)
    assert "\x1b[" not in run_on_terminal(environment)


def run_on_terminal(environment: dict[str, str]) -> str:
    """Run a command that fails on a terminal, and return what appears there."""
    leader, follower = os.openpty()
    program = "import sys; from cli.mirror import main; sys.argv[0] = 'mirror'; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "up", "--size", "20Gigs"],
        env={**os.environ, **environment},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                text += os.read(leader, 4096)
            except OSError:  # Linux: the other end is closed
                break
        process.wait(60)
    os.close(leader)
    return text.decode()


# -- API servers ----------------------------------------------------------------------------------


class _Stub(BaseHTTPRequestHandler):
    """Answers every request the same way."""

    answer: tuple[int, str, str] = (200, "text/html", PAGE)

    def _respond(self) -> None:
        status, content_type, body = self.answer
        if status == 0:
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = do_PATCH = do_DELETE = do_CONNECT = _respond

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve(
    answer: tuple[int, str, str], certificate: tuple[Path, Path] | None = None
) -> Iterator[int]:
    """Serve the answer on a port of 127.0.0.1, over TLS with a certificate and its key."""
    handler = type("_StubHandler", (_Stub,), {"answer": answer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandResult]:
    """Run `mirror status` on a server."""
    monkeypatch.delenv("HTTPS_PROXY", raising=False)

    def run(server: str, *options: str, ca: Path | None = None) -> CommandResult:
        path = write_kubeconfig(
            tmp_path / "config", name="x", server=server, user="u", token="t", authority=ca
        )
        words = ("mirror", "status", "--kubeconfig", str(path), *options)
        return run_command(monkeypatch, *words)

    return run


def status_body(code: int, reason: str, message: str) -> str:
    return json.dumps(
        {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    )


@pytest.mark.parametrize(
    ("answer", "what", "why", "next_step"),
    [
        (
            (200, "text/html", PAGE),
            "is not a Kubernetes API server",
            "it answers GET /version with a web page (Sign in)",
            "check `server:` in the kubeconfig",
        ),
        (
            (404, "text/html", PAGE),
            "is not a Kubernetes API server",
            "GET /version: 404, a web page (Sign in)",
            "check `server:` in the kubeconfig",
        ),
        (
            (200, "application/json", '{"hello": 1}'),
            "is not a Kubernetes API server",
            "it answers GET /version with",
            "check `server:` in the kubeconfig",
        ),
        (
            (200, "text/plain", ""),
            "is not a Kubernetes API server",
            "it answers GET /version with ''",
            "check `server:` in the kubeconfig",
        ),
        (
            (500, "application/json", status_body(500, "InternalError", "etcd is gone")),
            "the API server failed at GET /version (500)",
            "etcd is gone",
            "get --raw '/readyz?verbose'",
        ),
        (
            (503, "text/plain", "apiserver not ready"),
            "the API server failed at GET /version (503)",
            "apiserver not ready",
            "get --raw '/readyz?verbose'",
        ),
        (
            (429, "application/json", status_body(429, "TooManyRequests", "too many requests")),
            "the API server refused GET /version (429)",
            "too many requests",
            "wait, and run the command again",
        ),
        (
            (401, "application/json", status_body(401, "Unauthorized", "Unauthorized")),
            "(401)",
            "Unauthorized",
            "log in again for context x",
        ),
        (
            (403, "application/json", status_body(403, "Forbidden", "u cannot get /version")),
            "(403)",
            "u cannot get /version",
            "auth can-i --list",
        ),
        (
            (400, "text/plain", "Client sent an HTTP request to an HTTPS server.\n"),
            "expects TLS",
            "HTTP request to an HTTPS server",
            "write https:// in `server:`",
        ),
        ((0, "", ""), "does not answer", "closed without a response", "get --raw /readyz"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else None,
)
def test_answers_of_a_server(
    status: Callable[..., CommandResult],
    answer: tuple[int, str, str],
    what: str,
    why: str,
    next_step: str,
) -> None:
    with serve(answer) as port:
        result = status(f"http://127.0.0.1:{port}")
    assert result.code == 3
    assert what in result.err.splitlines()[0]
    assert why in result.get_line("why")
    assert next_step in result.get_line("next")
    assert "<html" not in result.err


def run_openssl(*argv: str) -> None:
    subprocess.run(["openssl", *argv], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Return a maker of self-signed certificates with openssl's options."""
    folder = tmp_path_factory.mktemp("pki")

    def make(name: str, *options: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        subject = ("-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate))
        *others, days = options
        run_openssl("req", "-x509", *curve, *subject, *others, "9")
        if days == EXPIRED:  # `req` makes no certificate of the past
            again = ("-signkey", str(key), "-days", days, "-out", str(certificate))
            run_openssl("x509", "-in", str(certificate), *again)
        return certificate, key

    return make


EXPIRED = "0"
LOCAL = ("-addext", "subjectAltName=IP:127.0.0.1")


@pytest.mark.parametrize(
    ("options", "is_trusted", "why", "next_step"),
    [
        (
            ("-addext", "subjectAltName=DNS:kubernetes", "-days", "9"),
            True,
            "IP address mismatch",
            "-ext subjectAltName",
        ),
        (
            (*LOCAL, "-days", EXPIRED),
            True,
            "certificate has expired",
            "kubeadm certs renew apiserver",
        ),
        ((*LOCAL, "-days", "9"), False, "certificate", "certificate-authority-data"),
    ],
    ids=["wrong name", "expired", "unknown CA"],
)
def test_certificates_that_cannot_be_trusted(
    status: Callable[..., CommandResult],
    certificates: Callable[..., tuple[Path, Path]],
    options: tuple[str, ...],
    is_trusted: bool,
    why: str,
    next_step: str,
) -> None:
    made = certificates("server", *options)
    other, _ = certificates("other", *LOCAL, "-days", "9")
    with serve((200, "application/json", "{}"), made) as port:
        result = status(f"https://127.0.0.1:{port}", ca=made[0] if is_trusted else other)
    assert result.code == 3
    assert "cannot be trusted" in result.err
    assert result.get_line("why").startswith("TLS: ")
    assert why in result.get_line("why")
    assert next_step in result.get_line("next")


def test_a_server_without_tls(status: Callable[..., CommandResult]) -> None:
    with serve((200, "text/html", PAGE)) as port:
        result = status(f"https://127.0.0.1:{port}")
    assert result.code == 3
    assert result.get_line("why") == f"127.0.0.1:{port} does not speak TLS"
    assert "scheme" in result.get_line("next")


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("https://127.0.0.1:1", "connection refused: nothing listens there"),
        ("https://no-such-host.invalid:6443", "the name no-such-host.invalid does not resolve"),
    ],
)
def test_a_server_that_is_not_there(
    status: Callable[..., CommandResult], server: str, why: str
) -> None:
    result = status(server)
    assert (result.code, result.get_line("why")) == (3, why)
    assert "kubectl --kubeconfig " in result.get_line("next")


def test_a_proxy_that_is_not_there(
    status: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hidden@127.0.0.1:1")
    result = status("https://192.0.2.1:6443")
    assert result.code == 3
    assert "the proxy http://127.0.0.1:1 was asked" in result.get_line("why")
    assert "export NO_PROXY=$NO_PROXY,192.0.2.1" in result.get_line("next")
    assert "hidden" not in result.err


def test_a_proxy_that_refuses(
    status: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve((403, "text/html", PAGE)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        result = status("https://192.0.2.1:6443")
    assert result.code == 3
    assert f"the proxy http://127.0.0.1:{port} was asked" in result.get_line("why")
    assert "403" in result.get_line("why")


def test_a_server_that_never_answers_times_out(status: Callable[..., CommandResult]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        result = status(f"http://127.0.0.1:{port}", "--timeout", "1")
    assert result.code == 4
    assert "timed out: no response to GET /version from context x" in result.err
    assert "--timeout" in result.get_line("next")
