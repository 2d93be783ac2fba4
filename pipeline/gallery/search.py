"""Which examples a person asked for: those with certain words, of one prompt, of one run. Reads no files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlencode

from pipeline.core.errors import require
from pipeline.gallery.example import Example

MAX_QUERY_CHARACTERS = 200
MAX_SEARCHED_BYTES = 16_384
"""Of title, prompt and texts, in UTF-8: what is searched of one example, and kept in memory. The longest title and prompt
fit, and all texts but unusually long ones; a full gallery takes 82 MB at most, and usually 15."""
KEY_DIGITS = 12


class Entry(NamedTuple):
    """What is known of one example without reading its file; entries sort by age."""

    created_at: str
    id: str
    fingerprint: bytes
    run: str
    prompt_key: str
    searched: bytes
    """Title, prompt and texts, case-folded, in UTF-8."""

    @classmethod
    def of(cls, example: Example) -> Entry:
        return cls(
            example.created_at,
            example.id,
            example.fingerprint,
            example.run,
            prompt_key(example.prompt),
            _folded("\n".join((example.title, example.prompt, *example.texts)))[:MAX_SEARCHED_BYTES],
        )


@dataclass(frozen=True, kw_only=True)
class Query:
    """All parts must hold; an empty one always does."""

    words: str = ""
    """Each of them must occur in title, prompt or texts, in any case, also as a part of a longer word."""
    run: str = ""
    prompt_key: str = ""
    """`prompt_key` of the prompt."""

    def __post_init__(self) -> None:
        remedy = f"keep it to {MAX_QUERY_CHARACTERS}"
        for name, text in (("search", self.words), ("run", self.run), ("prompt", self.prompt_key)):
            require(len(text) <= MAX_QUERY_CHARACTERS, name, f"{len(text):,} characters", remedy)

    def __bool__(self) -> bool:
        return bool(self.words.strip() or self.run or self.prompt_key)

    def matches(self, entry: Entry) -> bool:
        return (
            (not self.run or entry.run == self.run)
            and (not self.prompt_key or entry.prompt_key == self.prompt_key)
            and all(word in entry.searched for word in self._folded_words)
        )

    @cached_property
    def _folded_words(self) -> tuple[bytes, ...]:
        return tuple(_folded(word) for word in dict.fromkeys(self.words.split()))

    def address(self, number: int) -> str:
        """Page `number` of what was found, as the query of a URL."""
        parts = {"gallery": str(number), "q": self.words.strip(), "of_run": self.run, "of_prompt": self.prompt_key}
        return urlencode({name: value for name, value in parts.items() if value}, errors="replace")


def prompt_key(prompt: str) -> str:
    """A short name for a prompt, for links: the beginning of its SHA-256."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_DIGITS]


def _folded(text: str) -> bytes:
    return text.casefold().encode("utf-8", "surrogatepass")
