"""One saved example: its fields, the limits on what may be saved, and reading it from its file."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.errors import PipelineError, require
from pipeline.core.settings import Limits
from pipeline.core.text import surrogate_at
from pipeline.core.untrusted import is_usable

ID = re.compile(r"[a-z0-9]{8}")
TITLE_CHARACTERS = 80
TEXT_CHARACTERS = 20_000
"""Max characters of one completion; more than the maximum number of tokens ever needs."""
MAX_TEXTS = 2 * Limits.samples
"""Completions in a file: those of two revisions. A file from elsewhere could have any number, each an element of the page."""
SETTINGS_CHARACTERS = 2_000
"""Max characters of the settings as JSON."""
MAX_IN_MEMORY = 128
"""Max examples cached with their texts: a few pages of the gallery."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One saved generation result. It never changes."""

    id: str
    prompt: str
    settings: dict[str, Any]
    """Sampling settings, such as the temperature."""
    seed: int
    revision: str
    """12 hexadecimal digits."""
    repo: str
    run: str
    step: int
    eval_loss: float | None
    texts: list[str]
    """The completions, without the prompt."""
    title: str
    created_at: str
    """ISO 8601 in UTC."""
    remix_of: str = ""
    """Id of the example that this one began from; it may be gone."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of what identifies a result: prompt, settings, seed, revision and texts."""
        parts = [self.prompt, self.settings, self.seed, self.revision, self.texts]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


REQUIRED = {field.name for field in fields(Example) if field.default is MISSING}
"""An older example lacks the others."""


def check(prompt: str, settings: dict[str, Any], texts: Sequence[str], title: str, limits: Limits) -> None:
    """Raises InputError when a part is empty, too large or cannot be encoded as UTF-8."""
    limit = limits.prompt_characters
    require(bool(prompt.strip()), "prompt", prompt, "write something first")
    require(len(prompt) <= limit, "prompt", f"{len(prompt):,} characters", f"keep it to {limit:,}")
    require(1 <= len(texts) <= limits.samples, "texts", len(texts), f"keep 1 to {limits.samples}")
    longest = max(len(text) for text in texts)
    require(longest <= TEXT_CHARACTERS, "text", f"{longest:,} characters", f"keep it to {TEXT_CHARACTERS:,}")
    require(len(title) <= TITLE_CHARACTERS, "title", f"{len(title)} characters", f"keep it to {TITLE_CHARACTERS}")
    size = len(json.dumps(settings))
    require(size <= SETTINGS_CHARACTERS, "settings", f"{size:,} characters", f"keep them to {SETTINGS_CHARACTERS:,}")
    for name, text in (("prompt", prompt), ("title", title), *(("text", text) for text in texts)):
        require(surrogate_at(text) is None, name, "not valid Unicode", "leave out the half of a surrogate pair")


def title_of(title: str, prompt: str) -> str:
    """`title` on one line. A blank title is replaced by the last non-blank line of the prompt, cut to the limit."""
    if title.strip():
        return " ".join(title.split())
    line = prompt.strip().splitlines()[-1].strip()
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"


def read_example(path: Path) -> Example | None:
    """The example in `path`; None when the file cannot be read or is not a valid example."""
    try:
        value = atomic_io.read_json(path) or {}
    except (PipelineError, OSError):
        return None
    if REQUIRED - value.keys() or value["id"] != path.stem or not _has_valid_types(value):
        return None
    return Example(**{field.name: value[field.name] for field in fields(Example) if field.name in value})


def recent_example(path: Path) -> Example | None:
    """`read_example` with an LRU cache keyed by path, modification time and size. None when there is no such file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return _read_once(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=MAX_IN_MEMORY)
def _read_once(path: Path, mtime_ns: int, size: int) -> Example | None:
    return read_example(path)


def _has_valid_types(value: dict[str, Any]) -> bool:
    """Whether every value has the type that the code which displays it relies on, and can be shown: half a surrogate pair
    in one example would be an error of every page that lists it.
    """
    texts = ("prompt", "revision", "repo", "run", "title", "created_at")
    loss = value["eval_loss"]
    return (
        is_usable(value)
        and all(isinstance(value[name], str) for name in texts)
        and isinstance(value["settings"], dict)
        and all(type(value[name]) is int for name in ("seed", "step"))
        and isinstance(value["texts"], list)
        and len(value["texts"]) <= MAX_TEXTS
        and all(isinstance(text, str) for text in value["texts"])
        and _is_id_or_empty(value.get("remix_of", ""))
        and (loss is None or (isinstance(loss, (int, float)) and math.isfinite(loss)))
    )


def _is_id_or_empty(value: object) -> bool:
    return isinstance(value, str) and (not value or ID.fullmatch(value) is not None)
