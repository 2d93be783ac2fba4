"""Text for a file, a page or a program's output: whether it can be encoded as UTF-8, and errors of the operating system
as words.
"""

from __future__ import annotations

import re

ERRNO = re.compile(r"\[Errno -?\d+\] ?")


def surrogate_at(text: str) -> int | None:
    """Index of the first lone surrogate (half a character, which UTF-8 cannot encode); None when there is none."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def without_errno(text: str) -> str:
    """`text` without the numbers that Python puts before an operating system's messages, as in `[Errno 2]`."""
    return ERRNO.sub("", text)
