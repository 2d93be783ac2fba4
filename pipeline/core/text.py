"""Text for a file, a page or a program's output: whether it can be encoded as UTF-8, errors of the operating system as
words, without the paths of this machine.
"""

from __future__ import annotations

import re

ERRNO = re.compile(r"\[Errno -?\d+\] ?")
HIDDEN = "[path]"
LOCAL_SOURCE = re.compile(r"files:[^\s'\",;)]*")
PATH = re.compile(r"(?<![\w./:])(?:~|[A-Z]:)?[\\/](?:[^\s/\\'\",:;()<>]+[\\/])+[^\s/\\'\",:;()<>]*")
"""A path has at least two separators: `3 / 10` and `and/or` do not match."""


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


def without_paths(text: str) -> str:
    """`text` with every path of this machine replaced."""
    return PATH.sub(HIDDEN, LOCAL_SOURCE.sub(f"files:{HIDDEN}", text))
