"""Loads a revision: checks all files against the manifest, reads model and tokenizer. Does not depend on processes.

transformers itself accepts a flipped byte, a zeroed tail, missing layers and NaN weights, and imports code that a
config names. So it is given a checked config, a checked tokenizer and the weights, but never the folder.
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
from pipeline.core.text import without_errno
from pipeline.generation.model_config import read_config
from pipeline.generation.tokenizer_file import read_tokenizer
from pipeline.generation.weights import read_weights

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)
"""Errors that malformed files raise, here and in the libraries. RecursionError is a RuntimeError."""
MAX_REASON_CHARACTERS = 300
REMEDY = "choose another revision, or delete this one and publish it again"


def load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, in float32 and evaluation mode, and the tokenizer of the revision in `path`.

    Raises InputError when `path` is not a revision, DamagedError when it does not match its manifest or fails to load.
    """
    logging.disable_progress_bar()  # models of this size load too fast for one
    model_class: Any = GPT2LMHeadModel  # from_pretrained is typed as returning only a model
    model: PreTrainedModel
    try:
        check_files(path)
        config = read_config(path)
        tokenizer = read_tokenizer(path, config.vocab_size)
        weights = read_weights(path / "model.safetensors", config)
        model, report = model_class.from_pretrained(
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
        reason = without_errno(str(error)).partition("\n")[0][:MAX_REASON_CHARACTERS] or type(error).__name__
        raise DamagedError(f"{path} cannot be loaded ({reason}); {REMEDY}.") from error
    _check_weights(path, model, report)
    model.generation_config = GenerationConfig()  # the revision's own would be merged into the requested settings
    return model.eval(), tokenizer


def check_files(path: Path) -> None:
    """Check every file of the revision against its manifest, cheapest check first. Raises the errors of `load`."""
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
    """Check that the file has exactly the model's weights and that all are finite. Tied weights may be absent."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            names = ", ".join(sorted(str(key) for key in report[kind])[:3])
            raise DamagedError(f"{path / 'model.safetensors'} has {kind.replace('_', ' ')} ({names}); {REMEDY}.")
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise DamagedError(f"{path / 'model.safetensors'} holds NaN or infinity in {name}; {REMEDY}.")
