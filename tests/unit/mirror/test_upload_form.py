"""The upload form, as an HTTP server reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from mirror.client import IndexClient
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.upload_form import encode_form, read_metadata
from tests.wheels import make_wheel


def test_reads_the_metadata_of_a_wheel(tmp_path: Path) -> None:
    fields = read_metadata(make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n"))
    assert (fields["name"], fields["version"]) == ("house-lib", "1.0")
    assert fields["filetype"] == "bdist_wheel"


@pytest.mark.parametrize("name", ["missing.whl", "broken-1.0-py3-none-any.whl"])
def test_rejects_what_is_not_a_distribution(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken-1.0-py3-none-any.whl").write_text("no archive")
    with pytest.raises(InputError, match=r"no such file|neither a wheel"):
        read_metadata(tmp_path / name)


def test_sends_fields_and_file(httpserver: HTTPServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000  # several blocks
    path = tmp_path / "lib-1.0+cpu.tar.gz"
    path.write_bytes(content)

    def check_request(request: Request) -> Response:
        assert request.form.getlist("classifiers") == ["a", "b"]
        assert request.form["summary"] == "für alle"
        assert request.files["content"].filename == path.name
        assert request.files["content"].read() == content
        return Response("{}")

    httpserver.expect_request("/upload", method="POST").respond_with_handler(check_request)
    body, headers = encode_form({"classifiers": ["a", "b"], "summary": "für alle"}, path)
    with IndexClient(httpserver.url_for("").rstrip("/"), Deadline.after(30)) as client:
        client._send("POST", "/upload", body=body, headers=headers)
    httpserver.check_assertions()
