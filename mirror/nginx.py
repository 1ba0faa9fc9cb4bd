"""The front: settings → nginx configuration. Pure."""

from __future__ import annotations

from pathlib import PurePath

from mirror.settings import MAX_UPLOAD

HEALTH_PORT = 3143  # probes ask here: never behind a queue of package requests


def argv(program: str, prefix: PurePath, config: PurePath) -> tuple[str, ...]:
    """Run in the foreground; complaints made before the configuration is read go to stderr."""
    return (program, "-p", str(prefix), "-c", str(config), "-e", "stderr")


def render(*, listen: str, backend_port: int, scratch: PurePath, health: str | None) -> str:
    """The whole configuration.

    ``listen`` and ``health`` are host:port; ``scratch`` a writable folder for temporary files.
    Clients must not shape pages for others: the headers by which devpi lets them are set here.
    """
    backend = f"http://127.0.0.1:{backend_port}"
    return "\n".join(
        (
            "daemon off;",
            "worker_processes 2;",
            f"pid {scratch}/nginx.pid;",
            "error_log stderr warn;",
            "events { worker_connections 2048; }",
            "http {",
            *(
                f"    {kind}_temp_path {scratch}/{kind};"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            ),
            "    access_log off;",
            "    server_tokens off;",
            "    sendfile on;",
            "    tcp_nopush on;",
            "    keepalive_timeout 75s;",
            f"    client_max_body_size {MAX_UPLOAD};",
            f"    upstream devpi {{ server 127.0.0.1:{backend_port}; keepalive 8; }}",
            *(_health(health, backend) if health else ()),
            "    server {",
            f"        listen {listen};",
            "        location / {",
            "            proxy_pass http://devpi;",
            "            proxy_http_version 1.1;",
            '            proxy_set_header Connection "";',
            "            proxy_set_header Host $http_host;",
            "            proxy_set_header X-Outside-URL $scheme://$http_host;",
            '            proxy_set_header X-Devpi-Absolute-Urls "";',
            "            proxy_connect_timeout 5s;",
            "            proxy_read_timeout 600s;",
            "            proxy_send_timeout 600s;",
            "            proxy_request_buffering off;",
            "            proxy_max_temp_file_size 0;",
            "        }",
            "    }",
            "}",
            "",
        )
    )


def _health(listen: str, backend: str) -> tuple[str, ...]:
    return (
        "    server {",
        f"        listen {listen};",
        '        location = /healthz { return 200 "ok\\n"; }',
        f"        location = /started {{ proxy_pass {backend}/+api; }}",
        "    }",
    )
