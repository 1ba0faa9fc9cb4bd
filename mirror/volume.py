"""The layout of the mirror's volume: the names of its folders and files, in one place.

Below the data folder (``/data`` in the pod):

    public/files/<project>/<folder>/<filename>  cached files; the folder is the file's SHA-256, or
                                                url-<SHA-256 of its URL> if the page has no hash;
                                                <filename>.sha256 then holds the measured hash
    public/packages/<aa>/<bb>/<…>/<filename>    cached files whose path at the upstream holds their
                                                BLAKE2b-256, under that path
    public/origin                               where that path starts at the upstream
    public/pages/<project>.json|.html           project pages, each with a .gz copy
    public/links/<project>                      the upstream's URL of each file of a page
    public/fresh/<project>.json|.html           hard links to pages: nginx serves them directly
    public/partial/                             files being written
    public/shown/<project>.json|.html           pages without what a policy hides, if there is one
    public/exempt/<lock>                        SHA-256 of files that no minimum age hides
    public/upstreams/<name>/                    the same folders for each other upstream
    private/<project>                           an empty marker: this project name is private
    devpi/                                      devpi-server's own folder, with the uploads
    damaged/                                    uploads with wrong bytes, taken out of service
    backups/                                    copies of devpi/ from before an upgrade
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

PUBLIC = "public"
PRIVATE = "private"
DEVPI = "devpi"
DAMAGED = "damaged"
BACKUPS = "backups"
DATA_FOLDERS = (DEVPI, PUBLIC, PRIVATE, BACKUPS, DAMAGED)

FILES = "files"
PACKAGES = "packages"
ORIGIN = "origin"
PAGES = "pages"
LINKS = "links"
FRESH = "fresh"
PARTIAL = "partial"
SHOWN = "shown"
EXEMPT = "exempt"
UPSTREAMS = "upstreams"
PUBLIC_FOLDERS = (FILES, PACKAGES, PAGES, SHOWN, LINKS, FRESH, PARTIAL)

PageKind = Literal["json", "html"]
PAGE_KINDS: tuple[PageKind, ...] = ("json", "html")
GZIP_SUFFIX = ".gz"
METADATA_SUFFIX = ".metadata"  # PEP 658: the core metadata of the file beside it
HASH_SUFFIX = ".sha256"
URL_PREFIX = "url-"  # of the folder of a file without a published hash

DEVPI_FILES = "+files"  # below devpi/
DEVPI_DATABASE = ".sqlite"


def upstream_folder(public: Path, name: str) -> Path:
    """Return the folder of an upstream besides the one whose files are at /packages."""
    return public / UPSTREAMS / name


def list_upstream_folders(public: Path) -> list[Path]:
    """Return the folders of all other upstreams that have anything on the volume."""
    return sorted(path for path in (public / UPSTREAMS).glob("*/") if path.is_dir())


def page_path(public: Path, project: str, kind: str) -> Path:
    """Return the path of a project page in one of its two forms."""
    return public / PAGES / f"{project}.{kind}"


def links_path(public: Path, project: str) -> Path:
    """Return the path of the record of a page's upstream URLs."""
    return public / LINKS / project


def with_suffix(path: Path, suffix: str) -> Path:
    """Return the path with a suffix added to its name, such as of the temporary file beside it."""
    return path.with_name(path.name + suffix)
