"""nginx, the proxy that clients talk to: its command line and its configuration. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from mirror.settings import (
    MAX_UPLOAD_BYTES,
    MIRROR_INDEX,
    OWN_USER_AGENT,
    SIMPLE_JSON,
    WORKLOADS_INDEX,
)
from mirror.upstreams import UPSTREAM_PATH
from mirror.volume import (
    FILES,
    FRESH,
    PACKAGES,
    PAGES,
    PRIVATE,
    PUBLIC,
    SHOWN,
    UPSTREAMS,
    URL_PREFIX,
)

LOGGED_KINDS = ("page", "file", "private")  # of requests; private: those that devpi answers
HEALTH_PORT = 3143  # of probes: their requests never queue behind those of clients
REQUEST_LOG = "requests.log"  # in the scratch folder; the cache counts and truncates it

_JSON_PATTERN = SIMPLE_JSON.replace(".", r"\.").replace("+", r"\+")
_INDEX = (MIRROR_INDEX, WORKLOADS_INDEX)
_NAME = "[a-z0-9]+(?:-[a-z0-9]+)*"  # a normalized project name (PEP 503)
_UPSTREAM = "[a-z0-9-]+"  # its name
_DIGEST_PATH = "[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}"  # BLAKE2b-256
_FOLDER = f"(?:{URL_PREFIX})?[0-9a-f]{{64}}"
# a file may be removed between two lookups; the client must not take that for "no such file"
_RETRY_LATER = "error_page 404 =503 @retry_later"


def _log_as(kind: str) -> str:
    """Return the directive that logs requests as of one kind. All share one buffered file."""
    # a relative name: one with a "$" would be a variable, and such a log has no buffer
    return f"access_log {REQUEST_LOG} {kind} buffer=16k flush=1s if=$is_counted"


_LOG_PAGE, _LOG_FILE = _log_as("page"), _log_as("file")
_DEVPI = (
    # a page of somebody else's may have made its name lead here (DNS rebinding)
    "if ($is_known_host = 0) { return 421; }",
    _log_as("private"),
    "proxy_pass http://devpi",
    'proxy_set_header Connection ""',
    "proxy_set_header Host $http_host",
    # set here, since a client could use them to change pages that others get; links are relative
    "proxy_set_header X-Outside-URL $scheme://$http_host",
    'proxy_set_header X-Devpi-Absolute-Urls ""',
)
# the cache reads no bodies: it would take their bytes for the connection's next request
_NO_BODY = ("proxy_pass_request_body off", 'proxy_set_header Content-Length ""')
_CACHE = (
    "proxy_pass http://public",
    "proxy_pass_request_headers off",
    *_NO_BODY,
    'proxy_set_header Connection ""',
    "proxy_set_header Host public",
    "proxy_set_header Accept $http_accept",
)
# what the Accept header says where no q-values have to be compared (RFC 9110); the cache decides
# the rest: the form "negotiate" never exists as a file
_FORMS = (
    "default negotiate",
    rf'"~*(?:^|,)\s*{_JSON_PATTERN}\s*(?:,|$)" json',
    r'"~*^\s*(?:text/html|\*/\*)\s*$" html',
    '"" html',
)
# an attacker's web page can only use names that public DNS answers, never a literal address
_KNOWN_HOSTS = (
    "default 0",
    r'"~*^(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\])(?::[0-9]+)?$" 1',
    r'"~*^(?:[a-z0-9-]+|(?:[a-z0-9-]+\.)+(?:svc|localhost|cluster\.local))(?::[0-9]+)?$" 1',
)
_COUNTED_AGENTS = ("default 1", f'"{OWN_USER_AGENT}" 0')
# with no-cache, clients ask each time whether a page has changed, and see new uploads at once
_AS_PAGE = (
    _LOG_PAGE,
    f"types {{ {SIMPLE_JSON} json; text/html html; }}",
    "charset utf-8",
    "gzip_static on",
    "gzip_vary on",
    "add_header Cache-Control no-cache",
    "add_header Vary Accept",
)
_AS_FILE = (_LOG_FILE, "types { }", 'add_header Cache-Control "max-age=31536000, immutable"')
_SERVE_FRESH = (*_AS_PAGE, f"try_files /{FRESH}/$project.$form @public")


def build_argv(program: str, prefix: PurePath, config: PurePath) -> tuple[str, ...]:
    """Return the command that runs nginx; errors before it has read ``config`` go to stderr."""
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
    has_rules: bool = False,
    allowed_hosts: Sequence[str] = (),
) -> str:
    """Render nginx.conf.

    ``listen`` and ``health`` are host:port, ``data`` is the data folder, ``scratch`` a writable
    folder for temporary files. ``user`` is for a master process that runs as root: its workers
    would run as nobody, who cannot read the data. ``has_rules``: several upstreams or a
    policy decide what a page is; if the cache is down, only those that it published are sent.
    ``allowed_hosts`` are names besides those of the cluster, such as an Ingress's.

    Requests for a name with a marker go to devpi. All others are answered with a file on the
    volume; if it is missing or expired, the cache is asked and names one. nginx caches no pages,
    and of what a client sends only the path and whether it accepts JSON affect the response.
    """
    public = data / PUBLIC
    markers = _quote(data / PRIVATE, "/$project")
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = (
        "daemon off;",
        *((f"user {user};",) if user else ()),
        "worker_processes 2;",
        f"pid {_quote_literally(scratch / 'nginx.pid')};",
        "error_log stderr warn;",
        "worker_rlimit_nofile 8192;",
        "events { worker_connections 4096; }",
        "http {",
        *(f"    {kind}_temp_path {_quote_literally(scratch / kind)};" for kind in temporary),
        "    access_log off;",
        *(
            f"    log_format {kind} '{kind} $status $body_bytes_sent $upstream_status';"
            for kind in LOGGED_KINDS
        ),
        "    server_tokens off;",
        "    sendfile on;",
        "    tcp_nopush on;",
        "    client_header_timeout 20s;",
        "    client_body_timeout 60s;",
        "    send_timeout 60s;",
        "    large_client_header_buffers 4 8k;",
        "    keepalive_timeout 75s;",
        "    keepalive_requests 10000;",
        f"    client_max_body_size {MAX_UPLOAD_BYTES};",
        "    default_type application/octet-stream;",
        f"    upstream devpi {{ server 127.0.0.1:{devpi_port} max_fails=0; keepalive 8; }}",
        f"    upstream public {{ server 127.0.0.1:{cache_port} max_fails=0; keepalive 32; }}",
        '    geo $dollar { default "$"; }',  # a path may hold one, and nothing quotes it
        *_render_map("$http_accept $form", _FORMS),
        "    map $form $stored_form { default html; json json; }",
        *_render_map(
            "$http_host $is_known_host", (*_KNOWN_HOSTS, *map(_match_host, allowed_hosts))
        ),
        *_render_map("$http_user_agent $is_counted", _COUNTED_AGENTS),
        *_render_map("$http_accept $wants_html", ("default 0", r'"~*(?:^|,)\s*text/html" 1')),
        *(_render_health_server(health) if health else ()),
        "    server {",
        f"        listen {listen} backlog=4096;",
        f"        root {_quote(public)};",
        "        proxy_http_version 1.1;",
        "        proxy_connect_timeout 5s;",
        "        proxy_read_timeout 600s;",
        "        proxy_send_timeout 600s;",
        "        proxy_request_buffering off;",
        "        proxy_max_temp_file_size 0;",
        "        proxy_next_upstream off;",
        *_render_location("/", *_DEVPI),
        # a browser gets our page, devpi's clients the list of users
        *_render_location(
            "= /",
            "if ($is_known_host = 0) { return 421; }",
            "if ($wants_html) { return 418; }",
            "error_page 418 = @home",
            *_DEVPI[1:],
        ),
        *_render_location("@home", *_CACHE, "proxy_set_header X-Mirror-Host $http_host"),
        *_render_location("@devpi", *_DEVPI),
        *_render_location(
            "@public",
            _LOG_PAGE,
            rf"rewrite ^ /{WORKLOADS_INDEX}/+simple/$project/ break",  # as a warm page is found
            *_CACHE,
            "error_page 502 504 = @any_age",
        ),
        *_render_location("@public_file", _LOG_FILE, *_CACHE),
        *_render_location("@retry_later", "return 503"),
        # the cache is not running: a page of any age is better than none
        *(
            _render_location("@any_age", _LOG_PAGE, "return 503")
            if has_rules
            else _render_location(
                "@any_age", *_AS_PAGE, f"try_files /{PAGES}/$project.$stored_form =503"
            )
        ),
        *_render_location(
            rf"~ ^/{WORKLOADS_INDEX}/\+simple/(?<project>{_NAME})/$",
            f"if (-e {markers}) {{ return 418; }}",
            "error_page 418 = @devpi",
            "error_page 404 = @public",  # the page expired between two lookups
            *_SERVE_FRESH,
        ),
        *_render_location(
            rf"~ ^/{MIRROR_INDEX}/\+simple/(?<project>{_NAME})/$",
            "error_page 404 = @public",
            *_SERVE_FRESH,
        ),
        # another spelling of a name: the cache redirects
        *_render_location(rf"~ ^/(?:{'|'.join(_INDEX)})/\+simple/[^/]+/?$", _LOG_PAGE, *_CACHE),
        *_render_location(
            rf"~ ^/{MIRROR_INDEX}/\+f/(?<file>{_NAME}/{_FOLDER}/[^/]+)$",
            "error_page 404 = @public_file",
            *_AS_FILE,
            f"try_files /{FILES}/$file @public_file",
        ),
        *_render_location(
            rf"~ ^/{PACKAGES}/(?<package>{_DIGEST_PATH}/[^/]+)$",
            "error_page 404 = @public_file",
            *_AS_FILE,
            f"try_files /{PACKAGES}/$package @public_file",
        ),
        *_render_location(
            rf"~ ^/\{UPSTREAM_PATH}/{_UPSTREAM}/\+simple/[^/]+/?$", _LOG_PAGE, *_CACHE
        ),
        *_render_location(
            rf"~ ^/\{UPSTREAM_PATH}/(?<package>{_UPSTREAM}/{PACKAGES}/{_DIGEST_PATH}/[^/]+)$",
            "error_page 404 = @public_file",
            *_AS_FILE,
            f"try_files /{UPSTREAMS}/$package @public_file",
        ),
        *_render_location(
            rf"~ ^/\{UPSTREAM_PATH}/(?<upstream>{_UPSTREAM})/\+f/"
            rf"(?<file>{_NAME}/{_FOLDER}/[^/]+)$",
            "error_page 404 = @public_file",
            *_AS_FILE,
            f"try_files /{UPSTREAMS}/$upstream/{FILES}/$file @public_file",
        ),
        # the rest of the pull-through index: devpi would ask the upstream in one of its few threads
        *_render_location(f"~ ^/{MIRROR_INDEX}/", "return 404"),
        *_render_location(f"= /{MIRROR_INDEX}/+api", *_DEVPI),
        # what the cache names in X-Accel-Redirect
        *_render_location(
            f"/+held/{PAGES}/",
            "internal",
            *_AS_PAGE,
            f"alias {_quote(public / PAGES, '/')}",
            _RETRY_LATER,
        ),
        *(
            line
            for folder in (FILES, PACKAGES)
            for line in _render_location(
                f"/+held/{folder}/",
                "internal",
                *_AS_FILE,
                f"alias {_quote(public / folder, '/')}",
                _RETRY_LATER,
            )
        ),
        *(
            line
            for pattern, headers in (
                (f"(?:{SHOWN}|{UPSTREAMS}/{_UPSTREAM}/(?:{PAGES}|{SHOWN}))", _AS_PAGE),
                (f"{UPSTREAMS}/{_UPSTREAM}/(?:{FILES}|{PACKAGES})", _AS_FILE),
            )
            for line in _render_location(
                rf"~ ^/\+held/(?<held>{pattern}/.+)$",
                "internal",
                *headers,
                f"alias {_quote(public, '/$held')}",
                _RETRY_LATER,
            )
        ),
        *(
            line
            for path in ("/+mirror/status", "/+mirror/projects", "/metrics")
            for line in _render_location(f"= {path}", *_CACHE)
        ),
        *_render_location(f"~ ^/\\+mirror/explain/{_NAME}$", *_CACHE),
        *_render_location("= /+mirror/requests", "stub_status"),
        "    }",
        "}",
        "",
    )
    return "\n".join(lines)


def _match_host(name: str) -> str:
    """Return the entry of a map that allows a host name with any port."""
    escaped = name.replace(".", r"\.")
    return f'"~*^{escaped}(?::[0-9]+)?$" 1'


def _quote(path: PurePath, suffix: str = "") -> str:
    """Quote a path for a directive in which nginx replaces variables; ``suffix`` may hold some."""
    return _quote_literally(path)[:-1].replace("$", "${dollar}") + f'{suffix}"'


def _quote_literally(path: PurePath) -> str:
    """Quote a path for a directive without variables."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _render_map(names: str, entries: Sequence[str]) -> tuple[str, ...]:
    return (f"    map {names} {{", *(f"        {entry};" for entry in entries), "    }")


def _render_location(match: str, *directives: str) -> tuple[str, ...]:
    """Render a location; its pattern is quoted, since it may contain braces."""
    modifier, _, pattern = match.rpartition(" ")
    if modifier:
        pattern = f'{modifier} "{pattern}"'
    elif pattern.startswith("/"):
        pattern = f'"{pattern}"'
    body = (f"            {line}{'' if line.endswith('}') else ';'}" for line in directives)
    return (f"        location {pattern} {{", *body, "        }")


def _render_health_server(listen: str) -> tuple[str, ...]:
    return (
        "    server {",
        f"        listen {listen};",
        *(f"        {directive};" for directive in _NO_BODY),
        '        location = /healthz { return 200 "ok\\n"; }',
        "        location = /started { proxy_pass http://devpi/+api; }",
        "        location = /public { proxy_pass http://public/healthz; }",
        "    }",
    )
