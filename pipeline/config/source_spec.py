"""The text that names a source, as in `--source`: what it is read from, and the id of a corpus that is made of it."""

from __future__ import annotations

import re

FORMS = "installed, pypi, pypi:NAME,NAME, files:PATH or hub:REPO"
"""The forms of a source, in messages."""
READS_INDEX = re.compile(r"pypi(?:[:#].*)?", re.DOTALL)
WILDCARD = re.compile(r"[*?\[]")
LONGEST_CORPUS = 40
"""Characters of an id that is made from the name of a source."""


def reads_index(source: str | None) -> bool:
    """Whether `source` is read from the package index."""
    return source is not None and READS_INDEX.fullmatch(source) is not None


def corpus_id_of(source: str) -> str:
    """The id of a corpus of `source`, unless its maker chooses another one: `pypi-examples`, `codeparrot-train`."""
    kind, _, rest = source.partition(":")
    if reads_index(source):
        kind, name = "pypi", source if "#" in source or ":" in source else "pypi-examples"
    elif kind == "hub":
        name = next(reversed(re.split(r"[@:#]", rest)[0].split("/")[:2]))  # what follows is a config
    else:
        plain = [part for part in re.split(r"[/\\]", rest) if part and not WILDCARD.search(part)]
        name = plain[-1] if plain else kind
    found = re.sub(r"[^a-z0-9]+", "-", name.lower())[:LONGEST_CORPUS].strip("-")
    return found or kind
