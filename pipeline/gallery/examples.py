"""Examples that people kept: one JSON file each in the gallery folder, named by a short id that goes into a link.

An example never changes and needs nothing else to be shown: it holds the prompt, the settings, what was written, and
which revision wrote it. Whoever opens the link sees that, also after the revision is gone.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import DamagedError, InputError, PipelineError, require
from pipeline.hub.registry import Revision
from pipeline.settings import Limits

ID = re.compile(r"[a-z0-9]{8}")
ALPHABET = string.ascii_lowercase + string.digits
TITLE_CHARACTERS = 80
TEXT_CHARACTERS = 20_000
"""Of one completion: more than the most tokens that one may have ever need."""
SETTINGS_CHARACTERS = 2_000
"""Of the settings as JSON."""
MOST_EXAMPLES = 5_000
"""Then somebody has to tidy up; until then no visitor can fill the disk."""


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


class Examples:
    """One gallery folder. Making one creates nothing; several processes may keep and read at once."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder
        self.limits = limits or Limits()

    def keep(
        self,
        *,
        prompt: str,
        settings: dict[str, Any],
        seed: int,
        revision: Revision,
        texts: Sequence[str],
        title: str = "",
    ) -> Example:
        """Keep a result; without a title it gets the last line of its prompt. Raises InputError for what is too large."""
        self._check(prompt, settings, texts, title)
        facts: dict[str, Any] = {
            "prompt": prompt,
            "settings": settings,
            "seed": seed,
            "revision": revision.revision,
            "repo": revision.repo,
            "run": revision.run,
            "step": revision.step,
            "eval_loss": revision.eval_loss,
            "texts": list(texts),
            "title": " ".join(title.split()) or _last_line(prompt),
            "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        with files.locked(self.folder / ".lock"):  # so that an id that is free stays free until it is taken
            known = len(self._paths())
            require(known < MOST_EXAMPLES, "gallery", f"{known:,} examples", "it is full; delete some first")
            example = Example(id=self._free_id(), **facts)
            files.write_json(self._path(example.id), example.to_dict())
        return example

    def get(self, example_id: str) -> Example:
        """Raises InputError when there is no such example, DamagedError when its file cannot be read."""
        if not ID.fullmatch(example_id) or not self._path(example_id).exists():
            raise InputError(f"There is no example {example_id[:20]!r}; the Gallery lists those there are.")
        example = _read_file(self._path(example_id))
        if example is None:
            raise DamagedError(f"Example {example_id} cannot be read; its file in the gallery folder is damaged.")
        return example

    def list(self) -> list[Example]:
        """Every example that can be read, newest first."""
        found = [example for example in map(_read_file, self._paths()) if example is not None]
        return sorted(found, key=lambda example: (example.created_at, example.id), reverse=True)

    @property
    def num_damaged(self) -> int:
        """Files of the folder that `list` leaves out because they cannot be read."""
        return sum(_read_file(path) is None for path in self._paths())

    def _check(self, prompt: str, settings: dict[str, Any], texts: Sequence[str], title: str) -> None:
        most = self.limits.prompt_characters
        require(bool(prompt.strip()), "prompt", prompt, "write something first")
        require(len(prompt) <= most, "prompt", f"{len(prompt):,} characters", f"keep it to {most:,}")
        require(1 <= len(texts) <= self.limits.samples, "texts", len(texts), f"keep 1 to {self.limits.samples}")
        longest = max(len(text) for text in texts)
        require(longest <= TEXT_CHARACTERS, "text", f"{longest:,} characters", f"keep it to {TEXT_CHARACTERS:,}")
        require(len(title) <= TITLE_CHARACTERS, "title", f"{len(title)} characters", f"keep it to {TITLE_CHARACTERS}")
        size = len(json.dumps(settings))
        require(
            size <= SETTINGS_CHARACTERS, "settings", f"{size:,} characters", f"keep them to {SETTINGS_CHARACTERS:,}"
        )
        for name, text in (("prompt", prompt), ("title", title), *(("text", text) for text in texts)):
            require(_is_writable(text), name, "not valid Unicode", "leave out the half of a surrogate pair")

    def _free_id(self) -> str:
        while True:
            found = "".join(secrets.choice(ALPHABET) for _ in range(8))
            if not self._path(found).exists():
                return found

    def _path(self, example_id: str) -> Path:
        return self.folder / f"{example_id}.json"

    def _paths(self) -> Sequence[Path]:
        return [path for path in self.folder.glob("*.json") if ID.fullmatch(path.stem)]


def _last_line(prompt: str) -> str:
    line = prompt.strip().splitlines()[-1].strip()
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_file(path: Path) -> Example | None:
    """The example in `path`, None when it cannot be read. Reads a file once: it never changes."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=MOST_EXAMPLES)
def _read(path: Path, mtime_ns: int, size: int) -> Example | None:
    try:
        value = files.read_json(path) or {}
    except (PipelineError, OSError):
        return None
    names = {field.name for field in fields(Example)}
    if names - value.keys() or value["id"] != path.stem or not _is_sound(value):
        return None
    return Example(**{name: value[name] for name in names})


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
