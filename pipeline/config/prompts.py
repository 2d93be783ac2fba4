"""The four prompts of the course (chapter 7, section 6), read from assets/prompts.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from pipeline.core.paths import ASSETS

SAMPLE_TEMPERATURE = 0.6
SAMPLE_TOKENS = 24
"""Of the completion of the first prompt that a run writes at each evaluation."""


@dataclass(frozen=True)
class Prompt:
    name: str
    text: str
    """Input of the model, including the final newline."""
    answer: str
    """What the course's model wrote, as the chapter shows it."""


@cache
def course_prompts() -> tuple[Prompt, ...]:
    rows = json.loads((ASSETS / "prompts.json").read_text(encoding="utf-8"))
    return tuple(Prompt(row["name"], row["prompt"], row["answer"]) for row in rows)
