"""What is said about a websocket that the API server refused."""

from __future__ import annotations

import pytest
from kubernetes.client.exceptions import ApiException

from deploy.cluster.websockets import describe_refusal, websocket_permissions

FORBIDDEN = 'pods "p" is forbidden: User "u" cannot get resource "pods/exec"'
# the text of the client of websockets 1.9 about an answer of Kubernetes 1.34
REFUSED = (
    "Handshake status 403 Forbidden -+-+- {'content-type': 'application/json'} -+-+- "
    '{"kind":"Status","status":"Failure","message":"pods \\"p\\" is forbidden: User \\"u\\" '
    'cannot get resource \\"pods/exec\\"","reason":"Forbidden","code":403}\n'
)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (REFUSED, FORBIDDEN),
        (
            "Handshake status 502 Bad Gateway -+-+- {} -+-+- None",
            "Handshake status 502 Bad Gateway",
        ),
        ("Handshake status 500 X -+-+- {} -+-+- [1]", "Handshake status 500 X"),
        ("[Errno 111] Connection refused", "[Errno 111] Connection refused"),
        (None, "(0)"),
    ],
)
def test_says_what_the_api_server_said(reason: str | None, said: str) -> None:
    assert describe_refusal(ApiException(status=0, reason=reason)) == said


def test_other_errors_have_their_first_line() -> None:
    assert describe_refusal(OSError("broken pipe\nmore")) == "broken pipe"


def test_asks_for_what_old_and_new_versions_check() -> None:
    rights = [str(right) for right in websocket_permissions("exec", "web")]
    assert rights == ["get pods/exec in namespace web", "create pods/exec in namespace web"]
