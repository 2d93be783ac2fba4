"""Reads a revision's folder: every file against its manifest, then model and tokenizer. Knows nothing of processes.

transformers itself accepts a flipped byte, a zeroed tail, missing layers and weights that are not numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from pipeline import manifest
from pipeline.errors import DamagedError, InputError
from pipeline.files import read_json

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
REMEDY = "choose another revision, or delete this one and publish it again"


def load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, float32 and in evaluation mode, and the tokenizer of the revision in `path`.

    Raises InputError when `path` is not a revision, DamagedError when it is not what its manifest says or cannot write.
    """
    check_files(path)
    logging.disable_progress_bar()  # a model of this size is read in a blink
    reading: Any = AutoModelForCausalLM  # typed as if it could only return a model
    model: PreTrainedModel
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model, report = reading.from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise DamagedError(f"{path} cannot be loaded ({reason}); {REMEDY}.") from error
    _check_weights(path, model, report)
    if len(tokenizer) > model.config.vocab_size:
        raise DamagedError(
            f"{path} has {len(tokenizer):,} tokens in its tokenizer but {model.config.vocab_size:,} in its model; {REMEDY}."
        )
    return model.eval(), tokenizer


def check_files(path: Path) -> None:
    """Compare every file of the revision with its manifest, cheapest first."""
    found = read_json(path / manifest.NAME)
    if found is None:
        raise InputError(
            f"{path} is not a revision: it has no manifest.json; choose one from `python -m pipeline revisions`."
        )
    entries = manifest.entries_of(found)
    if entries is None:
        raise DamagedError(f"{path / manifest.NAME} lists no files of its own with size and SHA-256; {REMEDY}.")
    for name in NEEDED:
        if name not in entries:
            raise DamagedError(f"{path / manifest.NAME} names no {name}; {REMEDY}.")
    if fault := manifest.fault(path, entries):
        raise DamagedError(f"{path}: {fault}; {REMEDY}.")


def _check_weights(path: Path, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Every weight was in the file, the file held nothing else, and all are numbers. Tied weights are not missing."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            names = ", ".join(sorted(str(key) for key in report[kind])[:3])
            raise DamagedError(f"{path / 'model.safetensors'} has {kind.replace('_', ' ')} ({names}); {REMEDY}.")
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise DamagedError(f"{path / 'model.safetensors'} holds NaN or infinity in {name}; {REMEDY}.")
