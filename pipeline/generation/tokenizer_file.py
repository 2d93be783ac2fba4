"""Reads a revision's tokenizer.json as a byte-pair encoding of bounded cost for any input. Does not depend on models.

Only tokenizer.json defines the tokenization. Of tokenizer_config.json and special_tokens_map.json only the end-of-text
token is read, so no class is looked up, no chat template rendered and no code imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from pipeline.core.atomic_io import read_json
from pipeline.data.tokens.tokenizer import vocabulary_size

MAX_BYTES = 64 * 2**20
MAX_CONFIG_BYTES = 4 * 2**20
MAX_ADDED_TOKENS = 1_000
MAX_TOKEN_CHARACTERS = 4_096
MAX_ADDED_CHARACTERS = 256
MAX_REPLACEMENT_CHARACTERS = 16
MAX_PART_CHARACTERS = 16_384
"""Max size of one part of the tokenizer as JSON."""

PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
TYPES = frozenset(
    "Sequence NFC NFD NFKC NFKD Lowercase StripAccents Strip Prepend Replace ByteLevel Digits Whitespace WhitespaceSplit "
    "Punctuation Metaspace Split TemplateProcessing ByteFallback Fuse".split()
)
NESTED = ("normalizers", "pretokenizers", "processors", "decoders")

WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + ENDINGS + "?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + ENDINGS + "?"
)
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
REGEXES = frozenset(
    {
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        ENDINGS + "|" + WORDS + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES,  # GPT-4, Llama 3
        ENDINGS + "|" + WORDS + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES,  # Qwen 2
        CASED + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES,  # GPT-4o
    }
)
"""Allow-list: any other regex may take hours for one line."""


def read_tokenizer(folder: Path, vocab_size: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the revision, with all ids below `vocab_size`. Raises ValueError naming the invalid part."""
    text = _read(folder / "tokenizer.json", MAX_BYTES)
    content = json.loads(text)
    _check_model(content["model"], vocab_size)
    _check_added(content.get("added_tokens") or [])
    for part in PARTS:
        _check_part(part, content.get(part))
    tokenizer = _parsed(text)
    if (size := vocabulary_size(tokenizer)) > vocab_size:
        raise ValueError(f"it has {size:,} tokens in its tokenizer but {vocab_size:,} in its model")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=_end_of_text(folder, tokenizer))


def _check_model(model: Any, vocab_size: int) -> None:
    _check(isinstance(model, dict) and model.get("type") == "BPE", "model", model)
    _check(not model.get("dropout"), "dropout", model.get("dropout"))  # a seed would not determine the tokens
    vocab = model.get("vocab")
    _check(isinstance(vocab, dict), "vocab", vocab)
    longest = max(map(len, vocab), default=0)
    _check(longest <= MAX_TOKEN_CHARACTERS, "longest token", f"{longest:,} characters")
    for name in ("unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        _check(len(str(model.get(name))) <= MAX_ADDED_CHARACTERS, name, model.get(name))
    if len(vocab) > vocab_size:
        raise ValueError(f"it has {len(vocab):,} tokens in its tokenizer but {vocab_size:,} in its model")


def _check_added(added: Any) -> None:
    _check(isinstance(added, list) and len(added) <= MAX_ADDED_TOKENS, "added_tokens", added)
    for token in added:
        content = token.get("content") if isinstance(token, dict) else None
        _check(isinstance(content, str) and 0 < len(content) <= MAX_ADDED_CHARACTERS, "added token", token)


def _check_part(name: str, part: Any) -> None:
    if part is None:
        return
    _check(isinstance(part, dict) and part.get("type") in TYPES, name, part)
    _check(len(json.dumps(part)) <= MAX_PART_CHARACTERS, name, part)
    for nested in NESTED:
        for inner in part.get(nested) or []:
            _check_part(name, inner)
    pattern = part.get("pattern")
    if isinstance(pattern, dict):
        _check("Regex" not in pattern or pattern["Regex"] in REGEXES, f"regex in its {name}", pattern.get("Regex"))
        _check(pattern.get("String") != "", f"pattern in its {name}", pattern)
    for key in ("content", "prepend"):
        value = part.get(key) or ""
        _check(
            isinstance(value, str | int) and len(str(value)) <= MAX_REPLACEMENT_CHARACTERS,
            f"{key} in its {name}",
            value,
        )


def _parsed(text: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # `tokenizers` raises no more specific type
        raise ValueError(f"tokenizer.json: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a Rust panic; its class cannot be imported
            raise
        raise ValueError(f"tokenizer.json: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _end_of_text(folder: Path, tokenizer: Tokenizer) -> str | None:
    """The token that ends a text, if the revision names one."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            _read(folder / name, MAX_CONFIG_BYTES)
            config |= read_json(folder / name) or {}
    named = config.get("eos_token")
    token = named.get("content") if isinstance(named, dict) else named
    is_valid = token is None or (isinstance(token, str) and tokenizer.token_to_id(token) is not None)
    _check(is_valid, "eos_token", named)
    return token


def _read(path: Path, max_bytes: int) -> str:
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes, {max_bytes:,} are read")
    return path.read_text(encoding="utf-8")


def _check(is_valid: bool, part: str, value: Any) -> None:
    if not is_valid:
        raise ValueError(f"its tokenizer has the {part} {str(value)[:80]!r}, which is not read here")
