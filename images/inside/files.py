"""The hash of all files of an image: path, mode, owner, kind and content; no times.

usage: files.py FOLDER...    and the bytes below each of these, a file counted for the first only
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys

# what the engine itself puts into a container, and what is not of files
SKIPPED = {"/proc", "/sys", "/dev", "/pypi-mirror", "/.dockerenv"}
SKIPPED |= {f"/etc/{name}" for name in ("hosts", "hostname", "resolv.conf", "mtab")}


def main() -> None:
    total, count = hashlib.sha256(), 0
    below = dict.fromkeys([*sys.argv[1:], "/"], 0)
    for folder, folders, names in os.walk("/"):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [
            n for n in folders if os.path.join(folder, n) not in SKIPPED and n not in links
        ]
        for name in sorted([*names, *links, *folders]):
            path = os.path.join(folder, name)
            if path in SKIPPED:
                continue
            info = os.lstat(path)
            content = ""
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                count += 1
                below[next(one for one in below if path.startswith(one))] += info.st_size
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            total.update(
                f"{path}\0{info.st_mode:o}\0{info.st_uid}:{info.st_gid}\0{content}\n".encode()
            )
    print(json.dumps({"digest": total.hexdigest(), "files": count, "below": below}))


if __name__ == "__main__":
    main()
