"""The front: settings → nginx configuration. Pure."""

from __future__ import annotations

from pathlib import PurePath

from mirror.settings import MAX_UPLOAD

_JSON = "application/vnd.pypi.simple.v1+json"
_JSON_PATTERN = _JSON.replace(".", r"\.").replace("+", r"\+")

HEALTH_PORT = 3143  # probes ask here: never behind a queue of package requests


def argv(program: str, prefix: PurePath, config: PurePath) -> tuple[str, ...]:
    """Run in the foreground; complaints made before the configuration is read go to stderr."""
    return (program, "-p", str(prefix), "-c", str(config), "-e", "stderr")


def render(
    *,
    listen: str,
    backend_port: int,
    scratch: PurePath,
    health: str | None = None,
    user: str | None = None,
) -> str:
    """The whole configuration.

    ``listen`` and ``health`` are host:port; ``scratch`` a writable folder for temporary files.
    ``user`` is for a master that runs as root: its workers would be nobody, who may not enter.
    Clients must not shape pages for others: the headers by which devpi lets them are set here.

    devpi answers 404 to all but the first of several requests that ask for a new project at once
    (their transactions are older than the page). So a page is asked for once at a time, and a
    404 once more.
    """
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = (
        "daemon off;",
        *((f"user {user};",) if user else ()),
        "worker_processes 2;",
        f"pid {scratch}/nginx.pid;",
        "error_log stderr warn;",
        "events { worker_connections 2048; }",
        "http {",
        *(f"    {kind}_temp_path {scratch}/{kind};" for kind in temporary),
        f"    proxy_cache_path {scratch}/pages keys_zone=pages:10m max_size=256m inactive=10m"
        " use_temp_path=off;",
        "    access_log off;",
        "    server_tokens off;",
        "    sendfile on;",
        "    tcp_nopush on;",
        "    keepalive_timeout 75s;",
        f"    client_max_body_size {MAX_UPLOAD};",
        "    upstream devpi {",
        *(f"        server 127.0.0.1:{backend_port} max_fails=0;" for _ in range(2)),
        "        keepalive 8;",
        "    }",
        "    map $http_accept $page_type {",
        "        default text/html;",
        f"        ~{_JSON_PATTERN} {_JSON};",
        "    }",
        *(_health(health, f"http://127.0.0.1:{backend_port}") if health else ()),
        "    server {",
        f"        listen {listen};",
        "        proxy_http_version 1.1;",
        "        proxy_connect_timeout 5s;",
        "        proxy_read_timeout 600s;",
        "        proxy_send_timeout 600s;",
        "        proxy_request_buffering off;",
        "        proxy_max_temp_file_size 0;",
        "        proxy_next_upstream off;",
        "        location / {",
        "            proxy_pass http://devpi;",
        *_headers(),
        "        }",
        r"        location ~ ^/[^/]+/[^/]+/\+simple/[^/]+/$ {",
        "            proxy_pass http://devpi;",
        *_headers("Accept $page_type"),
        "            proxy_next_upstream http_404;",
        "            proxy_next_upstream_tries 2;",
        "            proxy_cache pages;",
        '            proxy_cache_key "$uri $page_type";',
        "            proxy_cache_valid 200 1s;",
        "            proxy_cache_lock on;",
        "            proxy_cache_lock_age 120s;",
        "            proxy_cache_lock_timeout 120s;",
        "            proxy_ignore_headers Vary Cache-Control Expires Set-Cookie X-Accel-Expires;",
        "        }",
        "    }",
        "}",
        "",
    )
    return "\n".join(lines)


def _headers(*more: str) -> tuple[str, ...]:
    """What devpi is told of a request; a location that sets one header has to set them all."""
    set_ = (
        'Connection ""',
        "Host $http_host",
        "X-Outside-URL $scheme://$http_host",
        'X-Devpi-Absolute-Urls ""',
        *more,
    )
    return tuple(f"            proxy_set_header {words};" for words in set_)


def _health(listen: str, backend: str) -> tuple[str, ...]:
    return (
        "    server {",
        f"        listen {listen};",
        '        location = /healthz { return 200 "ok\\n"; }',
        f"        location = /started {{ proxy_pass {backend}/+api; }}",
        "    }",
    )
