"""Statistics of tokenized sample files: windows and dropped tokens, key tokens and their weights.

Does not depend on Gradio. Imports heavy modules only when called.
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

MAX_CHARACTERS = 2_000_000
"""Maximum of sample text; tokenizing more would take too long for a person who waits."""
SMALL_VOCABULARY = 4_096
"""Vocabulary size of a tokenizer trained on the samples themselves."""
MAX_WORDS = 20
MAX_WORD_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class Inspection:
    windows: dict[str, Any]
    """The result of `window_report`."""
    keys: dict[str, Any]
    """The result of `key_token_report`."""
    tokenizer: str | None
    """Id of the corpus that the tokenizer belongs to; None when it was trained on these samples."""
    vocab_size: int
    samples: str | None
    """Id of the corpus that the samples belong to; None when they come from the preview."""


def key_words(own: str | None) -> tuple[str, ...]:
    """The course's key tokens and the words of `own`, separated by commas or white space. Raises InputError for invalid
    words, and for too many.
    """
    words = tuple(dict.fromkeys([*COURSE_KEY_TOKENS, *(own or "").replace(",", " ").split()]))
    require(len(words) <= MAX_WORDS, "own_words", len(words) - len(COURSE_KEY_TOKENS), "give fewer")
    for word in words:
        is_writable = not any("\ud800" <= character <= "\udfff" for character in word)
        require(
            is_writable and len(word) <= MAX_WORD_CHARACTERS,
            "own_word",
            word,
            f"write up to {MAX_WORD_CHARACTERS} letters",
        )
    return words


def window_of(value: Any) -> int:
    """The form's window in tokens; the course's when empty. Raises InputError for an invalid one."""
    window = DataConfig.window if value in (None, "") else parse_value("window", value, int)
    return DataConfig(window=window).window


def sample_texts(folder: CorpusFolder) -> list[str]:
    """Texts of the corpus's samples, in order; empty when it has none yet."""
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

    texts = _limited(texts)
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


def _limited(texts: Iterable[str]) -> list[str]:
    kept, size = [], 0
    for text in texts:
        if size + len(text) <= MAX_CHARACTERS:
            kept.append(text)
            size += len(text)
    return kept
