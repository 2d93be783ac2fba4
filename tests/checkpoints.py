"""Writes complete checkpoints for tests that need no model: real files and manifests, random weights."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from pipeline.core.atomic_io import sha256
from pipeline.core.paths import RunFolder


def write_checkpoint(
    run: RunFolder,
    step: int,
    *,
    eval_loss: float | None = 2.5,
    final: bool = False,
    max_steps: int = 600,
    weights: bytes | None = None,
    run_uid: str | None = None,
    diverged: bool | None = None,
) -> Path:
    """Write a checkpoint as training does; default weights depend only on the run's id and uid and the step."""
    path = run.checkpoint(step)
    files = {
        "config.json": b'{"model_type": "gpt2"}',
        "generation_config.json": b"{}",
        "model.safetensors": weights or random.Random(f"{run.id} {step} {run_uid or ''}".strip()).randbytes(2_000),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b"{}",
        "training/optimizer.safetensors": b"moments",
        "provenance.json": json.dumps(
            {
                **_provenance(run, step, eval_loss, final, max_steps),
                "run_uid": run_uid,
                **({} if diverged is None else {"diverged": diverged}),
            }
        ).encode(),
    }
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    listed = {name: {"sha256": sha256(path / name), "size": len(content)} for name, content in files.items()}
    (path / "manifest.json").write_text(json.dumps({"format": 1, "step": step, "files": listed}))
    return path


def _provenance(run: RunFolder, step: int, eval_loss: float | None, final: bool, max_steps: int) -> dict[str, object]:
    return {
        "repo": None,
        "run": run.id,
        "step": step,
        "max_steps": max_steps,
        "corpus": "python",
        "preset": "tiny",
        "recipe": "accelerate",
        "eval_loss": eval_loss,
        "perplexity": None if eval_loss is None else math.exp(eval_loss),
        "tokens": step * 32 * 128,
        "window": 128,
        "created_at": "2026-01-01T00:00:00+00:00",
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        "parameters": 4_242_432,
        "final": final,
    }
