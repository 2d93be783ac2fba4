"""A card (README.md) that people may edit: a push rewrites only the sections and values that nobody has changed.

Each section of ours stands between two comments; the first one holds a digest of what we wrote. A section whose text has
another digest was edited by hand and stays as it is; so does everything outside of sections. A comment below the front
matter holds a digest of each value there that we wrote.

Whoever may write to the repo may write anything into the card. What no editor would write must not stop the pushes: front
matter that cannot be read is replaced by ours.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
MAX_BYTES = 200_000
"""A larger file is no card: it is not read but replaced."""
MAX_FRONT_CHARACTERS = 50_000
"""PyYAML reads as many in two seconds."""
FIRST = "about"
"""Name of the section before the first heading."""
FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
SECTION = re.compile(
    r"<!-- section (?P<name>[\w-]+): each push writes it anew, unless it was edited \((?P<digest>[0-9a-f]{12})\) -->\n"
    r"(?P<text>.*?)<!-- end of section (?P=name) -->\n?",
    re.DOTALL,
)
VALUES = re.compile(
    r"<!-- values above: each push writes them anew, unless they were edited \((?P<digests>[^()]*)\) -->\n"
)
OURS = ("configs", "model-index", "size_categories")
"""Values of the front matter that follow from the content: an edit of them does not stay."""


def merged_card(new: str, current: str | None) -> bytes:
    """The card to push: `current` with the unedited sections as in `new`. Both have YAML front matter, or none.

    A section of ours that is missing in `current` was deleted by hand and stays so; a `current` without any of our
    sections is somebody's own card, and ours follow it.
    """
    sections = dict(_sections(_body(new)))
    if current is None:
        front = _front(new) + _noted(_values(_front(new)) or {})
        return (front + "".join(_marked(name, text) for name, text in sections.items())).encode()
    noted = VALUES.search(current)
    body = _body(VALUES.sub("", current, count=1))
    if SECTION.search(body):
        body = SECTION.sub(lambda found: _renewed(found, sections), body)
    else:
        body = "\n".join(filter(None, [body, *(_marked(name, text) for name, text in sections.items())]))
    return (_merged_front(_front(new), _front(current), noted) + body).encode(errors="surrogateescape")


def current_card(api: HfApi, repo: str, head: str, repo_type: str = "model") -> str | None:
    """The card at commit `head` of a repo, None when there is none, or one of more than MAX_BYTES. Bytes that are not UTF-8
    are surrogates.
    """
    from huggingface_hub.errors import EntryNotFoundError

    found = api.get_paths_info(repo, [CARD], revision=head, repo_type=repo_type)
    if not found or getattr(found[0], "size", 0) > MAX_BYTES:
        return None
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


def _merged_front(new: str, current: str, noted: re.Match[str] | None) -> str:
    """The front matter of `current` with the values of `new` where nobody has edited them, and the comment below it; `new`
    if `current` has no YAML. `noted`: the comment in `current`.
    """
    import yaml

    ours, theirs = _values(new), _values(current)
    if theirs is None or ours is None:
        return new + _noted(ours or {})
    parts = (part.rpartition("=") for part in (noted["digests"] if noted else "").split())
    digests = {name: digest for name, _, digest in parts if name}

    def is_edited(name: str) -> bool:
        if name in OURS:
            return False
        if name in digests:
            return _digest_of_value(theirs.get(name)) != digests[name]
        return name in theirs  # somebody's own, or of a push before there were digests

    names = [*theirs, *(name for name in {**digests, **ours} if name not in theirs)]
    edited = {name for name in names if is_edited(name)}
    chosen = {name: theirs if name in edited else ours for name in names}
    values = {name: of[name] for name, of in chosen.items() if name in of}
    try:
        front = (
            current if values == theirs else f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"
        )
    except (ValueError, RecursionError):  # a number with thousands of digits; nested more deeply than can be written
        return new + _noted(ours)
    # A value that was edited keeps its digest: deleted by hand, it must not come back.
    kept = {name: digests[name] for name in edited if name in digests}
    return front + _noted({name: value for name, value in ours.items() if name not in edited}, kept)


def _noted(values: dict[str, Any], digests: dict[str, str] | None = None) -> str:
    """The comment with a digest of each of these values, and `digests` as they are."""
    if not values and not digests:
        return ""
    found = {name: _digest_of_value(value) for name, value in values.items()} | (digests or {})
    listed = " ".join(f"{name}={digest}" for name, digest in sorted(found.items()))
    return f"<!-- values above: each push writes them anew, unless they were edited ({listed}) -->\n"


def _digest_of_value(value: Any) -> str:
    """Empty for a value that we cannot have written."""
    try:
        return _digest(json.dumps(value, sort_keys=True, default=str))
    except (TypeError, ValueError, RecursionError):  # keys of several types; as in `_merged_front`
        return ""


def _values(front: str) -> dict[str, Any] | None:
    """None when it is too large, has aliases, or cannot be read. A few nested aliases stand for billions of values."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias")
            return super().compose_node(parent, index)

    if len(front) > MAX_FRONT_CHARACTERS:
        return None
    try:
        found = yaml.load(front.removeprefix("---\n").removesuffix("---\n"), Loader)
    except Exception:  # of any kind: PyYAML raises KeyError for `!!bool x`, IndexError for `!!int ""`
        return None
    return found if isinstance(found, dict) else None
