"""A lock is moved to the mirror and back, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import InputError, RefusedError
from mirror.lock_urls import (
    IndexAddresses,
    find_file_origins,
    move_from_mirror,
    move_to_mirror,
)

INDEX = IndexAddresses("https://index.example/simple/", "https://files.example/packages/")
MIRROR = IndexAddresses(
    "http://10.1.2.3:3141/workloads/stable/+simple/", "http://10.1.2.3:3141/packages/"
)
PATH = f"ab/cd/{'e' * 60}/lib-1.0.tar.gz"

UV_LOCK = f"""\
version = 1
revision = 3

[[package]]
name = "lib"
version = "1.0"
source = {{ registry = "https://index.example/simple" }}
sdist = {{ url = "https://files.example/packages/{PATH}", hash = "sha256:00", size = 7 }}
wheels = [
    {{ url = "https://files.example/packages/{PATH}.whl" }},
]

[[package]]
name = "torch"
source = {{ registry = "https://download.example/simple/cpu" }}
wheels = [{{ url = "https://download.example/packages/{PATH}" }}]

[[package]]
name = "tool"
source = {{ git = "https://index.example/simple-tool.git?rev=main#00" }}
"""

PYLOCK = f"""\
lock-version = "1.0"\r
[[packages]]\r
name = "lib"\r
index = "https://index.example/simple/"\r
sdist = {{ url = 'https://files.example/packages/{PATH}' }}\r
"""

REQUIREMENTS = f"""\
--index-url https://index.example/simple
--extra-index-url=https://index.example/simple/
lib==1.0 \\
    --hash=sha256:00  # https://index.example/simple
other @ https://files.example/packages/{PATH}#sha256=00
more @ https://files.example/packages/not-a-digest/more-1.0.tar.gz
"""


@pytest.mark.parametrize(
    ("text", "indexes", "files"), [(UV_LOCK, 1, 2), (PYLOCK, 1, 1), (REQUIREMENTS, 3, 1)]
)
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_moves_to_the_mirror_and_back(text: str, indexes: int, files: int, start: bytes) -> None:
    content = start + text.encode()
    moved = move_to_mirror(content, INDEX, MIRROR)
    assert (moved.indexes, moved.files) == (indexes, files)
    assert b'https://index.example/simple"' not in moved.content
    assert f"http://10.1.2.3:3141/packages/{PATH}".encode() in moved.content
    again = move_to_mirror(moved.content, INDEX, MIRROR)
    assert not again.is_changed
    back = move_from_mirror(moved.content, INDEX, MIRROR)
    assert back.content == content
    assert (back.indexes, back.files) == (indexes, files)


def test_keeps_the_last_slash_of_an_index() -> None:
    for slash in (b"", b"/"):
        content = b'registry = "https://index.example/simple%s"' % slash
        moved = move_to_mirror(content, INDEX, MIRROR).content
        assert moved == b'registry = "http://10.1.2.3:3141/workloads/stable/+simple%s"' % slash


@pytest.mark.parametrize(
    "text",
    [
        "https://index.example/simple-tool",
        "https://index.example/simplex",
        "git+https://index.example/simple",
        "https://proxy.example/?to=x/https://index.example/simple",
        "https://files.example/packages/",
        f"https://files.example/other/packages/{PATH}",
        f"https://xfiles.example/packages/{PATH}",
        f"git+https://files.example/packages/{PATH}",
        f"https://proxy.example/x/https://files.example/packages/{PATH}",
        f"http://files.example/packages/{PATH}",
    ],
)
def test_other_urls_stay(text: str) -> None:
    assert not move_to_mirror(text.encode(), INDEX, MIRROR).is_changed


def test_refuses_a_lock_that_could_not_be_moved_back() -> None:
    content = f'a = "{INDEX.index}"\nb = "{MIRROR.index}"\n'.encode()
    with pytest.raises(RefusedError, match="both"):
        move_to_mirror(content, INDEX, MIRROR)
    assert move_from_mirror(content, INDEX, MIRROR).indexes == 1


def test_refuses_utf_16() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        move_to_mirror(UV_LOCK.encode("utf-16"), INDEX, MIRROR)


def test_counts_links_of_older_mirrors() -> None:
    link = f"http://10.1.2.3:3141/root/pypi/+f/lib/{'a' * 64}/lib-1.0.tar.gz"
    moved = move_from_mirror(link.encode(), INDEX, MIRROR)
    assert (moved.is_changed, moved.old_links) == (False, 1)


def test_finds_where_files_come_from() -> None:
    assert find_file_origins(UV_LOCK.encode()) == [
        "https://files.example/packages/",
        "https://download.example/packages/",
    ]


@given(
    st.lists(
        st.sampled_from(
            [INDEX.index, INDEX.index[:-1], INDEX.files + PATH, '"', "'", " ", "\n", "#", "x", "/"]
        ),
        max_size=20,
    )
)
def test_every_text_comes_back(parts: list[str]) -> None:
    content = "".join(parts).encode()
    moved = move_to_mirror(content, INDEX, MIRROR)
    assert move_from_mirror(moved.content, INDEX, MIRROR).content == content
