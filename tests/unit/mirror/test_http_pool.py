"""Opening URLs: credentials, statuses, and no retries."""

from __future__ import annotations

import base64
import ssl
import subprocess
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from urllib3.exceptions import HTTPError

from mirror.core.errors import InputError
from mirror.http_pool import bypasses_proxy, check_proxies, create_tls_context, find_proxy, open_url


def test_sends_the_credentials_of_the_url(httpserver: HTTPServer) -> None:
    token = base64.b64encode(b"ada:a b").decode()
    httpserver.expect_request("/x", headers={"Authorization": f"Basic {token}"}).respond_with_data(
        b"content"
    )
    url = httpserver.url_for("/x").replace("://", "://ada:a%20b@")
    with open_url(url, timeout=10) as response:
        assert response.read() == b"content"


@pytest.mark.parametrize("status", [204, 401, 404, 429, 500, 503])
def test_refuses_any_status_but_200_at_once(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_request("/x").respond_with_data(b"", status=status)
    with pytest.raises(HTTPError), open_url(httpserver.url_for("/x"), timeout=10):
        pass
    assert len(httpserver.log) == 1, "not tried again"


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxy in the environment; the test sets some."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "expected"),
    [
        ("10.0.0.0/8,.svc", "10.1.2.3", 8081, True),
        ("10.0.0.0/8", "11.1.2.3", None, False),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("10.1.2.3", "10.1.2.30", 80, False),
        ("fd00::/8", "fd00::7", None, True),
        ("[fd00::7]:8080", "fd00::7", 8080, True),
        ("[fd00::7]:8080", "fd00::7", 80, False),
        ("fd00::7", "fd00::7", 80, True),
        (".svc", "mirror.ns.svc", None, True),
        (".svc", "svc", None, True),
        ("*.corp.example", "a.corp.example", None, True),
        ("corp.example", "a.corp.example", None, True),
        ("corp.example", "notcorp.example", None, False),
        ("CORP.example.", "a.corp.EXAMPLE", None, True),
        ("corp.example:8080", "a.corp.example", 8080, True),
        ("corp.example:8080", "a.corp.example", 443, False),
        ("a.example b.example", "b.example", None, True),
        ("*", "anything.example", None, True),
        ("", "anything.example", None, False),
        (" , ,", "anything.example", None, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int | None, expected: bool) -> None:
    assert bypasses_proxy(host, port, no_proxy) == expected


def test_finds_the_proxy_of_a_url(proxies: pytest.MonkeyPatch) -> None:
    assert find_proxy("https://index.example/") == ""
    proxies.setenv("ALL_PROXY", "proxy.example:3128")
    proxies.setenv("https_proxy", "http://tls-proxy.example:3128")
    proxies.setenv("NO_PROXY", "10.0.0.0/8")
    assert find_proxy("http://index.example/") == "http://proxy.example:3128"
    assert find_proxy("https://index.example/") == "http://tls-proxy.example:3128"
    assert find_proxy("https://10.1.2.3:8443/simple/") == ""


@pytest.mark.parametrize("variable", ["https_proxy", "ALL_PROXY"])
def test_names_the_variable_of_a_socks_proxy(proxies: pytest.MonkeyPatch, variable: str) -> None:
    proxies.setenv(variable, "socks5h://127.0.0.1:1080")
    with pytest.raises(InputError, match=f"{variable.lower()} names a socks5h proxy"):
        check_proxies()


def make_certificates(folder: Path) -> None:
    """A company's authority without key usage, and a leaf without an authority key identifier."""
    script = """
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -days 30 -out ca.pem \\
            -subj "/CN=Company" -addext basicConstraints=CA:TRUE
        openssl req -newkey rsa:2048 -nodes -keyout leaf.key -subj /CN=127.0.0.1 -out leaf.csr
        printf 'subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=none\n' > leaf.ext
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \\
            -extfile leaf.ext -out leaf.pem
    """
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True, capture_output=True)


def test_a_named_authority_is_trusted_as_older_pythons_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 refuses such certificates by default; the system's authorities stay trusted."""
    make_certificates(tmp_path)
    create_default = ssl.create_default_context

    def create_strict() -> ssl.SSLContext:
        context = create_default()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create_strict)
    context = create_tls_context(str(tmp_path / "ca.pem"))
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == len(create_default().get_ca_certs()) + 1
    assert create_tls_context(None).verify_flags & ssl.VERIFY_X509_STRICT
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tmp_path / "leaf.pem", tmp_path / "leaf.key")
    client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    server = server_context.wrap_bio(server_in, server_out, server_side=True)
    finished = 0
    for _ in range(4):
        for side, source, target in ((client, outgoing, server_in), (server, server_out, incoming)):
            try:
                side.do_handshake()
                finished += 1
            except ssl.SSLWantReadError:
                pass
            target.write(source.read())
    assert finished >= 2, "the handshake fails"
