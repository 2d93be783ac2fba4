"""What a tokenizer makes of sample files: windows and their waste, key tokens and their weights.

Knows nothing of Gradio. Imports what is heavy only when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.config.parsing import parse_value
from pipeline.config.schema import COURSE_KEY_TOKENS, DataConfig, TrainingConfig
from pipeline.core.atomic_io import readable_json
from pipeline.core.errors import InputError, require
from pipeline.core.paths import CorpusFolder
from pipeline.ui.shared.texts import t

if TYPE_CHECKING:
    from pipeline.data.tokens.encoder import Encoder

MOST_CHARACTERS = 2_000_000
"""Of sample text; reading more takes longer than somebody waits."""
SMALL_VOCABULARY = 4_096
"""Of the tokenizer that is trained on the samples themselves."""
MOST_WORDS = 20
MOST_WORD_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class Inspection:
    windows: dict[str, Any]
    """As `window_report`."""
    keys: dict[str, Any]
    """As `key_token_report`."""
    tokenizer: str | None
    """The corpus whose tokenizer it is; None when it was trained on these samples."""
    vocab_size: int
    samples: str | None
    """The corpus whose samples they are; None when they are those of the look."""


def key_words(own: str | None) -> tuple[str, ...]:
    """The course's key tokens and those typed in, between commas. Raises InputError for one that cannot be."""
    words = tuple(dict.fromkeys([*COURSE_KEY_TOKENS, *filter(None, (word.strip() for word in (own or "").split(",")))]))
    require(len(words) <= MOST_WORDS, "own words", len(words) - len(COURSE_KEY_TOKENS), "give fewer")
    for word in words:
        is_writable = not any("\ud800" <= character <= "\udfff" for character in word)
        require(
            is_writable and len(word) <= MOST_WORD_CHARACTERS,
            "own word",
            word,
            f"write up to {MOST_WORD_CHARACTERS} letters",
        )
    return words


def window_of(value: Any) -> int:
    """The window of the form; empty: the course's. Raises InputError for one that cannot be."""
    window = DataConfig.window if value in (None, "") else parse_value("window", value, int)
    return DataConfig(window=window).window


def sample_texts(folder: CorpusFolder) -> list[str]:
    """The samples of a corpus, in their order; none when it has none yet."""
    return [sample["content"] for sample in readable_json(folder.samples).get("samples", [])]


def inspect(
    texts: Iterable[str],
    *,
    tokenizer: CorpusFolder | None,
    samples: str | None,
    words: tuple[str, ...],
    window: int,
) -> Inspection:
    """Raises InputError when there are no texts."""
    from pipeline.data.report.window_stats import key_token_report, window_report

    texts = _within_reason(texts)
    if not texts:
        raise InputError(t("inspect.nothing"))
    encoder = _encoder(tokenizer, texts)
    alpha = TrainingConfig.alpha
    return Inspection(
        windows=window_report(encoder, texts, window),
        keys=key_token_report(encoder, texts, words, window, alpha),
        tokenizer=tokenizer.id if tokenizer else None,
        vocab_size=encoder.vocab_size,
        samples=samples,
    )


def _encoder(tokenizer: CorpusFolder | None, texts: list[str]) -> Encoder:
    from pipeline.data.tokens import tokenizer as tokenizers
    from pipeline.data.tokens.encoder import Encoder

    if tokenizer is not None:
        return Encoder.open(tokenizer.tokenizer)
    with TemporaryDirectory() as folder:
        tokenizers.save_trained(tokenizers.train(iter(texts), SMALL_VOCABULARY), Path(folder))
        return Encoder.open(Path(folder))


def _within_reason(texts: Iterable[str]) -> list[str]:
    found, size = [], 0
    for text in texts:
        if size + len(text) <= MOST_CHARACTERS:
            found.append(text)
            size += len(text)
    return found
