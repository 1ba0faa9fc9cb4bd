"""Read the locks of other tools than uv: Poetry, PDM and Pipenv.

Each module has a pure function from the parsed document to `mirror.lock.LockFile`. A lock of these
tools contains every extra and group; `selection` keeps what was asked for.
"""
