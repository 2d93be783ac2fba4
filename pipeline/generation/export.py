"""Writes a revision as an ONNX model for programs without torch, and compares its logits with those of the model.

The model takes `input_ids`, int64[batch, tokens], and gives `logits`, float32[batch, tokens, vocabulary]: no cache of
keys and values.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import InputError, PipelineError
from pipeline.generation.loading import load

MODEL = "model.onnx"
KEPT = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "provenance.json")
"""Files of the revision that are copied beside it."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")
MAX_DIFFERENCE = 1e-3
"""Of two logits, relative to the largest one."""


class _Logits(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, use_cache=False).logits
        return logits


def export_onnx(revision: Revision, folder: Path) -> float:
    """Write the revision into the new `folder`. Returns the largest relative difference of its logits to the model's.

    Raises InputError when a package is missing or `folder` exists, the errors of `loading.load`, and PipelineError when
    the logits differ.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"An export needs {', '.join(missing)}; install: pip install -c constraints.txt -r requirements-export.txt."
        )
    if folder.exists():
        raise InputError(f"{folder} exists already; name a folder that does not.")
    model, _ = load(revision.path)
    staged = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        staged.mkdir(parents=True)
        _write(model, staged / MODEL)
        for name in KEPT:
            if (revision.path / name).is_file():
                shutil.copyfile(revision.path / name, staged / name)
        difference = largest_difference(model, staged / MODEL)
        if not difference <= MAX_DIFFERENCE:
            raise PipelineError(
                f"The ONNX model of {revision.revision} differs from it by {difference:.1g} of the largest logit; "
                "nothing is kept."
            )
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return difference


def _write(model: Any, path: Path) -> None:
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=model.config.max_position_embeddings)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own code uses what it has deprecated
        program = torch.onnx.export(
            _Logits(model),
            (torch.ones(2, 8, dtype=torch.int64),),
            dynamo=True,
            verbose=False,
            input_names=["input_ids"],
            output_names=["logits"],
            dynamic_shapes=(axes,),
        )
    assert program is not None, "the exporter of dynamo returns a program"
    program.save(path)


def largest_difference(model: Any, path: Path) -> float:
    """Over random tokens of several lengths, up to the model's positions; relative to the largest logit."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    differences = []
    for shape in ((1, 1), (3, 17), (1, model.config.max_position_embeddings)):
        token_ids = random.integers(model.config.vocab_size, size=shape, dtype=np.int64)
        with torch.inference_mode():
            expected = _Logits(model)(torch.from_numpy(token_ids)).numpy()
        found = session.run(["logits"], {"input_ids": token_ids})[0]
        differences.append(float(np.abs(found - expected).max() / np.abs(expected).max()))
    return max(differences)
