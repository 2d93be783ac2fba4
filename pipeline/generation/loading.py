"""Reads a revision's folder: every file against its manifest, then model and tokenizer. Knows nothing of processes.

transformers itself accepts a flipped byte, a zeroed tail, missing layers and weights that are not numbers, and imports
what a config names. So it is given a checked config, a checked tokenizer and the weights, and no folder to look into.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from pipeline.artifacts import manifest
from pipeline.core.atomic_io import read_json
from pipeline.core.errors import DamagedError, InputError
from pipeline.generation.model_config import read_config
from pipeline.generation.tokenizer_file import read_tokenizer
from pipeline.generation.weights import read_weights

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)
"""What odd files raise, here and in the libraries; RecursionError is a RuntimeError."""
MAX_REASON_CHARACTERS = 300
REMEDY = "choose another revision, or delete this one and publish it again"


def load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, float32 and in evaluation mode, and the tokenizer of the revision in `path`.

    Raises InputError when `path` is not a revision, DamagedError when it is not what its manifest says or cannot write.
    """
    logging.disable_progress_bar()  # a model of this size is read in a blink
    reading: Any = GPT2LMHeadModel  # typed as if it could only return a model
    model: PreTrainedModel
    try:
        check_files(path)
        config = read_config(path)
        tokenizer = read_tokenizer(path, config.vocab_size)
        weights = read_weights(path / "model.safetensors", config)
        model, report = reading.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except torch.OutOfMemoryError:
        raise
    except FAULTS as error:
        reason = str(error).partition("\n")[0][:MAX_REASON_CHARACTERS] or type(error).__name__
        raise DamagedError(f"{path} cannot be loaded ({reason}); {REMEDY}.") from error
    _check_weights(path, model, report)
    model.generation_config = GenerationConfig()  # the revision's own would be mixed into what a visitor asks for
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
