"""Read a shell script that can do nothing but turn IPv6 off on a host. Pure.

Such scripts were installed by hand, in privileged containers. Each command must be one of a few,
with arguments of a known form; what a shell would expand or redirect elsewhere is refused. A form
that is not known here costs a step by hand, a wrong one would run somebody's program as root.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

_FOLDER = re.compile(r"^/(usr/)?s?bin/(?=\w+$)")
_SHELLS = {"sh", "bash", "ash", "dash"}
_ROOTS = "(/host|/rootfs|/mnt/host|/mnt/root|/node)"
_KEY = r"net[./]ipv6[./]conf[./][\w-]+[./](disable_ipv6 ?= ?[01]|(accept_ra|autoconf) ?= ?0)"
_SETTING = re.compile(_KEY)
_SETTING_NAME = re.compile(r"net[./]ipv6[./]conf[./][\w-]+[./]\w+")
_SYSCTL_FILE = re.compile(rf"{_ROOTS}?/etc/sysctl(\.conf|\.d/[\w-]*ipv6[\w-]*\.conf)")
_OWN_FILE = re.compile(rf"{_ROOTS}?/etc/sysctl\.d/[\w-]*ipv6[\w-]*\.conf")
_KERNEL_FILE = re.compile(rf"{_ROOTS}?/proc/sys/net/ipv6/conf/[\w*-]+/disable_ipv6")
_REMOVED_LINES = re.compile(r"/\^?[\w. =]*disable_ipv6[\w. =]*\$?/d")
_TEST_WORD = re.compile(r"[\w.,:;=()/ +!-]*|\]")
_COMMENT = re.compile(r"\s*#[\w.,:=()/ +-]*")
_LOOP = re.compile(r"[a-z]+")
_VARIABLE = re.compile(r"\$(?:\{([a-z]+)\}|([a-z]+))")
_SECONDS = re.compile(r"infinity|\d+[smhd]?")
_SEPARATORS = {";", "&", "&&", "||", "|", "\n"}
_LEADING_WORDS = {"if", "then", "else", "elif", "while", "until", "do", "!", "{"}
_CLOSING_WORDS = {"fi", "done", "}"}
_NSENTER_FLAG = re.compile(r"-[munipCaF]+|--(mount|uts|ipc|net|pid|cgroup|all|no-fork)")
_SIGNAL = re.compile(r"(SIG)?(TERM|INT|QUIT|HUP|EXIT)")
_MAX_DEPTH = 4
# a loop variable stands for any of its values, which all have one of these forms
_VALUES = {
    re.compile(r"[A-Za-z0-9_-]+"): "all",
    _KERNEL_FILE: "/proc/sys/net/ipv6/conf/all/disable_ipv6",
    _SETTING: "net.ipv6.conf.all.disable_ipv6=1",
}


class _NotKnown(Exception):
    """The script has a part whose effect is not known."""


def only_disables_ipv6(words: Sequence[str]) -> bool:
    """Return whether a command and its arguments can only turn IPv6 off, and wait."""
    try:
        _check_command([*words], is_piped=False, depth=0)
    except (_NotKnown, ValueError):
        return False
    return True


def _require(condition: object) -> None:
    if not condition:
        raise _NotKnown


def _check_script(text: str, depth: int) -> None:
    _require(depth <= _MAX_DEPTH)
    text = text.replace("\\\n", "")
    text = re.sub(r"&>(?= ?/dev/null)", ">", re.sub(r"(?<=\s)2>&1(?=\s|;|$)", "", text))
    # a comment without quotes is harmless wherever the line is, even inside a quoted text
    lines = [line for line in text.split("\n") if not _COMMENT.fullmatch(line)]
    text = "\n".join(lines)
    _require(not re.search(r"[#`\\()<\r\0]|\$[^a-z{]|\$$", text))
    tokens = _split_tokens(text)
    variables: dict[str, str] = {}
    is_piped = "|" in tokens
    command: list[str] = []
    for token in [*tokens, ";"]:
        if token not in _SEPARATORS:
            command.append(token)
            continue
        _check_statement(command, variables, is_piped=is_piped, depth=depth)
        command = []


def _split_tokens(text: str) -> list[str]:
    """Return the words and operators; the operators are never part of a word."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&>\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    tokens: list[str] = []
    for token in lexer:
        # a quoted text may look like operators too; it is refused then, as it would be as a word
        if token and set(token) <= set(";|&>\n"):
            tokens += re.findall(r"&&|\|\||>>|[;|&>\n]", token)
        else:
            tokens.append(token)
    return tokens


def _check_statement(
    words: list[str], variables: dict[str, str], *, is_piped: bool, depth: int
) -> None:
    while words and words[0] in _LEADING_WORDS:
        words = words[1:]
    if words and words[0] in _CLOSING_WORDS:
        _require(len(words) == 1)
        return
    if not words:
        return
    if words[0] == "for":
        _add_variable(words, variables)
        return
    resolved = [_resolve(word, variables) for word in words]
    _check_command(resolved, is_piped=is_piped, depth=depth)


def _add_variable(words: Sequence[str], variables: dict[str, str]) -> None:
    """Note a loop variable, with a value of the form that all its values have."""
    _require(len(words) > 3 and words[2] == "in" and _LOOP.fullmatch(words[1]))
    _require(words[1] not in variables)
    values = words[3:]
    found = [value for form, value in _VALUES.items() if all(map(form.fullmatch, values))]
    _require(found)
    variables[words[1]] = found[0]


def _resolve(word: str, variables: Mapping[str, str]) -> str:
    """Return a word with the known variables; the others may be those of a nested script."""
    return _VARIABLE.sub(lambda m: variables.get(m[1] or m[2], m[0]), word)


def _check_command(words: list[str], *, is_piped: bool, depth: int) -> None:
    words, written, is_appended = _take_redirections(words)
    _require(words and not any("$" in word for word in [*words[:-1], *written]))
    name, arguments = _FOLDER.sub("", words[0]), words[1:]
    runs_another = name in {*_SHELLS, "nsenter", "chroot", "exec"}
    _require(runs_another or "$" not in words[-1])
    if name in {"echo", "printf"}:
        _check_text(arguments, written, is_appended=is_appended, is_piped=is_piped)
        return
    _require(not written)
    match name:
        case _ if name in _SHELLS:
            _require(len(arguments) >= 2 and re.fullmatch(r"-[eux]*c", arguments[-2]))
            _require(all(re.fullmatch(r"-[eux]+", flag) for flag in arguments[:-2]))
            _check_script(arguments[-1], depth + 1)
        case "nsenter":
            _check_command(_skip_nsenter_flags(arguments), is_piped=is_piped, depth=depth)
        case "chroot":
            _require(arguments and re.fullmatch(_ROOTS, arguments[0]))
            _check_command(arguments[1:], is_piped=is_piped, depth=depth)
        case "exec":
            _check_command(arguments, is_piped=is_piped, depth=depth)
        case "sysctl":
            _check_sysctl(arguments)
        case "sed":
            _require(len(arguments) >= 3 and arguments[0] == "-i")
            _require(_REMOVED_LINES.fullmatch(arguments[-2]) and arguments[1:-2] in ([], ["-e"]))
            _require(_SYSCTL_FILE.fullmatch(arguments[-1]))
        case "tee":
            appends = "-a" in arguments
            files = [word for word in arguments if word != "-a"]
            pattern = _SYSCTL_FILE if appends else _OWN_FILE
            _require(all(pattern.fullmatch(f) or _KERNEL_FILE.fullmatch(f) for f in files))
        case "grep":
            files = [word for word in arguments if not re.fullmatch(r"-[qsxFEiw]+|--", word)]
            _require(len(files) == 2 and _SYSCTL_FILE.fullmatch(files[1]))
        case "cat":
            _require(all(_KERNEL_FILE.fullmatch(f) or _SYSCTL_FILE.fullmatch(f) for f in arguments))
        case "[" | "test":
            _require(all(map(_TEST_WORD.fullmatch, arguments)))
        case "sleep":
            _require(len(arguments) == 1 and _SECONDS.fullmatch(arguments[0]))
        case "tail":
            _require(arguments == ["-f", "/dev/null"])
        case "trap":
            _require(arguments and arguments[0] in {":", "exit 0", "exit"})
            _require(all(map(_SIGNAL.fullmatch, arguments[1:])))
        case "set":
            _require(all(re.fullmatch(r"-[eux]+", word) for word in arguments))
        case "true" | ":" | "wait" | "pause" | "/pause":
            _require(not arguments)
        case "exit":
            _require(arguments in ([], ["0"], ["1"]))
        case _:
            raise _NotKnown


def _take_redirections(words: list[str]) -> tuple[list[str], list[str], bool]:
    """Return the words, the files that they write, and whether all of these are appended to."""
    kept, written, is_appended = [], [], True
    rest = [*words]
    while rest:
        word = rest.pop(0)
        if word not in {">", ">>"}:
            kept.append(word)
            continue
        if kept and kept[-1] == "2":  # the stream of errors
            kept.pop()
        _require(kept and rest)
        if rest[0] == "/dev/null":
            rest.pop(0)
        else:
            is_appended = is_appended and word == ">>"
            written.append(rest.pop(0))
    return kept, written, is_appended


def _check_text(words: list[str], written: list[str], *, is_appended: bool, is_piped: bool) -> None:
    words = [word for word in words if word not in {"-e", "-n"}]
    if not written and not is_piped:
        return
    if words in (["0"], ["1"]) and all(map(_KERNEL_FILE.fullmatch, written)):
        return
    pattern = _SYSCTL_FILE if is_appended else _OWN_FILE
    _require(all(map(pattern.fullmatch, written)))
    lines = [line.strip() for line in " ".join(words).split("\n")]
    _require(all(_SETTING.fullmatch(line) for line in lines if line))


def _skip_nsenter_flags(words: list[str]) -> list[str]:
    """Return what nsenter runs in the namespaces of process 1."""
    rest = [*words]
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        if flag == "--":
            break
        if flag in {"-t", "--target"}:
            _require(rest and rest.pop(0) == "1")
        else:
            _require(flag in {"-t1", "--target=1"} or _NSENTER_FLAG.fullmatch(flag))
    return rest


def _check_sysctl(words: Sequence[str]) -> None:
    rest = [*words]
    while rest:
        word = rest.pop(0)
        if word in {"-p", "--load"}:
            _require(not rest or all(_SYSCTL_FILE.fullmatch(file) for file in rest))
            return
        is_flag = re.fullmatch(r"-[wqen]+|--(write|quiet|ignore|system)", word)
        _require(is_flag or _SETTING.fullmatch(word) or _SETTING_NAME.fullmatch(word))
