"""Text for a file, a page or a program's output: whether it can be encoded as UTF-8, errors of the operating system as
words, without the paths of this machine; characters that are not seen as what they are.
"""

from __future__ import annotations

import re

ERRNO = re.compile(r"\[Errno -?\d+\] ?")
HIDDEN = "[path]"
LOCAL_SOURCE = re.compile(r"files:[^\s'\",;)]*")
PATH = re.compile(r"(?<![\w./:])(?:~|[A-Z]:)?[\\/](?:[^\s/\\'\",:;()<>]+[\\/])+[^\s/\\'\",:;()<>]*")
"""A path has at least two separators: `3 / 10` and `and/or` do not match."""
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e007f]+"
)
"""Characters that turn the direction of the text, end a line for a reader alone, or have no width. With them code is seen
as other code than what runs."""


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


def with_unseen_shown(text: str) -> str:
    """`text` with each of its UNSEEN characters as Python's escape for it, as in `\\u202e`."""
    return UNSEEN.sub(
        lambda found: found[0].encode("ascii", "backslashreplace").decode().replace("\\xad", "\\u00ad"), text
    )
