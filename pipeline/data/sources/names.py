"""Names of files in a repository: which of them may be opened, and which of them a pattern means.

A name or a pattern from a repository is somebody else's text. It never reaches anything that looks at a disk or makes an
address of it before `is_inside` has let it pass; patterns are only ever compared with names that the Hub has listed.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

MOST_SHOWN = 60
"""Letters of a name that a message shows."""
LONGEST_NAME = 1_000
MOST_COMPARISONS = 4_000_000
"""Patterns times names: some seconds."""
GLOB = re.compile(r"[*?\[\]]")
ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]|::|://")
"""Control characters, half characters, backslashes, and what makes an address, or a chain of them, of a name."""


def is_inside(path: str) -> bool:
    """Whether a name or a pattern is nothing but a relative path in its repository: `data/train-*.parquet`."""
    parts = path.split("/")
    return (
        0 < len(path) <= LONGEST_NAME
        and not ODD.search(path)
        and not path.startswith("~")
        and not any(part in ("", ".", "..") for part in parts)
        and ":" not in parts[0]
    )


def is_plain(name: str) -> bool:
    """Whether the name of a file in a listing is a path inside that is no pattern either: fsspec would look for others."""
    return is_inside(name) and not GLOB.search(name)


def shown(name: object) -> str:
    """`name` in quotes for a message: short, in one line, and printable."""
    text = str(name)
    return repr(text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}...")


class UnfitPattern(Exception):
    """Cannot be compared; the text says what about it."""


class Names:
    """The names of a repository's files, which patterns are compared with."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._parts = [tuple(name.split("/")) for name in self._names]
        self._known = frozenset(self._names)
        self._num_compared = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def matching(self, pattern: str) -> list[str]:
        """The names that `pattern` means, in their order: `*` within a folder, `**` over folders, as fsspec has it. Hidden
        files and those in folders like `__pycache__` only if the pattern says so, as `datasets` has it.

        Raises UnfitPattern for `**` beside other letters, and when all so far have taken too long.
        """
        if not GLOB.search(pattern):
            return [pattern] if pattern in self._known else []
        parts = tuple(pattern.split("/"))
        if any("**" in part and part != "**" for part in parts):
            raise UnfitPattern(f"{shown(pattern)}, where ** stands beside other letters")
        self._num_compared += len(self._names)
        if self._num_compared > MOST_COMPARISONS:
            raise UnfitPattern("too many patterns")
        hidden, special = _hidden(parts), _special(parts)
        return [
            name
            for name, own in zip(self._names, self._parts, strict=True)
            if _matches(parts, own) and _hidden(own) == hidden and _special(own) == special
        ]


def _matches(pattern: tuple[str, ...], name: tuple[str, ...]) -> bool:
    """Part by part: `reached` are the numbers of parts of `name` that the pattern's parts so far can stand for."""
    reached = {0}
    for number, part in enumerate(pattern):
        if part == "**":
            least = min(reached) + (number == len(pattern) - 1)  # at the end it stands for the file's name at least
            reached = set(range(least, len(name) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(name) and _compiled(part).match(name[n])}
        if not reached:
            return False
    return len(name) in reached


@lru_cache(maxsize=4_096)
def _compiled(part: str) -> re.Pattern[str]:
    # fnmatch's expressions do not try a star twice: no name makes them slow.
    return re.compile(fnmatch.translate(part))


def _hidden(parts: tuple[str, ...]) -> int:
    return sum(part.startswith(".") for part in parts)


def _special(parts: tuple[str, ...]) -> int:
    return sum(part.startswith("__") for part in parts[:-1])
