"""The front: settings → nginx configuration. Pure."""

from __future__ import annotations

from pathlib import PurePath

from mirror.settings import MAX_UPLOAD_BYTES, MIRROR_INDEX, WORKLOADS_INDEX

_JSON = "application/vnd.pypi.simple.v1+json"
_JSON_PATTERN = _JSON.replace(".", r"\.").replace("+", r"\+")

HEALTH_PORT = 3143  # probes ask here: never behind a queue of package requests


def build_argv(program: str, prefix: PurePath, config: PurePath) -> tuple[str, ...]:
    """Run in the foreground; complaints made before the configuration is read go to stderr."""
    return (program, "-p", str(prefix), "-c", str(config), "-e", "stderr")


def render_config(
    *,
    listen: str,
    devpi_port: int,
    cache_port: int,
    data: PurePath,
    scratch: PurePath,
    health: str | None = None,
    user: str | None = None,
) -> str:
    """The whole configuration.

    ``listen`` and ``health`` are host:port; ``data`` the folder that holds ``public`` and
    ``private``, ``scratch`` a writable one for temporary files. ``user`` is for a master that runs
    as root: its workers would be nobody, who may not enter.

    A name with a marker is devpi's. Everything else is a file on the volume, or asked of the
    program of mirror.cache, which answers with a file on the volume: no page is cached here, and
    nothing that a client sends but its path and whether it takes JSON has a part in the answer.
    """
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = (
        "daemon off;",
        *((f"user {user};",) if user else ()),
        "worker_processes 2;",
        f"pid {scratch}/nginx.pid;",
        "error_log stderr warn;",
        "events { worker_connections 4096; }",
        "http {",
        *(f"    {kind}_temp_path {scratch}/{kind};" for kind in temporary),
        "    access_log off;",
        "    server_tokens off;",
        "    sendfile on;",
        "    tcp_nopush on;",
        "    keepalive_timeout 75s;",
        "    keepalive_requests 10000;",
        f"    client_max_body_size {MAX_UPLOAD_BYTES};",
        "    default_type application/octet-stream;",
        *_upstream("devpi", devpi_port, keepalive=8),
        *_upstream("public", cache_port, keepalive=32),
        f"    map $http_accept $kind {{ default html; ~{_JSON_PATTERN} json; }}",
        f"    map $kind $accept {{ default text/html; json {_JSON}; }}",
        *(_health(health) if health else ()),
        "    server {",
        f"        listen {listen} backlog=4096;",
        f"        root {data}/public;",
        "        proxy_http_version 1.1;",
        "        proxy_connect_timeout 5s;",
        "        proxy_read_timeout 600s;",
        "        proxy_send_timeout 600s;",
        "        proxy_request_buffering off;",
        "        proxy_max_temp_file_size 0;",
        "        proxy_next_upstream off;",
        *_location("/", *_DEVPI),
        *_location("@devpi", *_DEVPI),
        *_location("@public", *_PUBLIC, "error_page 502 504 = @kept"),
        *_location("@public_file", *_PUBLIC),
        *_location("@late", "return 503"),
        # the program is gone: pages of any age are better than none
        *_location("@kept", *_AS_PAGE, "try_files /pages/$project.$kind =503"),
        *_location(
            rf"~ ^/{_INDEX[1]}/\+simple/(?<project>{_NAME})/$",
            f"if (-e {data}/private/$project) {{ return 418; }}",
            "error_page 418 = @devpi",
            "error_page 404 = @public",  # its time ended between two looks
            *_AS_PAGE,
            "try_files /fresh/$project.$kind @public",
        ),
        *_location(
            rf"~ ^/{_INDEX[0]}/\+simple/(?<project>{_NAME})/$",
            "error_page 404 = @public",
            *_AS_PAGE,
            "try_files /fresh/$project.$kind @public",
        ),
        # another spelling of a name: redirected
        *_location(rf"~ ^/(?:{'|'.join(_INDEX)})/\+simple/[^/]+/?$", *_PUBLIC),
        *_location(
            rf"~ ^/{_INDEX[0]}/\+f/(?<file>{_NAME}/(?:url-)?[0-9a-f]{_HEX}/[^/]+)$",
            "error_page 404 = @public_file",
            *_AS_FILE,
            "try_files /files/$file @public_file",
        ),
        *_location("/+held/pages/", "internal", *_AS_PAGE, f"alias {data}/public/pages/", _LATE),
        *_location("/+held/files/", "internal", *_AS_FILE, f"alias {data}/public/files/", _LATE),
        *_location("= /+mirror/status", *_PUBLIC),
        *_location("= /+mirror/requests", "stub_status"),
        "    }",
        "}",
        "",
    )
    return "\n".join(lines)


_INDEX = (MIRROR_INDEX, WORKLOADS_INDEX)
_LATE = "error_page 404 =503 @late"  # removed between two looks; never "there is no such thing"
_NAME = "[a-z0-9]+(?:-[a-z0-9]+)*"  # as PEP 503 normalises it
_HEX = "{64}"
_DEVPI = (
    "proxy_pass http://devpi",
    'proxy_set_header Connection ""',
    "proxy_set_header Host $http_host",
    # by these a client could have pages made for others; devpi's pages have relative links
    "proxy_set_header X-Outside-URL $scheme://$http_host",
    'proxy_set_header X-Devpi-Absolute-Urls ""',
)
# no body goes to a program that reads none: it would be taken for the next request
_NO_BODY = ("proxy_pass_request_body off", 'proxy_set_header Content-Length ""')
_PUBLIC = (
    "proxy_pass http://public",
    "proxy_pass_request_headers off",
    *_NO_BODY,
    'proxy_set_header Connection ""',
    "proxy_set_header Host public",
    "proxy_set_header Accept $accept",
)
# clients ask again whether a page has changed: what was uploaded is seen by the next request
_AS_PAGE = (
    f"types {{ {_JSON} json; text/html html; }}",
    "charset utf-8",
    "gzip_static on",
    "gzip_vary on",
    "add_header Cache-Control no-cache",
    "add_header Vary Accept",
)
_AS_FILE = ("types { }", 'add_header Cache-Control "max-age=31536000, immutable"')


def _location(where: str, *words: str) -> tuple[str, ...]:
    """A location; quoted, since a pattern may hold braces."""
    kind, _, pattern = where.rpartition(" ")
    name = f'{kind} "{pattern}"' if kind else f'"{pattern}"' if pattern[0] == "/" else pattern
    body = (f"            {one}{'' if one.endswith('}') else ';'}" for one in words)
    return (f"        location {name} {{", *body, "        }")


def _upstream(name: str, port: int, *, keepalive: int) -> tuple[str, ...]:
    return (
        f"    upstream {name} {{",
        f"        server 127.0.0.1:{port} max_fails=0;",
        f"        keepalive {keepalive};",
        "    }",
    )


def _health(listen: str) -> tuple[str, ...]:
    return (
        "    server {",
        f"        listen {listen};",
        *(f"        {directive};" for directive in _NO_BODY),
        '        location = /healthz { return 200 "ok\\n"; }',
        "        location = /started { proxy_pass http://devpi/+api; }",
        "        location = /public { proxy_pass http://public/healthz; }",
        "    }",
    )
