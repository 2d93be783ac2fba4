"""The inputs of benchmarks.cuda, made without the packages that read data: a corpus of Python's own source."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from benchmarks.course_loop import Setup
from pipeline.artifacts.corpus import Corpus
from pipeline.config.recipes import PRESETS
from pipeline.config.schema import COURSE_KEY_TOKENS
from pipeline.core.atomic_io import sha256, write_json
from pipeline.core.paths import CorpusFolder
from pipeline.data.tokens import tokenizer as bpe
from pipeline.data.tokens.windows import open_windows
from pipeline.training.loss import KeyTokens

CORPUS = "python"
WINDOW = 128
MICRO_BATCH = 32
"""Windows per forward pass of the course's loop on a GPU."""


def make_corpus(folder: CorpusFolder, *, vocab_size: int, num_bytes: int) -> int:
    """A prepared corpus of about `num_bytes` of Python's standard library, every tenth file for validation. Returns the
    number of its tokens.
    """
    texts, size = [], 0
    for path in sorted(Path(os.__file__).parent.glob("*.py")):
        if size >= num_bytes:
            break
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1])
    tokenizer = bpe.train(iter(texts), vocab_size=vocab_size)
    folder.tokenizer.mkdir(parents=True)
    bpe.save_trained(tokenizer, folder.tokenizer)
    eos_id = tokenizer.token_to_id(bpe.END_OF_TEXT)
    manifest: dict[str, Any] = {"format": 1, "corpus": folder.id, "config": {"windows": "join", "window": WINDOW}}
    total = 0
    for split, files in (("train", [t for n, t in enumerate(texts) if n % 10]), ("validation", texts[::10])):
        tokens = [token for text in files for token in (*tokenizer.encode(text).ids, eos_id)]
        data = np.array(tokens, dtype="<u2").tobytes()
        folder.tokens(split).write_bytes(data)
        manifest |= {f"files_{split}": len(files), f"tokens_{split}": len(tokens)}
        manifest.setdefault("sha256", {})[folder.tokens(split).name] = hashlib.sha256(data).hexdigest()
        total += len(tokens)
    manifest |= {"vocab_size": tokenizer.get_vocab_size(), "eos_id": eos_id, "dtype": "uint16"}
    write_json(folder.manifest, {**manifest, "tokenizer_sha256": sha256(folder.tokenizer / "tokenizer.json")})
    return total


def course_setup(folder: CorpusFolder, *, preset: str, vocab_size: int, batch_size: int, **changes: int) -> Setup:
    """The course's loop on the same windows, with the same batch. `changes`: of the preset's shape."""
    corpus, size = Corpus.open(folder), PRESETS[preset]
    windows = open_windows(corpus, "train", WINDOW)
    shape = {name: getattr(size, name) for name in ("n_layer", "n_embd", "n_head", "n_positions")}
    micro_batch = min(MICRO_BATCH, batch_size)
    tokenizer = AutoTokenizer.from_pretrained(corpus.tokenizer_path)
    return Setup(
        shape={**shape, **changes, "vocab_size": vocab_size},
        train=windows.take(np.arange(len(windows))),
        validation=windows.take(np.arange(1)),
        end_of_text=corpus.eos_id,
        # Python's own source hardly has the course's words; any id costs the loop the same.
        key_token_ids=KeyTokens.find(tokenizer, COURSE_KEY_TOKENS).ids or [corpus.eos_id],
        micro_batch_size=micro_batch,
        accumulation=batch_size // micro_batch,
        num_steps=1_000,
        warmup_steps=10,
    )
