"""What to change so that a failed proof passes: sentences, and values of the recipe. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from images.debian_packages import find_library_package
from images.failure import Cause, Failure
from images.sandbox import NetworkAttempt

_SERVICE_PORTS = {3306, 5432, 5672, 6379, 7474, 7687, 8529, 9042, 9092, 9200, 11211, 26379, 27017}
_PLACEHOLDER = "only-in-the-proof"
_PLACEHOLDERS = (  # pattern of a variable's name → a value of the right form
    (r"(DATABASE|DB|POSTGRES\w*)_(URL|URI|DSN)|SQLALCHEMY\w+", "postgresql://user:x@database/x"),
    (r"MONGO\w*_(URL|URI|DSN)", "mongodb://mongo:27017"),
    (r"(REDIS|CELERY|BROKER)\w*_(URL|URI|DSN)|(REDIS|BROKER)", "redis://redis:6379/0"),
    (r"\w*(RABBIT|AMQP)\w*", "amqp://rabbitmq:5672"),
    (r"\w+_(URL|URI|ENDPOINT)", "http://service"),
    (r"\w*HOSTS?", "service"),
    (r"\w*(PORT|TIMEOUT|SECONDS|LIMIT|SIZE|COUNT|_ID)", "8000"),
    (r"\w*EMAIL\w*", "proof@localhost.localdomain"),
    (r"\w*DEBUG", "false"),
)
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_REMOVED = {  # version of Python → modules that its standard library no longer has
    "3.12": {"asynchat", "asyncore", "distutils", "imp", "smtpd"},
    "3.13": {
        *("aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap"),
        *("msilib", "nis", "nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau"),
        *("telnetlib", "uu", "xdrlib"),
    },
}
_OLDER = {"3.12": "3.11", "3.13": "3.12"}
_TEMPLATE_SUFFIXES = (".template", ".example", ".sample", ".dist", ".tmpl", ".default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A sentence, and assignments of the recipe (``--set``) that do what it says; may be none."""

    text: str
    changes: tuple[str, ...] = ()


def assign_table(table: str, key: str, value: str) -> str:
    """Return an assignment of one key of a table, as TOML."""
    quoted = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
    return f"{table}.{quoted}={json.dumps(value)}"


def assign_list(key: str, values: Iterable[str]) -> str:
    """Return an assignment of a list, as TOML. --set adds to the list that is there."""
    return f"{key}={json.dumps(list(values))}"


def assign_argv(start: str, argv: Iterable[str]) -> str:
    """Return an assignment of a start command."""
    quoted = start if re.fullmatch(r"[A-Za-z0-9_-]+", start) else json.dumps(start)
    return f"starts.{quoted}.argv={json.dumps(list(argv))}"


def advise_on_attempt(attempt: NetworkAttempt, start: str = "") -> Advice:
    """Return what to do about a host that the recipe does not expect.

    ``start`` is the name of the start command that asked for it.
    """
    host = attempt.host
    if is_service(attempt):
        change = (
            assign_list(f"starts.{start}.services", [host])
            if start
            else assign_list("expected_hosts", [host])
        )
        return Advice(
            text=f"if {host} is a service of the application, say that it is asked for",
            changes=(change,),
        )
    return Advice(
        text=f"if {host} is asked for a download, put the file into the image (as a dependency, or "
        "a file of the project), or turn the download off with the recipe's environment; if the "
        "application needs it at run time, say that it is expected",
        changes=(assign_list("expected_hosts", [host]),),
    )


def is_service(attempt: NetworkAttempt) -> bool:
    """Whether a host looks like a service of a cluster or of a compose file."""
    name = attempt.host
    is_local = "." not in name or name.endswith((".svc", ".local", ".internal", ".cluster.local"))
    return (is_local and ":" not in name) or attempt.port in _SERVICE_PORTS


def advise_on_failure(
    failure: Failure,
    *,
    subject: str,
    folder: str,
    templates: Mapping[str, str],
    is_start: bool = False,
) -> Advice:
    """Return what to do about a module or start (``subject``) that failed.

    ``folder`` is the application's folder in the image; ``templates`` maps paths of files to those
    of the templates that the project has for them.
    """
    error = failure.error
    match failure.cause:
        case Cause.SETTINGS:
            names = find_variables(error.text)
            if not names:
                return Advice(
                    text=f"{subject} needs a setting: give it a value that is only used in the "
                    "proof, with the recipe's proof_environment"
                )
            changes = tuple(
                assign_table("proof_environment", name, _placeholder(name)) for name in names
            )
            return Advice(
                text=f"{subject} needs the setting {', '.join(names)}: give it a value that is "
                "only used in the proof",
                changes=changes,
            )
        case Cause.FILE:
            return _advise_on_file(error.path or _find_path(error.text), subject, folder, templates)
        case Cause.MODULE:
            if advice := _advise_on_missing_name(error.text, subject):
                return advice
            missing = error.name or _find_module(error.text)
            return _advise_on_module(missing, subject, is_start)
        case Cause.PROGRAM:
            name = error.path or _first_quoted(error.text)
            return Advice(
                text=f"{subject} needs the program {name}: install its Debian package",
                changes=(assign_list("run_packages", [PurePosixPath(name).name]),) if name else (),
            )
        case Cause.LIBRARY:
            if package := find_library_package(error.text):
                return Advice(
                    text=f"{subject} needs a shared library: install its Debian package",
                    changes=(assign_list("run_packages", [package]),),
                )
            return Advice(
                text=f"{subject} needs a shared library: add its Debian package to the recipe's "
                "run_packages (`apt-file search lib….so` names it)"
            )
        case Cause.PERMISSION:
            place = _relative(error.path or _find_path(error.text), folder)
            return Advice(
                text=f"{subject} may not write {place or 'a file'}: only {folder} and /tmp belong "
                "to the user"
            )
        case Cause.ADDRESS:
            return Advice(
                text=f"{subject} cannot listen on its address: let it bind to 0.0.0.0, at a port "
                "of its own; not every pod has IPv6 addresses"
            )
        case Cause.DOWNLOAD:
            return Advice(
                text=f"{subject} misses a file that it would download: put it into the image, as a "
                "dependency or a file of the project"
            )
        case Cause.SERVICE:
            return Advice(
                text=f"{subject} could not connect, and called no host but its own: give it the "
                "address of its service with the recipe's proof_environment, and name the service "
                "in the start's services"
            )
        case _:
            return Advice(text=f"{subject}: correct what its last lines say, then run again")


def find_variables(text: str) -> list[str]:
    """Return the names of settings that a message asks for."""
    if missing := re.findall(r"(?m)^(\w+)\n\s+Field required", text):  # of pydantic
        return [name.upper() for name in missing]
    if key := re.fullmatch(r"'([A-Z][A-Z0-9_]+)'", text):
        return [key[1]]
    if "openai" in text.lower() and "api_key" in text:
        return ["OPENAI_API_KEY"]
    names = [name for name in _VARIABLE.findall(text) if not name.startswith("DJANGO_SETTINGS")]
    return list(dict.fromkeys(names))


def find_templates(paths: Iterable[str]) -> dict[str, str]:
    """Return a map from files that a project has only as a template, to the template."""
    known = set(paths)
    found: dict[str, str] = {}
    for path in sorted(known):
        for target in _template_targets(path):
            if target not in known:
                found.setdefault(target, path)
    return found


def _template_targets(path: str) -> Iterator[str]:
    """Yield the paths for which a file may be the template."""
    pure = PurePosixPath(path)
    if pure.suffix in _TEMPLATE_SUFFIXES and pure.stem not in ("", "."):
        yield str(pure.with_name(pure.stem))
    for word in ("example", "sample", "template", "dist", "default"):
        # config.example.yaml, example.env, config-sample.json
        for separator in (".", "-", "_"):
            inner = f"{separator}{word}."
            if inner in pure.name:
                yield str(pure.with_name(pure.name.replace(inner, ".", 1)))


def _advise_on_file(path: str, subject: str, folder: str, templates: Mapping[str, str]) -> Advice:
    place = _relative(path, folder)
    name = PurePosixPath(place).name
    for target, template in templates.items():
        if place and (target == place or PurePosixPath(target).name == name):
            return Advice(
                text=f"{subject} needs {place}, of which the project has the template {template}: "
                "use a copy in the proof, and mount the file at run time",
                changes=(assign_table("proof_templates", place, template),),
            )
    if not place:
        return Advice(text=f"{subject} needs a file that is not in the image")
    return Advice(
        text=f"{subject} needs the file {place}: add it to the project (.dockerignore may leave it "
        "out), or, if it is mounted at run time, give the proof a copy with the recipe's "
        "proof_files"
    )


def _advise_on_missing_name(text: str, subject: str) -> Advice | None:
    """Return what to do about a name that a module of another distribution does not have."""
    found = re.search(r"cannot import name '(\w+)' from '([\w.]+)'", text)
    top = found[2].partition(".")[0] if found else ""
    if found is None or top == subject.partition(".")[0]:
        return None
    return Advice(
        text=f"{subject} needs {found[1]} of {found[2]}, which the installed version of {top} does "
        f"not have: limit the version of {top}, and lock again"
    )


def _advise_on_module(name: str, subject: str, is_start: bool) -> Advice:
    top, _, inner = name.partition(".")
    if since := find_removal(top):
        return Advice(
            text=f"{subject} needs the module {top}, which Python {since} and later do not have: "
            "lock newer versions of the packages that import it, or choose an older Python: --base "
            f"python:{_OLDER[since]}-slim-bookworm"
        )
    if top == "pkg_resources":
        return Advice(
            text=f"{subject} needs pkg_resources: add setuptools<81 to the project's dependencies"
        )
    if inner and top != subject.partition(".")[0]:
        return Advice(
            text=f"{subject} needs the module {name}, which the installed version of {top} does "
            "not have: it may be too old for this Python; lock a newer one, or choose an older "
            f"Python: --base python:{_OLDER['3.12']}-slim-bookworm"
        )
    what = f"the module {top}" if top else "what it imports"
    text = f"{subject} needs {what}: add the distribution that has it to the project's dependencies"
    if is_start:
        return Advice(text=text)
    return Advice(
        text=f"{text}; if the application never uses {subject}, say so",
        changes=(assign_table("import_failures", subject, "it is not used"),),
    )


def find_removal(module: str) -> str:
    """Return the version of Python that has removed a module of its library, "" for none."""
    return next((version for version, names in _REMOVED.items() if module in names), "")


def _find_module(text: str) -> str:
    found = re.search(r"No module named '?([\w.]+)", text)
    return found[1] if found else ""


def _find_path(text: str) -> str:
    """Return the path in a message: quoted, or the last word that looks like one."""
    if quoted := re.findall(r"['\"]([^'\"\n]*[/.][^'\"\n]*)['\"]", text):
        return str(quoted[-1])
    words = re.findall(r"(?:/[\w.@-]+)+|[\w-]+\.(?:ya?ml|json|toml|ini|env|cfg|conf|txt|pem)", text)
    return str(words[0]) if words else ""


def _first_quoted(text: str) -> str:
    found = re.search(r"['\"]([^'\"]+)['\"]", text) or re.search(r"(\S+): (?:command )?not", text)
    return found[1] if found else ""


def _relative(path: str, folder: str) -> str:
    pure = PurePosixPath(path)
    return str(pure.relative_to(folder)) if path and pure.is_relative_to(folder) else path


def _placeholder(name: str) -> str:
    for pattern, value in _PLACEHOLDERS:
        if re.fullmatch(pattern, name):
            return value
    return _PLACEHOLDER
