"""Print a hash of all files of an image: path, mode, owner, kind and content, but no times.

usage: files.py FOLDER...    also print the bytes below each; a file counts for the first match only

Output: {"digest": SHA-256, "files": number of regular files, "below": {folder: bytes}}.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys

# kernel file systems, and what the engine puts into every container
SKIPPED = {"/proc", "/sys", "/dev", "/pypi-mirror", "/.dockerenv"}
SKIPPED |= {f"/etc/{name}" for name in ("hosts", "hostname", "resolv.conf", "mtab")}


def main() -> None:
    digest, count = hashlib.sha256(), 0
    below = dict.fromkeys([*sys.argv[1:], "/"], 0)
    for folder, folders, files in os.walk("/"):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [
            name
            for name in folders
            if os.path.join(folder, name) not in SKIPPED and name not in links
        ]
        for name in sorted([*files, *links, *folders]):
            path = os.path.join(folder, name)
            if path in SKIPPED:
                continue
            info = os.lstat(path)
            content = ""
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                count += 1
                below[next(prefix for prefix in below if path.startswith(prefix))] += info.st_size
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            owner = f"{info.st_uid}:{info.st_gid}"
            line = f"{path}\0{info.st_mode:o}\0{owner}\0{content}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))  # names need not be UTF-8
    print(json.dumps({"digest": digest.hexdigest(), "files": count, "below": below}))


if __name__ == "__main__":
    main()
