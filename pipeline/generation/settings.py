"""The sampling settings of a request, checked on construction, and the check of a prompt. Does not depend on torch."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from pipeline.config.parsing import parse_value
from pipeline.core.errors import InputError, require
from pipeline.core.settings import Limits
from pipeline.core.text import surrogate_at
from pipeline.generation.ending import LENGTH, STOPS


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one prompt is completed. The same values, revision and engine (`float32` or `int8`, of one kind of CPU) give the
    same text.
    """

    max_new_tokens: int = 64
    """Max tokens per completion; an end-of-text token ends it earlier."""
    temperature: float = 0.6
    """Values below 1 make likely tokens likelier; 0 always takes the likeliest token."""
    top_p: float = 0.95
    """Sample from the likeliest tokens whose probabilities sum to this; 1 takes all."""
    top_k: int = 0
    """Sample from this many likeliest tokens; 0 takes all."""
    seed: int = 0
    """Seed of the first completion. Each further one adds 1, so a completion does not depend on `samples`."""
    samples: int = 1
    """Number of completions of the prompt."""
    stop_at: str = LENGTH
    """Where a completion ends, if not before at its tokens: `line`, `function`, or `length` at its tokens."""

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(Sampling).items():
            object.__setattr__(self, name, parse_value(name, getattr(self, name), kind))
        require(1 <= self.max_new_tokens <= 65_536, "max_new_tokens", self.max_new_tokens, "set 1 to 65536")
        # Below 0.01 the logits overflow; above 5 only noise is left.
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
        require(self.stop_at in STOPS, "stop_at", self.stop_at, "set length, line or function")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_sampling(sampling: Sampling, limits: Limits) -> Sampling:
    """`sampling`, if it is within the limits of this instance. Raises InputError otherwise."""
    by_name = {"max_new_tokens": limits.new_tokens, "samples": limits.samples}
    for name, limit in by_name.items():
        value = getattr(sampling, name)
        require(value <= limit, name, value, f"set it to {limit} or less")
    return sampling


def check_prompt(prompt: str, limits: Limits) -> str:
    """`prompt` unchanged, if it is neither blank, too long nor invalid Unicode. Raises InputError otherwise."""
    if not (isinstance(prompt, str) and prompt.strip()):
        raise InputError("The prompt is empty; write something to go on with.", name="prompt")
    if len(prompt) > limits.prompt_characters:
        raise InputError(
            f"The prompt is {len(prompt):,} characters long; shorten it to {limits.prompt_characters:,} or fewer.",
            name="prompt",
        )
    return check_text("prompt", prompt)


def check_text(name: str, text: str) -> str:
    """`text` unchanged, if it can be encoded as UTF-8; a lone surrogate cannot. Raises InputError otherwise."""
    at = surrogate_at(text)
    if at is not None:
        raise InputError(f"The {name} holds {text[at]!r} at {at}, which is no text; take it out.", name=name)
    return text
