"""A real corpus of a few kilobytes and runs of a model that trains in a second, for the tests of this package."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState

from pipeline.core.atomic_io import read_json, read_lines, sha256, write_json
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import ROOT, CorpusFolder, Home, RunFolder
from pipeline.data.tokens import tokenizer as bpe
from pipeline.training.__main__ import ENVIRONMENT
from pipeline.training.loop import train

WINDOW = 16
SMALL: dict[str, Any] = {
    "n_layer": 2,
    "n_embd": 16,
    "n_head": 2,
    "n_positions": 256,
    "window": WINDOW,
    "batch_size": 8,
    "micro_batch_size": 4,
    "max_steps": 12,
    "warmup_steps": 2,
    "learning_rate": 1e-2,
    "eval_every_steps": 6,
    "eval_windows": 10,
    "checkpoint_every_steps": 6,
    "log_every_steps": 1,
    "precision": "fp32",
}
"""Dropout stays on, as GPT-2 has it."""


def make_corpus(folder: CorpusFolder, *, num_files: int = 60) -> CorpusFolder:
    """A prepared corpus with a trained tokenizer: `num_files` small scripts, every tenth of them for validation."""
    texts = [_script(random.Random(number)) for number in range(num_files)]
    tokenizer = bpe.train(iter(texts), vocab_size=320)
    folder.tokenizer.mkdir(parents=True)
    bpe.save_trained(tokenizer, folder.tokenizer)
    eos_id = tokenizer.token_to_id(bpe.END_OF_TEXT)
    splits = {"train": [t for n, t in enumerate(texts) if n % 10], "validation": texts[::10]}
    manifest: dict[str, Any] = {"format": 1, "corpus": folder.id, "config": {"windows": "join", "window": WINDOW}}
    for split, files in splits.items():
        tokens = [token for text in files for token in (*tokenizer.encode(text).ids, eos_id)]
        data = np.array(tokens, dtype="<u2").tobytes()
        folder.tokens(split).write_bytes(data)
        manifest |= {f"files_{split}": len(files), f"tokens_{split}": len(tokens)}
        manifest.setdefault("sha256", {})[folder.tokens(split).name] = hashlib.sha256(data).hexdigest()
    manifest |= {"vocab_size": tokenizer.get_vocab_size(), "eos_id": eos_id, "dtype": "uint16"}
    write_json(folder.manifest, {**manifest, "tokenizer_sha256": sha256(folder.tokenizer / "tokenizer.json")})
    return folder


def new_run(home: Home, run_id: str = "run", *, recipe: str = "accelerate", **changes: Any) -> RunFolder:
    """A run that is requested but not started. `changes` override SMALL."""
    folder = home.run(run_id)
    write_request(folder, recipe=recipe, changes={**SMALL, **changes}, resume=False)
    return folder


def write_request(folder: RunFolder, *, recipe: str = "accelerate", changes: dict[str, Any], resume: bool) -> None:
    write_json(
        folder.request,
        {
            "request_id": f"{folder.id}-{'again' if resume else 'first'}",
            "kind": "train",
            "requested_at": 0.0,
            "corpus": "python",
            "preset": "tiny",
            "recipe": recipe,
            "changes": changes,
            "resume": resume,
        },
    )


def ask_to_resume(folder: RunFolder) -> None:
    request = read_json(folder.request)
    assert request
    write_json(folder.request, {**request, "request_id": f"{request['request_id']}-again", "resume": True})


def train_here(folder: RunFolder, job_kind: type[JobProcess] = JobProcess) -> dict[str, Any]:
    """Train in this process until the run ends; returns its status."""
    AcceleratorState._reset_state(reset_partial_state=True)  # an earlier run may have used another precision
    torch.seed()  # discard the earlier run's random state, which a new process would not have
    with job_kind(folder) as job:
        train(folder, job.request, job)
    return status(folder)


def stops_at(step: int) -> type[JobProcess]:
    """A job that is asked to stop once the run has logged `step`; it sees this in the middle of the next step."""

    class Stops(JobProcess):
        @property
        def stop_requested(self) -> bool:
            rows = read_lines(RunFolder(self.folder.path).metrics)
            return bool(rows) and rows[-1]["step"] >= step

    return Stops


def start_process(folder: RunFolder, *launcher: str, **variables: str) -> subprocess.Popen[bytes]:
    """Start the trainer as its worker does: in a separate process, with its output in train.log."""
    command = [sys.executable, *(launcher or ("-m",)), "pipeline.training", str(folder.path)]
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **ENVIRONMENT, **variables}
        )


def status(folder: RunFolder) -> dict[str, Any]:
    return read_json(folder.status) or {}


def losses(folder: RunFolder) -> dict[int, dict[str, float]]:
    """By step, every value of its row that does not depend on the clock."""
    names = ("train_loss", "weighted_loss", "eval_loss", "grad_norm", "learning_rate")
    return {row["step"]: {name: row[name] for name in names if name in row} for row in read_lines(folder.metrics)}


def weights(folder: RunFolder, step: int) -> str:
    """SHA-256 of the weights saved at `step`."""
    return sha256(folder.checkpoint(step) / "model.safetensors")


def copy_home(home: Home, target: Path) -> Home:
    return Home(Path(shutil.copytree(home.path, target)))


def _script(numbers: random.Random) -> str:
    """A few lines of Python with patterns that a model can learn."""
    names = [numbers.choice(["df", "data", "frame", "table"]) for _ in range(8)]
    lines = ["import pandas as pd", "import matplotlib.pyplot as plt", ""]
    for name in names:
        column = numbers.choice(["age", "income", "name", "x", "y"])
        lines += [f"{name} = pd.read_csv('{column}.csv')", f"plt.plot({name}['{column}'])", "model.fit(X, y)"]
    return "\n".join(lines) + "\n"
