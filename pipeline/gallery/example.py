"""One kept example: what it holds, what may be kept, and how its file is read."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.errors import PipelineError, require
from pipeline.core.settings import Limits

ID = re.compile(r"[a-z0-9]{8}")
TITLE_CHARACTERS = 80
TEXT_CHARACTERS = 20_000
"""Of one completion: more than the most tokens that one may have ever need."""
SETTINGS_CHARACTERS = 2_000
"""Of the settings as JSON."""
MOST_IN_MEMORY = 128
"""Examples whose texts stay in memory: some pages of the gallery."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One result as it was."""

    id: str
    prompt: str
    settings: dict[str, Any]
    """How it was sampled: temperature and the like."""
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def fingerprint(self) -> bytes:
        """The same for two examples that differ in nothing but id, title and time."""
        parts = [self.prompt, self.settings, self.seed, self.revision, self.texts]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def check(prompt: str, settings: dict[str, Any], texts: Sequence[str], title: str, limits: Limits) -> None:
    """Raises InputError for what is too large or cannot be written as UTF-8."""
    most = limits.prompt_characters
    require(bool(prompt.strip()), "prompt", prompt, "write something first")
    require(len(prompt) <= most, "prompt", f"{len(prompt):,} characters", f"keep it to {most:,}")
    require(1 <= len(texts) <= limits.samples, "texts", len(texts), f"keep 1 to {limits.samples}")
    longest = max(len(text) for text in texts)
    require(longest <= TEXT_CHARACTERS, "text", f"{longest:,} characters", f"keep it to {TEXT_CHARACTERS:,}")
    require(len(title) <= TITLE_CHARACTERS, "title", f"{len(title)} characters", f"keep it to {TITLE_CHARACTERS}")
    size = len(json.dumps(settings))
    require(size <= SETTINGS_CHARACTERS, "settings", f"{size:,} characters", f"keep them to {SETTINGS_CHARACTERS:,}")
    for name, text in (("prompt", prompt), ("title", title), *(("text", text) for text in texts)):
        require(_is_writable(text), name, "not valid Unicode", "leave out the half of a surrogate pair")


def title_of(title: str, prompt: str) -> str:
    """`title` on one line; without one, the last line of the prompt that says something."""
    if title.strip():
        return " ".join(title.split())
    line = prompt.strip().splitlines()[-1].strip()
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"


def read_example(path: Path) -> Example | None:
    """The example in `path`; None when it cannot be read or is none."""
    try:
        value = atomic_io.read_json(path) or {}
    except (PipelineError, OSError):
        return None
    names = {field.name for field in fields(Example)}
    if names - value.keys() or value["id"] != path.stem or not _is_sound(value):
        return None
    return Example(**{name: value[name] for name in names})


def recent_example(path: Path) -> Example | None:
    """`read_example`, from memory when it was read lately: a file never changes."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return _read_once(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=MOST_IN_MEMORY)
def _read_once(path: Path, mtime_ns: int, size: int) -> Example | None:
    return read_example(path)


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_sound(value: dict[str, Any]) -> bool:
    """Whether everything has the type that whoever shows it relies on."""
    texts = ("prompt", "revision", "repo", "run", "title", "created_at")
    loss = value["eval_loss"]
    return (
        all(isinstance(value[name], str) for name in texts)
        and isinstance(value["settings"], dict)
        and all(type(value[name]) is int for name in ("seed", "step"))
        and isinstance(value["texts"], list)
        and all(isinstance(text, str) for text in value["texts"])
        and (loss is None or (isinstance(loss, (int, float)) and math.isfinite(loss)))
    )
