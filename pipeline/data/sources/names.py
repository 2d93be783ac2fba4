"""Checks the names of files in a repository: which of them may be opened, and which of them a pattern matches.

Names and patterns from a repository are untrusted text. They reach no code that accesses a disk or builds an address
before `is_inside` has accepted them; patterns are only compared with names that the Hub has listed.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

UNSAFE_NAME = "name that is no plain path"
"""Reason of a bad row: a file that is not opened because of its name."""
MAX_SHOWN = 60
"""Maximum characters of a name in a message."""
LONGEST_NAME = 1_000
MAX_COMPARISONS = 4_000_000
"""Maximum of patterns times names; it takes some seconds."""
GLOB = re.compile(r"[*?\[\]]")
ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]|::|://")
"""Control characters, surrogates, backslashes, and what turns a name into an address or a chain of addresses."""


def is_inside(path: str) -> bool:
    """Whether a name or a pattern is a relative path inside its repository, such as `data/train-*.parquet`."""
    parts = path.split("/")
    return (
        0 < len(path) <= LONGEST_NAME
        and not ODD.search(path)
        and not path.startswith("~")
        and not any(part in ("", ".", "..") for part in parts)
        and ":" not in parts[0]
    )


def is_plain(name: str) -> bool:
    """Whether a listed name is a path inside the repository and no pattern, which fsspec would expand to others."""
    return is_inside(name) and not GLOB.search(name)


def shown(name: object) -> str:
    """`name` quoted for a message: short, printable and on one line."""
    text = str(name)
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


class UnfitPattern(Exception):
    """A pattern that cannot be compared; the text names the pattern and the problem."""


class Names:
    """The names of a repository's files, to be matched with patterns."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._parts = [tuple(name.split("/")) for name in self._names]
        self._name_set = frozenset(self._names)
        self._num_compared = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def matching(self, pattern: str) -> list[str]:
        """The names that match `pattern`, sorted: `*` within a folder, `**` across folders, as in fsspec. Hidden files
        and files in folders like `__pycache__` match only if the pattern names them, as in `datasets`.

        Raises UnfitPattern for `**` next to other characters, and when all calls together exceed MAX_COMPARISONS.
        """
        if not GLOB.search(pattern):
            return [pattern] if pattern in self._name_set else []
        parts = tuple(pattern.split("/"))
        if any("**" in part and part != "**" for part in parts):
            raise UnfitPattern(f"{shown(pattern)}, where ** stands beside other letters")
        self._num_compared += len(self._names)
        if self._num_compared > MAX_COMPARISONS:
            raise UnfitPattern("too many patterns")
        hidden, special = _hidden(parts), _special(parts)
        return [
            name
            for name, own in zip(self._names, self._parts, strict=True)
            if _matches(parts, own) and _hidden(own) == hidden and _special(own) == special
        ]


def _matches(pattern: tuple[str, ...], name: tuple[str, ...]) -> bool:
    """Compares part by part: `reached` are the counts of leading parts of `name` that the pattern so far can match."""
    reached = {0}
    for number, part in enumerate(pattern):
        if part == "**":
            min_reached = min(reached) + (number == len(pattern) - 1)  # a final ** matches at least the file's name
            reached = set(range(min_reached, len(name) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(name) and _compiled(part).match(name[n])}
        if not reached:
            return False
    return len(name) in reached


@lru_cache(maxsize=4_096)
def _compiled(part: str) -> re.Pattern[str]:
    # fnmatch's expressions do not backtrack into a star: no name makes them slow.
    return re.compile(fnmatch.translate(part))


def _hidden(parts: tuple[str, ...]) -> int:
    return sum(part.startswith(".") for part in parts)


def _special(parts: tuple[str, ...]) -> int:
    return sum(part.startswith("__") for part in parts[:-1])
