"""What one completion is asked for, checked at birth, and the check of a prompt. Knows nothing of torch."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from pipeline.config.parsing import parse_value
from pipeline.core.errors import InputError, require
from pipeline.core.settings import Limits


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one prompt is completed. The same values, revision and device write the same text."""

    max_new_tokens: int = 64
    """Most tokens one completion adds; it may end earlier by itself."""
    temperature: float = 0.6
    """Below 1 likely tokens become likelier; 0 takes the likeliest token each time."""
    top_p: float = 0.95
    """Sample from the likeliest tokens whose probabilities sum to this; 1 takes all."""
    top_k: int = 0
    """Sample from this many likeliest tokens; 0 takes all."""
    seed: int = 0
    """Of the first completion; the next one has the next seed, so each is the same however many are asked for."""
    samples: int = 1
    """Completions of the prompt."""

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(Sampling).items():
            object.__setattr__(self, name, parse_value(name, getattr(self, name), kind))
        require(1 <= self.max_new_tokens <= 65_536, "max_new_tokens", self.max_new_tokens, "set 1 to 65536")
        # Below a hundredth the scores overflow; above 5 nothing but noise is left.
        require(
            self.temperature == 0 or 0.01 <= self.temperature <= 5,
            "temperature",
            self.temperature,
            "set 0.01 to 5, or 0 for the likeliest token each time",
        )
        require(0 < self.top_p <= 1, "top_p", self.top_p, "set it above 0 and at most 1")
        require(0 <= self.top_k <= 1_000_000, "top_k", self.top_k, "set 0 (off) to 1000000")
        require(0 <= self.seed < 2**32, "seed", self.seed, "set 0 to 4294967295")
        require(1 <= self.samples <= 64, "samples", self.samples, "set 1 to 64")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_sampling(sampling: Sampling, limits: Limits) -> Sampling:
    """`sampling`, if one visitor may ask this instance for that much. Raises InputError otherwise."""
    most = {"max_new_tokens": limits.new_tokens, "samples": limits.samples}
    for name, limit in most.items():
        value = getattr(sampling, name)
        require(value <= limit, name, value, f"set it to {limit} or less")
    return sampling


def check_prompt(prompt: str, limits: Limits) -> str:
    """`prompt` as it is, if there is something in it and not too much. Raises InputError otherwise."""
    if not (isinstance(prompt, str) and prompt.strip()):
        raise InputError("The prompt is empty; write something to go on with.")
    if len(prompt) > limits.prompt_characters:
        raise InputError(
            f"The prompt is {len(prompt):,} characters long; shorten it to {limits.prompt_characters:,} or fewer."
        )
    return check_text("prompt", prompt)


def check_text(name: str, text: str) -> str:
    """`text` as it is, if it can be written as UTF-8; half a surrogate pair cannot. Raises InputError otherwise."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"The {name} holds {text[error.start]!r} at {error.start}, which is no text; take it out."
        ) from error
    return text
