"""A card (README.md) that people may edit: a push rewrites only the sections that nobody has changed.

Each section of ours stands between two comments; the first one holds a digest of what we wrote. A section whose text has
another digest was edited by hand and stays as it is; so does everything outside of sections.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
FIRST = "about"
"""Name of the section before the first heading."""
FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
SECTION = re.compile(
    r"<!-- section (?P<name>[\w-]+): each push writes it anew, unless it was edited \((?P<digest>[0-9a-f]{12})\) -->\n"
    r"(?P<text>.*?)<!-- end of section (?P=name) -->\n?",
    re.DOTALL,
)
OURS = ("configs", "model-index", "size_categories")
"""Values of the front matter that follow from the content; of all others, the one in the repo stays."""


def merged_card(new: str, current: str | None) -> bytes:
    """The card to push: `current` with the unedited sections as in `new`. Both have YAML front matter, or none.

    A section of ours that is missing in `current` was deleted by hand and stays so; a `current` without any of our
    sections is somebody's own card, and ours follow it.
    """
    sections = dict(_sections(_body(new)))
    if current is None:
        return (_front(new) + "".join(_marked(name, text) for name, text in sections.items())).encode()
    body = _body(current)
    if SECTION.search(body):
        body = SECTION.sub(lambda found: _renewed(found, sections), body)
    else:
        body = "\n".join(filter(None, [body, *(_marked(name, text) for name, text in sections.items())]))
    return (_merged_front(_front(new), _front(current)) + body).encode(errors="surrogateescape")


def current_card(api: HfApi, repo: str, head: str, repo_type: str = "model") -> str | None:
    """The card at commit `head` of a repo, None when there is none. Bytes that are not UTF-8 are surrogates."""
    from huggingface_hub.errors import EntryNotFoundError

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = api.hf_hub_download(repo, CARD, revision=head, repo_type=repo_type, local_dir=folder)
        except EntryNotFoundError:
            return None
        return Path(path).read_bytes().decode(errors="surrogateescape").replace("\r\n", "\n")


def _renewed(found: re.Match[str], sections: dict[str, str]) -> str:
    name, text = found["name"], found["text"]
    is_edited = _digest(text) != found["digest"]
    return found[0] if is_edited or name not in sections else _marked(name, sections[name])


def _marked(name: str, text: str) -> str:
    start = f"<!-- section {name}: each push writes it anew, unless it was edited ({_digest(text)}) -->"
    return f"{start}\n{text}<!-- end of section {name} -->\n"


def _digest(text: str) -> str:
    """Of the words alone: editors change white space at the ends of lines."""
    words = " ".join(text.split()).encode(errors="surrogateescape")
    return hashlib.sha256(words).hexdigest()[:12]


def _sections(body: str) -> Iterator[tuple[str, str]]:
    """Name and text of each part of our own card that a heading of the second level begins."""
    name, is_code = FIRST, False
    lines: list[str] = []
    for line in body.splitlines(keepends=True):
        is_code ^= line.startswith("```")
        if line.startswith("## ") and not is_code:
            yield name, "".join(lines)
            name, lines = re.sub(r"\W+", "-", line.lower()).strip("-"), []
        lines.append(line)
    yield name, "".join(lines)


def _front(card: str) -> str:
    found = FRONT.match(card)
    return found[0] if found else ""


def _body(card: str) -> str:
    return card[len(_front(card)) :]


def _merged_front(new: str, current: str) -> str:
    """The front matter of `current` with the values that only `new` has or that are OURS; `new` if it is no YAML."""
    import yaml

    ours, theirs = _values(new), _values(current)
    if theirs is None or ours is None:
        return new
    values = {**ours, **theirs, **{name: ours[name] for name in OURS if name in ours}}
    return current if values == theirs else f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _values(front: str) -> dict[str, Any] | None:
    import yaml

    try:
        found = yaml.safe_load(front.removeprefix("---\n").removesuffix("---\n"))
    except yaml.YAMLError:
        return None
    return found if isinstance(found, dict) else None
