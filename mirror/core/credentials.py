"""URLs as they may be shown: without the user and the password that they may contain."""

from __future__ import annotations

import re

# the user of an ssh URL is `git`, and it has no password; a path has one slash in place of two
_USER_PART = re.compile(r"(?P<scheme>\b(?!ssh:)\w+:/{1,2})[^\s/@]*@")


def hide_credentials(text: str) -> str:
    """Return a text with `***` in place of the user and password of each URL in it."""
    return _USER_PART.sub(r"\g<scheme>***@", text)
